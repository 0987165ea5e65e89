//! A minimal HTTP/1.1 client that also sends malformed requests, which HTTP libraries do not allow.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::client::TestClient;

/// The timeout for a response; a healthy server never takes this long.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for an unexpected second response after the first.
const EXTRA_RESPONSE_TIMEOUT: Duration = Duration::from_millis(300);

/// A request that is sent exactly as it is built.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self::to_host("mintage.test", method, target)
    }

    pub fn to_host(host: &str, method: &str, target: &str) -> Self {
        Self::without_host(method, target).header("Host", host)
    }

    pub fn without_host(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
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

    /// Basic credentials as RFC 6749 §2.3.1 requires: id and secret are form-encoded.
    pub fn basic(self, client: &TestClient) -> Self {
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        self.basic_raw(&format!("{}:{}", encoded(&client.id), encoded(&client.secret)))
    }

    /// Basic credentials without form-encoding.
    pub fn basic_raw(self, credentials: &str) -> Self {
        self.header("Authorization", &format!("Basic {}", STANDARD.encode(credentials)))
    }

    /// A body with `Content-Length`, and with `Content-Type` unless that is empty.
    pub fn body(mut self, media_type: &str, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        if !media_type.is_empty() {
            self = self.header("Content-Type", media_type);
        }
        let length = self.body.len().to_string();
        self.header("Content-Length", &length)
    }

    /// A body in one chunk.
    pub fn chunked(mut self, body: &[u8]) -> Self {
        self.body = format!("{:x}\r\n", body.len()).into_bytes();
        self.body.extend_from_slice(body);
        self.body.extend_from_slice(b"\r\n0\r\n\r\n");
        self.header("Transfer-Encoding", "chunked")
    }

    /// A form body, already encoded.
    pub fn form_raw(self, form: impl AsRef<[u8]>) -> Self {
        self.body("application/x-www-form-urlencoded", form)
    }

    /// A form body with these parameters.
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

    /// Sends the request on a new connection.
    #[track_caller]
    pub fn send(&self, to: SocketAddr) -> Response {
        Connection::open(to).ask(self)
    }

    /// Sends the request with `Connection: close` and waits until the server has closed. Returns
    /// its first response.
    #[track_caller]
    pub fn send_and_close(&self, to: SocketAddr) -> Response {
        let closing = self.clone().header("Connection", "close");
        let mut all = exchange(to, &closing.bytes());
        assert!(!all.is_empty(), "no response to {} {:?}", self.method, self.target);
        all.swap_remove(0)
    }
}

/// Sends bytes on a new connection. Returns the response, if one arrives before the connection is
/// closed.
pub fn send_raw(to: SocketAddr, bytes: &[u8]) -> Option<Response> {
    let mut connection = Connection::open(to);
    connection.write(bytes);
    connection.read_response(false)
}

/// Sends bytes and reads all responses until the server closes or sends nothing for a while: more
/// than one response indicates request smuggling.
///
/// A body without a length ends with the connection; one with a length may be truncated.
pub fn exchange(to: SocketAddr, bytes: &[u8]) -> Vec<Response> {
    let mut connection = Connection::open(to);
    connection.write(bytes);
    let mut timeout = RESPONSE_TIMEOUT;
    while let Ok(1..) = connection.read(timeout) {
        if find(&connection.buffer, b"\r\n\r\n").is_some() {
            timeout = EXTRA_RESPONSE_TIMEOUT;
        }
    }
    Response::parse_all(&mut connection.buffer)
}

/// A connection that is kept alive.
pub struct Connection {
    stream: TcpStream,
    /// Bytes received but not parsed yet.
    buffer: Vec<u8>,
}

impl Connection {
    pub fn open(to: SocketAddr) -> Self {
        Self::try_open(to).expect("the server accepts connections")
    }

    /// `None` when no server listens there.
    pub fn try_open(to: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&to, RESPONSE_TIMEOUT).ok()?;
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(RESPONSE_TIMEOUT)).unwrap();
        Some(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends a request and reads its response.
    #[track_caller]
    pub fn ask(&mut self, request: &Request) -> Response {
        self.try_ask(request)
            .expect("the server responds before it closes the connection")
    }

    /// Sends a request and reads its response; `None` when the connection is closed before the
    /// response is complete.
    pub fn try_ask(&mut self, request: &Request) -> Option<Response> {
        self.write(&request.bytes());
        self.read_response(request.method == "HEAD")
    }

    /// Writes bytes. Errors are ignored: a server that has already responded may have closed the
    /// connection.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next response; `None` when the connection is closed before it is complete. Without a
    /// length it has no body.
    pub fn read_response(&mut self, to_head: bool) -> Option<Response> {
        let deadline = Instant::now() + RESPONSE_TIMEOUT;
        let mut response = loop {
            match Response::take_head(&mut self.buffer) {
                Some(head) => break head,
                None if self.fill(deadline) == 0 => return None,
                None => {}
            }
        };
        let length = response.content_length().filter(|_| !to_head).unwrap_or(0);
        while self.buffer.len() < length {
            if self.fill(deadline) == 0 {
                return None;
            }
        }
        response.body = self.buffer.drain(..length).collect();
        Some(response)
    }

    /// As many bytes, after a response that ended HTTP on this connection; `None` when it is closed
    /// before they are there.
    pub fn read_bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        let deadline = Instant::now() + RESPONSE_TIMEOUT;
        while self.buffer.len() < count {
            if self.fill(deadline) == 0 {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// Whether the server has closed the connection, as clients check before they use it again.
    pub fn is_closed(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let seen = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        match seen {
            Ok(length) => length == 0,
            Err(error) => !is_timeout(&error),
        }
    }

    /// Whether the server closes within `time`, without another response.
    pub fn closes_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            match self.read(Duration::from_millis(50)) {
                Ok(length) => return length == 0,
                Err(error) if is_timeout(&error) => {}
                Err(_) => return true,
            }
        }
        false
    }

    /// Reads what arrives until the deadline; 0 when the connection is closed.
    fn fill(&mut self, deadline: Instant) -> usize {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "no response within {RESPONSE_TIMEOUT:?}");
        match self.read(left) {
            Ok(length) => length,
            Err(error) if is_timeout(&error) => panic!("no response within {RESPONSE_TIMEOUT:?}"),
            // Reset: the server closed without reading everything.
            Err(_) => 0,
        }
    }

    /// Reads what arrives within the time; 0 when the connection is closed.
    fn read(&mut self, within: Duration) -> std::io::Result<usize> {
        self.stream.set_read_timeout(Some(within))?;
        let mut piece = [0; 16 << 10];
        let length = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..length]);
        Ok(length)
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}

/// A response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// Takes all responses from bytes that a server sent. The last one may be truncated; one without
    /// a length takes all that is left, unless it is informational and has no body.
    pub fn parse_all(bytes: &mut Vec<u8>) -> Vec<Self> {
        let mut all = Vec::new();
        while let Some(mut response) = Self::take_head(bytes) {
            let without_length = if response.status < 200 { 0 } else { usize::MAX };
            let length = response.content_length().unwrap_or(without_length);
            response.body = bytes.drain(..length.min(bytes.len())).collect();
            all.push(response);
        }
        all
    }

    /// The head at the start of the bytes, once it is complete.
    fn take_head(bytes: &mut Vec<u8>) -> Option<Self> {
        let end = find(bytes, b"\r\n\r\n")? + 4;
        let head: Vec<u8> = bytes.drain(..end).collect();
        Some(Self::parse_head(&String::from_utf8_lossy(&head)))
    }

    fn parse_head(head: &str) -> Self {
        let mut lines = head.lines();
        let status_line = lines.next().unwrap_or_default();
        // A malformed status line must not look like any status.
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Self {
            status: status.unwrap_or(0),
            headers,
            body: Vec::new(),
        }
    }

    /// The value of a header that may occur at most once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is repeated: {self:?}");
        value
    }

    fn content_length(&self) -> Option<usize> {
        self.header("content-length").map(|length| length.parse().unwrap())
    }

    /// Whether the body has the length that the head says.
    pub fn is_whole(&self) -> bool {
        self.content_length().is_none_or(|length| length == self.body.len())
    }

    /// Whether the server closes the connection after this response.
    pub fn closes(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {:?}", self.text()))
    }

    /// The issued token (P22, P23); panics for any other response.
    #[track_caller]
    pub fn access_token(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["access_token"].as_str().unwrap().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that responds to every connection with these bytes and closes.
    fn responding_with(bytes: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(bytes);
            }
        });
        address
    }

    #[test]
    fn an_exchange_returns_all_responses() {
        let server = responding_with(
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno\
              HTTP/1.1 200 OK\r\n\r\nuntil the end",
        );
        let responses = exchange(server, b"anything");
        let seen: Vec<(u16, String)> = responses.iter().map(|one| (one.status, one.text())).collect();
        assert_eq!(seen, [(400, "no".to_owned()), (200, "until the end".to_owned())]);
    }

    #[test]
    fn a_truncated_response_is_none() {
        let server = responding_with(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nnot whole");
        assert!(Connection::open(server).try_ask(&Request::get("/")).is_none());
        assert!(send_raw(responding_with(b"HTTP/1.1 200"), b"GET").is_none());
    }

    #[test]
    fn a_response_that_is_not_http_has_status_0() {
        let server = responding_with(b"220 mail.example ESMTP\r\n\r\n");
        assert_eq!(Request::get("/").send_and_close(server).status, 0);
    }

    #[test]
    fn a_request_is_sent_exactly_as_built() {
        let request = Request::without_host("GET", "/a b").header("X", "y").chunked(b"abc");
        let sent = "GET /a b HTTP/1.1\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(request.bytes(), sent.as_bytes());
    }
}
