//! Reads one page over HTTP or HTTPS, bounded in time and size, because the server may not be
//! Mintage.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Error};
use url::Url;

use super::super::Failure;

/// The time for a whole request. A server answers a scrape within a millisecond.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum size of a response, in bytes. A scrape has about 50 KB.
const MAX_RESPONSE: u64 = 8 << 20;

/// The server whose metrics are read.
pub struct Target {
    scheme: &'static str,
    host: String,
    port: u16,
    path: String,
    agent: Agent,
}

impl Target {
    /// From the URL of a server, or of its `/metrics`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::Usage(format!("--url: {what}"));
        let url = Url::parse(text).map_err(|_| wrong("must be a URL such as http://127.0.0.1:8080"))?;
        let scheme = match url.scheme() {
            "http" => "http",
            "https" => "https",
            _ => return Err(wrong("must begin with http:// or https://")),
        };
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("must be a host, a port and a path, no more"));
        }
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(wrong("must name a host"));
        };
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/metrics").unwrap_or(path);
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port,
            path: format!("{path}/metrics"),
            agent: agent(scheme == "https"),
        })
    }

    /// The body of the response.
    ///
    /// # Errors
    /// What went wrong, in one line.
    pub fn get(&self) -> Result<String, String> {
        let answer = self.agent.get(self.to_string()).call();
        let mut answer = answer.map_err(|error| self.cannot(error, || format!("{self} does not answer with HTTP")))?;
        self.accept(&answer)?;
        let body = answer.body_mut().with_config().limit(MAX_RESPONSE).read_to_vec();
        let body = body.map_err(|error| self.cannot(error, || format!("the answer of {self} is cut off")))?;
        String::from_utf8(body).map_err(|_| format!("{self} does not answer with text"))
    }

    fn accept(&self, answer: &Response<Body>) -> Result<(), String> {
        match answer.status() {
            StatusCode::OK => Ok(()),
            StatusCode::NOT_FOUND => Err(format!(
                "{self} is not there; with server.admin_listen set, --url must name that address"
            )),
            other => Err(format!("{self} answers with status {}", other.as_u16())),
        }
    }

    /// The text of an error; `malformed` is that of a response that violates HTTP or ends too
    /// early.
    fn cannot(&self, error: Error, malformed: impl Fn() -> String) -> String {
        match error {
            Error::Timeout(_) => format!("{self} does not answer within {} s", REQUEST_TIMEOUT.as_secs()),
            Error::BodyExceedsLimit(_) => format!("{self} answers with more than {} MiB", MAX_RESPONSE >> 20),
            Error::HostNotFound => format!("cannot read {self}: the host has no address"),
            Error::Protocol(_) | Error::BodyStalled => malformed(),
            Error::Io(error) => match (tls_error(&error), error.kind()) {
                (Some(error), _) => self.no_tls(error),
                (None, ErrorKind::UnexpectedEof) => malformed(),
                (None, ErrorKind::ConnectionRefused) => {
                    format!("cannot read {self}: {error}: start the server, or name another one with --url")
                }
                (None, _) => format!("cannot read {self}: {error}"),
            },
            Error::Rustls(error) => self.no_tls(&error),
            other => format!("cannot read {self}: {other}"),
        }
    }

    fn no_tls(&self, error: &rustls::Error) -> String {
        match error {
            rustls::Error::InvalidMessage(_) => {
                format!("{self} does not speak TLS: use http:// in --url")
            }
            rustls::Error::InvalidCertificate(why) => format!(
                "the certificate of {self} is not valid here: {why}; SSL_CERT_FILE may name a file of authorities to trust"
            ),
            other => format!("cannot read {self}: {other}"),
        }
    }
}

fn agent(tls: bool) -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(REQUEST_TIMEOUT))
        .user_agent(concat!("mintage/", env!("CARGO_PKG_VERSION")))
        .accept("text/plain")
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // Each scrape has a connection of its own: the server may have been replaced since the
        // last.
        .max_idle_connections(0)
        .proxy(None);
    let config = match tls {
        true => config.tls_config(tls_config()),
        false => config,
    };
    config.build().new_agent()
}

/// TLS with the certificate authorities of the system, or those that `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name.
fn tls_config() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<_> = found
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build()
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}{}", self.scheme, self.host, self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    fn target(url: &str) -> Result<String, Failure> {
        Target::parse(url).map(|target| target.to_string())
    }

    #[test]
    fn a_url_names_the_server_or_its_metrics() {
        for (url, metrics) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/metrics"),
            ("http://127.0.0.1:8080/metrics", "http://127.0.0.1:8080/metrics"),
            ("http://shop.example", "http://shop.example:80/metrics"),
            ("https://shop.example", "https://shop.example:443/metrics"),
            ("http://[::1]:9/tokens/", "http://[::1]:9/tokens/metrics"),
        ] {
            assert_eq!(target(url), Ok(metrics.to_owned()), "{url}");
        }
        for url in [
            "",
            "127.0.0.1:8080",
            "ftp://a",
            "http://u:p@a",
            "https://u:p@a",
            "http://a/?b",
        ] {
            assert!(matches!(target(url), Err(Failure::Usage(_))), "{url}");
        }
    }

    /// What is read from a server that answers with these bytes and closes the connection.
    fn read(answer: &[u8]) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                // The client may have read enough.
                let _ = stream.write_all(answer);
            });
            target.get()
        })
    }

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let body = |answer: &str| read(answer.as_bytes());
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
            ("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n", "status 302"),
            ("SSH-2.0\r\n\r\n", "with HTTP"),
            ("", "with HTTP"),
        ] {
            assert!(
                body(answer).unwrap_err().contains(complaint),
                "{answer}: {:?}",
                body(answer)
            );
        }
    }

    #[test]
    fn what_is_no_text_or_too_long_is_not_read() {
        assert!(read(b"HTTP/1.1 200 OK\r\n\r\n\xff").unwrap_err().contains("with text"));
        let mut long = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        long.resize(long.len() + MAX_RESPONSE as usize + 1, b'a');
        assert!(read(&long).unwrap_err().contains("more than 8 MiB"));
    }
}
