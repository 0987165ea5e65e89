//! Reads the metrics of a server over HTTP or HTTPS, bounded in time and size, because the server
//! may not be Mintage.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Error};
use url::Url;
use zeroize::Zeroizing;

use super::super::Failure;
use super::credentials::Credentials;
use crate::config::{check_system_authorities, is_loopback};

/// The time for a whole request. A server answers a scrape within a millisecond.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum size of a response, in bytes. A scrape has about 50 KB.
const MAX_RESPONSE: u64 = 8 << 20;

/// The share of its lifetime after which a token is replaced, so that none expires in use.
const RENEW_AT: f64 = 0.8;

/// The server whose metrics are read.
pub struct Target {
    /// Scheme, host, port and path, to which the path of an endpoint is appended.
    base: String,
    host: String,
    agent: Agent,
    credentials: Option<Credentials>,
    token: RefCell<Option<Token>>,
}

/// A token for `/metrics`.
struct Token {
    text: Zeroizing<String>,
    renew_at: Instant,
}

/// What is read of a token response (RFC 6749 §5.1).
#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    expires_in: u32,
}

/// What is read of the answer of a server that is not ready.
#[derive(Deserialize)]
struct NotReady {
    reason: String,
}

/// What is read of an error response (RFC 6749 §5.2).
#[derive(Default, Deserialize)]
struct ErrorResponse {
    error: String,
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
        if scheme == "https" {
            check_system_authorities()?;
        }
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/metrics").unwrap_or(path);
        Ok(Self {
            base: format!("{scheme}://{host}:{port}{path}"),
            host: host.to_owned(),
            agent: agent(scheme == "https"),
            credentials: None,
            token: RefCell::default(),
        })
    }

    /// With the credentials of a client that may read metrics.
    pub fn with_credentials(self, credentials: Option<Credentials>) -> Self {
        Self { credentials, ..self }
    }

    /// The host to which the credentials go unencrypted, over a network that others may read.
    pub fn host_in_clear(&self) -> Option<&str> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let in_clear = self.base.starts_with("http:") && self.credentials.is_some();
        (in_clear && !is_loopback(host)).then_some(host)
    }

    /// The body of the response.
    ///
    /// # Errors
    /// What went wrong, in one line.
    pub fn get(&self) -> Result<String, String> {
        let mut answer = self.scrape()?;
        if answer.status() == StatusCode::UNAUTHORIZED && self.credentials.is_some() {
            // The token was revoked, or the key that signed it is gone.
            self.token.take();
            answer = self.scrape()?;
        }
        let url = self.to_string();
        match answer.status() {
            StatusCode::OK => text_of(&url, &mut answer, REQUEST_TIMEOUT),
            StatusCode::NOT_FOUND => Err(format!(
                "{url} is not there; with server.admin_listen set, --url must name that address"
            )),
            StatusCode::UNAUTHORIZED if self.credentials.is_none() => Err(format!(
                "{url} needs a token: name a client that has mintage:read with --client-id and --client-secret-file, or set server.open_metrics"
            )),
            StatusCode::FORBIDDEN if self.credentials.is_some() => {
                Err(format!("{url} denies the client: it must have the scope mintage:read"))
            }
            other => Err(format!("{url} answers with status {}", other.as_u16())),
        }
    }

    /// Asks whether the server is ready.
    ///
    /// # Errors
    /// It is not, or does not answer in time: why, in one line.
    pub fn readiness(&self, timeout: Duration) -> Result<(), String> {
        let url = format!("{}/readyz", self.base);
        let request = self.agent.get(&url).config().timeout_global(Some(timeout)).build();
        let answer = request.call();
        let mut answer =
            answer.map_err(|error| cannot(&url, error, timeout, || format!("{url} does not answer with HTTP")))?;
        match answer.status() {
            StatusCode::OK => Ok(()),
            StatusCode::SERVICE_UNAVAILABLE => {
                let text = text_of(&url, &mut answer, timeout)?;
                Err(match serde_json::from_str::<NotReady>(&text) {
                    Ok(answer) => format!("not ready: {}", answer.reason.escape_debug()),
                    // Of a proxy, for example.
                    Err(_) => format!("{url} answers with status 503"),
                })
            }
            other => Err(format!("{url} answers with status {}", other.as_u16())),
        }
    }

    fn scrape(&self) -> Result<Response<Body>, String> {
        let url = self.to_string();
        let mut request = self.agent.get(&url);
        if let Some(credentials) = &self.credentials {
            let token = self.token(credentials)?;
            request = request.header("authorization", format!("Bearer {}", *token));
        }
        request.call().map_err(|error| {
            cannot(&url, error, REQUEST_TIMEOUT, || {
                format!("{url} does not answer with HTTP")
            })
        })
    }

    /// A token for `/metrics`; the one in use unless it is about to expire.
    fn token(&self, credentials: &Credentials) -> Result<Zeroizing<String>, String> {
        let mut token = self.token.borrow_mut();
        let in_use = token.take().filter(|token| Instant::now() < token.renew_at);
        let valid = match in_use {
            Some(valid) => valid,
            None => self.new_token(credentials)?,
        };
        Ok(token.insert(valid).text.clone())
    }

    fn new_token(&self, credentials: &Credentials) -> Result<Token, String> {
        let url = format!("{}/token", self.base);
        let begun = Instant::now();
        let request = self.agent.post(&url).header("authorization", &*credentials.basic());
        let answer = request
            .header("accept", "application/json")
            .content_type("application/x-www-form-urlencoded")
            .send("grant_type=client_credentials&scope=mintage:read");
        let malformed = || format!("{url} does not answer with HTTP");
        let mut answer = answer.map_err(|error| cannot(&url, error, REQUEST_TIMEOUT, malformed))?;
        let status = answer.status();
        let text = Zeroizing::new(text_of(&url, &mut answer, REQUEST_TIMEOUT)?);
        let error = || serde_json::from_str::<ErrorResponse>(&text).unwrap_or_default().error;
        match status {
            StatusCode::OK => {
                let response: TokenResponse =
                    serde_json::from_str(&text).map_err(|_| format!("{url} does not answer with a token"))?;
                Ok(Token {
                    text: Zeroizing::new(response.access_token),
                    renew_at: begun + Duration::from_secs(response.expires_in.into()).mul_f64(RENEW_AT),
                })
            }
            StatusCode::UNAUTHORIZED => Err(format!(
                "{url} denies the client: check --client-id and --client-secret-file; it must be enabled and allow client_secret_basic"
            )),
            StatusCode::BAD_REQUEST if error() == "invalid_scope" => {
                Err(format!("{url} denies the client: it must have the scope mintage:read"))
            }
            other => Err(format!("{url} answers with status {}", other.as_u16())),
        }
    }
}

/// An address that a command on this machine can connect to: loopback for a server on all
/// interfaces.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn text_of(url: &str, answer: &mut Response<Body>, timeout: Duration) -> Result<String, String> {
    let body = answer.body_mut().with_config().limit(MAX_RESPONSE).read_to_vec();
    let body = body.map_err(|error| cannot(url, error, timeout, || format!("the answer of {url} is cut off")))?;
    String::from_utf8(body).map_err(|_| format!("{url} does not answer with text"))
}

/// The text of an error of a request that may take as long as `timeout`; `malformed` is that of a
/// response that violates HTTP or ends too early.
fn cannot(url: &str, error: Error, timeout: Duration, malformed: impl Fn() -> String) -> String {
    match error {
        Error::Timeout(_) => format!("{url} does not answer within {} s", timeout.as_secs()),
        Error::BodyExceedsLimit(_) => format!("{url} answers with more than {} MiB", MAX_RESPONSE >> 20),
        Error::HostNotFound => format!("cannot read {url}: the host has no address"),
        Error::Protocol(_) | Error::BodyStalled => malformed(),
        Error::Io(error) => match (tls_error(&error), error.kind()) {
            (Some(error), _) => no_tls(url, error),
            (None, ErrorKind::UnexpectedEof) => malformed(),
            (None, ErrorKind::ConnectionRefused) => {
                format!("cannot read {url}: {error}: start the server, or name another one with --url")
            }
            (None, _) => format!("cannot read {url}: {error}"),
        },
        Error::Rustls(error) => no_tls(url, &error),
        other => format!("cannot read {url}: {other}"),
    }
}

fn no_tls(url: &str, error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(_) => {
            format!("{url} does not speak TLS: use http:// in --url")
        }
        rustls::Error::InvalidCertificate(why) => format!(
            "the certificate of {url} is not valid here: {why}; SSL_CERT_FILE may name a file of authorities to trust"
        ),
        other => format!("cannot read {url}: {other}"),
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
        write!(f, "{}/metrics", self.base)
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
