//! Reads one page over HTTP/1.1 (RFC 9112) with a plain socket: http only, one request per
//! connection. Time and size are bounded, because the peer may not be Mintage.

use std::fmt;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::super::Failure;

/// The timeout for the response. A scrape takes the server about a millisecond.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum size of the response in bytes. A scrape has about 50 KB.
const MAX_RESPONSE: usize = 8 << 20;

/// The URL of the metrics.
pub struct Target {
    host: String,
    port: u16,
    path: String,
}

impl Target {
    /// Parses the URL of a server, or of its `/metrics`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::Usage(format!("--url: {what}"));
        let url = Url::parse(text).map_err(|_| wrong("must be a URL such as http://127.0.0.1:8080"))?;
        match url.scheme() {
            "http" => {}
            "https" => {
                return Err(wrong(
                    "https is not spoken here; ask where the server itself listens, such as http://127.0.0.1:8080",
                ));
            }
            _ => return Err(wrong("must begin with http://")),
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("must be a host, a port and a path, no more"));
        }
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(wrong("must name a host"));
        };
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/metrics").unwrap_or(path);
        Ok(Self {
            host: host.to_owned(),
            port,
            path: format!("{path}/metrics"),
        })
    }

    /// The body of the response; otherwise the error in one line.
    pub fn get(&self) -> Result<String, String> {
        let deadline = Instant::now() + RESPONSE_TIMEOUT;
        let cannot = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => self.no_answer(),
            _ => format!("cannot read {self}: {error}"),
        };
        let mut stream = self.connect(deadline).map_err(cannot)?;
        stream.set_write_timeout(Some(RESPONSE_TIMEOUT)).map_err(cannot)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}:{}\r\nUser-Agent: mintage/{}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n",
            self.path,
            self.host,
            self.port,
            env!("CARGO_PKG_VERSION"),
        );
        stream.write_all(request.as_bytes()).map_err(cannot)?;
        let mut answer = Vec::new();
        let mut piece = [0; 16 << 10];
        while !is_whole(&answer) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.no_answer());
            }
            stream.set_read_timeout(Some(left)).map_err(cannot)?;
            match stream.read(&mut piece).map_err(cannot)? {
                0 => break,
                length => answer.extend_from_slice(&piece[..length]),
            }
            if answer.len() > MAX_RESPONSE {
                return Err(format!("{self} answers with more than {} MiB", MAX_RESPONSE >> 20));
            }
        }
        self.body_of(&answer)
    }

    /// Connects to the first address of the host that accepts.
    fn connect(&self, deadline: Instant) -> std::io::Result<TcpStream> {
        // In a URL, an IPv6 address is in brackets; the resolver expects it without.
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
        for address in (host, self.port).to_socket_addrs()? {
            let left = deadline.saturating_duration_since(Instant::now());
            match TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1))) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn body_of(&self, answer: &[u8]) -> Result<String, String> {
        let no_http = || format!("{self} does not answer with HTTP");
        let (head, body) = split_head(answer).ok_or_else(no_http)?;
        let status_line = head.lines().next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1));
        match status.ok_or_else(no_http)? {
            "200" => {}
            "404" => {
                return Err(format!(
                    "{self} is not there; with server.admin_listen set, --url must name that address"
                ));
            }
            other => {
                let status: String = other.chars().filter(char::is_ascii_digit).take(3).collect();
                return Err(format!("{self} answers with status {status}"));
            }
        }
        let body = if header(head, "transfer-encoding").is_some() {
            chunks(body)
        } else {
            let whole = content_length(head).is_none_or(|length| body.len() >= length);
            whole.then(|| body.to_vec())
        };
        let cut_off = || format!("the answer of {self} is cut off");
        String::from_utf8(body.ok_or_else(cut_off)?).map_err(|_| format!("{self} does not answer with text"))
    }

    fn no_answer(&self) -> String {
        format!("{self} does not answer within {} s", RESPONSE_TIMEOUT.as_secs())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.path)
    }
}

/// Whether the response is complete, so that the end of the connection need not be awaited.
fn is_whole(answer: &[u8]) -> bool {
    let Some((head, body)) = split_head(answer) else {
        return false;
    };
    content_length(head).is_some_and(|length| body.len() >= length)
}

fn split_head(answer: &[u8]) -> Option<(&str, &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((std::str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]))
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut values = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value.trim())
}

fn content_length(head: &str) -> Option<usize> {
    header(head, "content-length")?.parse().ok()
}

/// Decodes a chunked body, which a proxy may send; `None` when it is incomplete.
fn chunks(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let line_end = body.windows(2).position(|window| window == b"\r\n")?;
        let line = std::str::from_utf8(&body[..line_end]).ok()?;
        let length = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        body = &body[line_end + 2..];
        if length == 0 {
            return Some(content);
        }
        content.extend_from_slice(body.get(..length)?);
        body = body.get(length.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<String, Failure> {
        Target::parse(url).map(|target| target.to_string())
    }

    #[test]
    fn a_url_refers_to_the_server_or_its_metrics() {
        for (url, metrics) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/metrics"),
            ("http://127.0.0.1:8080/metrics", "http://127.0.0.1:8080/metrics"),
            ("http://shop.example", "http://shop.example:80/metrics"),
            ("http://[::1]:9/tokens/", "http://[::1]:9/tokens/metrics"),
        ] {
            assert_eq!(target(url), Ok(metrics.to_owned()), "{url}");
        }
        for url in [
            "",
            "127.0.0.1:8080",
            "https://a",
            "ftp://a",
            "http://u:p@a",
            "http://a/?b",
        ] {
            assert!(matches!(target(url), Err(Failure::Usage(_))), "{url}");
        }
    }

    #[test]
    fn incomplete_responses_are_rejected() {
        let body = |answer: &str| Target::parse("http://a").unwrap().body_of(answer.as_bytes());
        let whole = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        assert_eq!(body(whole), Ok("abc".into()));
        assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nabc"), Ok("abc".into()));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        assert_eq!(body(chunked), Ok("abc".into()));
        for (answer, complaint) in [
            (&whole[..whole.len() - 1], "is cut off"),
            (&chunked[..chunked.len() - 5], "is cut off"),
            (&chunked[..chunked.len() - 12], "is cut off"),
            ("HTTP/1.1 404 Not Found\r\n\r\n", "server.admin_listen"),
            ("HTTP/1.1 503 Gone\r\n\r\n", "status 503"),
            ("SSH-2.0\r\n\r\n", "with HTTP"),
            ("", "with HTTP"),
        ] {
            assert!(body(answer).unwrap_err().contains(complaint), "{answer}");
        }
    }
}
