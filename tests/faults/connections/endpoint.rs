//! [`Endpoint`]: a request of each kind, whose body is still to be announced and sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Operator;

/// A request without the end of its head.
pub struct Endpoint {
    pub name: &'static str,
    /// The request line and headers.
    head: String,
    /// The status when the server does not read the body; `None` when it reads it.
    pub unread: Option<&'static [u16]>,
}

impl Endpoint {
    /// The head, which announces no body.
    pub fn without_body(&self) -> Vec<u8> {
        self.with("")
    }

    /// The head of a request with a body of this length.
    pub fn with_length(&self, length: usize) -> Vec<u8> {
        self.with(&format!("Content-Length: {length}\r\n"))
    }

    /// The head of a request with a body in chunks.
    pub fn chunked(&self) -> Vec<u8> {
        self.with("Transfer-Encoding: chunked\r\n")
    }

    /// The head, with these header lines at its end.
    pub fn with(&self, lines: &str) -> Vec<u8> {
        format!("{}{lines}\r\n", self.head).into_bytes()
    }
}

/// A request of each kind: endpoints that read their bodies, that answer before they do, and that
/// have no use for one.
pub fn all(operator: &Operator) -> Vec<Endpoint> {
    let secret = format!("{}:{}", operator.client.id, operator.client.secret);
    let basic = format!("Authorization: Basic {}", STANDARD.encode(secret));
    let bearer = format!("Authorization: Bearer {}", operator.token);
    let form = "Content-Type: application/x-www-form-urlencoded";
    let json = "Content-Type: application/json";
    let endpoint = |name, line: &str, headers: &[&str], unread| {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        Endpoint {
            name,
            head: format!("{line} HTTP/1.1\r\nHost: h\r\n{headers}"),
            unread,
        }
    };
    vec![
        endpoint("token", "POST /token", &[&basic, form], None),
        endpoint("introspect", "POST /introspect", &[&basic, form], None),
        endpoint("revoke", "POST /revoke", &[&basic, form], None),
        endpoint("create client", "POST /admin/clients", &[&bearer, json], None),
        endpoint(
            "token as text",
            "POST /token",
            &[&basic, "Content-Type: text/plain"],
            Some(&[415]),
        ),
        endpoint("validate", "GET /validate", &[], Some(&[401, 403])),
        endpoint("validate a path", "POST /validate/orders", &[], Some(&[401, 403])),
        endpoint("JWKS", "GET /.well-known/jwks.json", &[], Some(&[200])),
        endpoint("livez", "GET /livez", &[], Some(&[200])),
        endpoint("livez by POST", "POST /livez", &[], Some(&[405])),
        endpoint("metrics", "GET /metrics", &[], Some(&[200])),
        endpoint("OpenAPI", "GET /admin/openapi.json", &[&bearer], Some(&[200])),
        endpoint("list clients", "GET /admin/clients", &[&bearer], Some(&[200])),
        endpoint("create without token", "POST /admin/clients", &[json], Some(&[401])),
        endpoint("console", "GET /console", &[], Some(&[200])),
        endpoint("unknown path", "GET /nothing", &[], Some(&[404])),
        endpoint("unknown path by POST", "POST /nothing", &[form], Some(&[404])),
    ]
}
