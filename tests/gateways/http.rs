//! HTTP/1.1 by hand: an attacker's request has to go out as it is written.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// No healthy server takes this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request, sent exactly as it is put together.
#[derive(Clone)]
pub struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    /// With a `Host` of its own; the connection is closed after the answer.
    pub fn new(method: &str, target: &str) -> Self {
        Self::without_host(method, target).header("Host", "api.example")
    }

    pub fn without_host(method: &str, target: &str) -> Self {
        Self {
            head: format!("{method} {target} HTTP/1.1\r\n"),
            body: Vec::new(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        let length = body.as_ref().len().to_string();
        let mut request = self.header("Content-Length", &length);
        request.body = body.as_ref().to_vec();
        request
    }

    pub fn chunked(self, body: &[u8]) -> Self {
        let mut request = self.header("Transfer-Encoding", "chunked");
        request.body = format!("{:x}\r\n", body.len()).into_bytes();
        request.body.extend_from_slice(body);
        request.body.extend_from_slice(b"\r\n0\r\n\r\n");
        request
    }

    pub fn json(self, document: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(document.to_string())
    }

    pub fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), b"\r\n", &self.body].concat()
    }

    /// Sends it on a connection of its own.
    #[track_caller]
    pub fn send(&self, to: SocketAddr) -> Response {
        let closing = self.clone().header("Connection", "close");
        let mut all = exchange(to, &closing.bytes());
        assert!(!all.is_empty(), "no answer to {:?}", self.head);
        all.swap_remove(0)
    }
}

/// Sends bytes and reads all answers until the other side closes, or says nothing for a while.
pub fn exchange(to: SocketAddr, bytes: &[u8]) -> Vec<Response> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that has refused already may have closed: its answer tells.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut piece = [0; 16 << 10];
    while let Ok(length) = stream.read(&mut piece) {
        if length == 0 {
            break;
        }
        answer.extend_from_slice(&piece[..length]);
        // More than one answer is what smuggling looks like: whatever else comes, comes soon.
        if !Response::parse_all(&answer).is_empty() {
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        }
    }
    Response::parse_all(&answer)
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    /// All whole answers in a stream of bytes; of the last one, the body may end with the connection.
    fn parse_all(mut bytes: &[u8]) -> Vec<Self> {
        let mut all = Vec::new();
        while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let mut lines = head.lines();
            let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.map_or(usize::MAX, |(_, value)| value.parse().unwrap());
            let body = &bytes[end + 4..];
            let (body, rest) = body.split_at(length.min(body.len()));
            bytes = rest;
            all.push(Self {
                status: status.unwrap_or(0),
                headers,
                body: String::from_utf8_lossy(body).into_owned(),
            });
        }
        all
    }

    /// The value of a header that comes at most once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} comes more than once: {self:?}");
        value
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// That it is this refusal of `/validate`, which nobody may keep.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, error: &str, challenge: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("www-authenticate"), Some(challenge));
        assert_eq!(self.json()["error"], error, "{self:?}");
        for name in ["x-client-id", "x-token-scope", "x-token-id", "x-token-expires"] {
            assert_eq!(self.header(name), None, "{self:?}");
        }
    }

    /// That it is the 403 that does not depend on the token, for this reason.
    #[track_caller]
    pub fn assert_denied(&self, reason: &str) {
        self.assert_refused(403, "access_denied", "Bearer realm=\"mintage\"");
        assert_eq!(self.json()["error_description"], reason);
    }
}
