//! HTTP/1.1 by hand: what a well-behaved client library would refuse to send is what a server must withstand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::app::TestClient;

/// No answer of a healthy server takes this long; a test that waits longer has found a fault.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request, sent exactly as it is put together.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("Host".into(), "mintage.test".into())],
            body: Vec::new(),
        }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Basic credentials as RFC 6749 §2.3.1 has them: each half form-encoded.
    pub fn basic(self, client: &TestClient) -> Self {
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        self.basic_raw(&format!("{}:{}", encoded(&client.id), encoded(&client.secret)))
    }

    /// Basic credentials as they are.
    pub fn basic_raw(self, credentials: &str) -> Self {
        self.header("Authorization", &format!("Basic {}", STANDARD.encode(credentials)))
    }

    /// A body with its length, and with a media type unless that is empty.
    pub fn body(mut self, media_type: &str, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        if !media_type.is_empty() {
            self = self.header("Content-Type", media_type);
        }
        let length = self.body.len().to_string();
        self.header("Content-Length", &length)
    }

    /// A form as it is.
    pub fn form_raw(self, form: impl AsRef<[u8]>) -> Self {
        self.body("application/x-www-form-urlencoded", form)
    }

    /// A form of these parameters, encoded.
    pub fn form(self, parameters: &[(&str, &str)]) -> Self {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        self.form_raw(form)
    }

    pub fn json(self, document: &Value) -> Self {
        self.body("application/json", document.to_string())
    }

    /// Head and body as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it on a connection of its own.
    pub fn send(&self, to: SocketAddr) -> Response {
        Connection::open(to).ask(self)
    }
}

/// Sends bytes on a connection of their own; the answer, if one comes before the connection is closed.
pub fn send_raw(to: SocketAddr, bytes: &[u8]) -> Option<Response> {
    let mut connection = Connection::open(to);
    connection.write(bytes);
    connection.read_response(false)
}

/// A connection that is kept alive.
pub struct Connection {
    stream: TcpStream,
    /// Read and not used yet.
    buffer: Vec<u8>,
}

impl Connection {
    pub fn open(to: SocketAddr) -> Self {
        Self::try_open(to).expect("the server accepts connections")
    }

    /// `None` when nobody listens there (any more).
    pub fn try_open(to: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Some(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, request: &Request) -> Response {
        self.try_ask(request)
            .expect("the server answers before it closes the connection")
    }

    /// Sends a request and reads its answer; `None` when the connection is closed before that is whole.
    pub fn try_ask(&mut self, request: &Request) -> Option<Response> {
        self.write(&request.bytes());
        self.read_response(request.method == "HEAD")
    }

    /// Writes bytes. A server that has answered already may have closed: the answer tells.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next answer; `None` when the connection is closed before one is whole.
    pub fn read_response(&mut self, to_head: bool) -> Option<Response> {
        let deadline = Instant::now() + PATIENCE;
        let head_end = loop {
            match find(&self.buffer, b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if self.fill(deadline) == 0 => return None,
                None => {}
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).into_owned();
        self.buffer.drain(..head_end);
        let mut response = Response::parse_head(&head);
        let length = response.header("content-length").map(|text| text.parse().unwrap());
        let length: usize = if to_head { 0 } else { length.unwrap_or(0) };
        while self.buffer.len() < length {
            if self.fill(deadline) == 0 {
                return None;
            }
        }
        response.body = self.buffer.drain(..length).collect();
        Some(response)
    }

    /// Whether the server closes within `time`, without another answer.
    pub fn closes_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            self.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let mut byte = [0];
            match self.stream.read(&mut byte) {
                Ok(0) => return true,
                Ok(_) => return false,
                Err(error) if is_timeout(&error) => {}
                Err(_) => return true,
            }
        }
        false
    }

    /// Reads what has come; 0 when the connection is closed.
    fn fill(&mut self, deadline: Instant) -> usize {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "no answer within {PATIENCE:?}");
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(length) => {
                self.buffer.extend_from_slice(&piece[..length]);
                length
            }
            Err(error) if is_timeout(&error) => panic!("no answer within {PATIENCE:?}"),
            // Reset: closed with something of ours unread.
            Err(_) => 0,
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    fn parse_head(head: &str) -> Self {
        let mut lines = head.lines();
        let status_line = lines.next().unwrap();
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Self {
            status,
            headers,
            body: Vec::new(),
        }
    }

    /// The value of a header that comes at most once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} comes more than once: {self:?}");
        value
    }

    /// Whether the server closes the connection after it.
    pub fn closes(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {:?}", self.text()))
    }

    /// That it is a token (P22, P23), and which.
    #[track_caller]
    pub fn access_token(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// That nobody may keep it (P22) and that it has an id (P26).
    #[track_caller]
    pub fn assert_sealed(&self) {
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("pragma"), Some("no-cache"));
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()));
    }

    /// That it is exactly this refusal of an OAuth endpoint (P22, P24).
    #[track_caller]
    pub fn assert_refused(&self, status: u16, error: &str, description: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.json(), json!({"error": error, "error_description": description}));
        self.assert_sealed();
        let challenge = (status == 401).then_some("Basic realm=\"mintage\", charset=\"UTF-8\"");
        assert_eq!(self.header("www-authenticate"), challenge);
        let retry = (status == 503).then_some("1");
        assert_eq!(self.header("retry-after"), retry);
    }

    /// That it is the one answer to every failed authentication (P15).
    #[track_caller]
    pub fn assert_invalid_client(&self) {
        self.assert_refused(401, "invalid_client", "client authentication failed");
    }

    /// That it is exactly this problem document of an admin endpoint (RFC 9457), with this challenge.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, title: &str, detail: &str, challenge: Option<&str>) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(
            self.json(),
            json!({"type": "about:blank", "title": title, "status": status, "detail": detail})
        );
        assert_eq!(self.header("www-authenticate"), challenge);
        self.assert_sealed();
    }
}
