//! [`Operator`]: a client with an admin token, and helpers for the tests of `/admin`.

use serde_json::{Value, json};
use testkit::app::Setup;
use testkit::http::{Request, Response};
use testkit::{TestApp, TestClient};

/// The duties that may use an operation that every operator may use.
const ANY: [&str; 6] = [
    "mintage:audit",
    "mintage:read",
    "mintage:clients",
    "mintage:keys",
    "mintage:routes",
    "mintage:tokens",
];

/// Every operation of `/admin`, and the duties that may use it, the least privileged first;
/// `mintage:admin` may use each.
pub const OPERATIONS: [(&str, &str, &[&str]); 27] = [
    ("GET", "/admin/openapi.json", &ANY),
    ("GET", "/admin/self", &ANY),
    ("GET", "/admin/cache/stats", &["mintage:read"]),
    ("POST", "/admin/cache/clear", &[]),
    ("GET", "/admin/writer/stats", &["mintage:read"]),
    ("GET", "/admin/pool/stats", &["mintage:read"]),
    ("GET", "/admin/janitor/stats", &["mintage:read"]),
    (
        "GET",
        "/admin/clients",
        &["mintage:read", "mintage:clients", "mintage:tokens"],
    ),
    ("POST", "/admin/clients", &["mintage:clients"]),
    (
        "GET",
        "/admin/clients/{client_id}",
        &["mintage:read", "mintage:clients", "mintage:tokens"],
    ),
    ("PUT", "/admin/clients/{client_id}", &["mintage:clients"]),
    ("PATCH", "/admin/clients/{client_id}", &["mintage:clients"]),
    ("DELETE", "/admin/clients/{client_id}", &["mintage:clients"]),
    (
        "GET",
        "/admin/clients/{client_id}/secrets",
        &["mintage:read", "mintage:clients"],
    ),
    ("POST", "/admin/clients/{client_id}/secrets", &["mintage:clients"]),
    (
        "DELETE",
        "/admin/clients/{client_id}/secrets/{secret_id}",
        &["mintage:clients"],
    ),
    ("POST", "/admin/clients/{client_id}/revoke-tokens", &["mintage:tokens"]),
    ("GET", "/admin/tokens", &["mintage:read", "mintage:tokens"]),
    ("DELETE", "/admin/tokens/{jti}", &["mintage:tokens"]),
    ("GET", "/admin/keys", &["mintage:read", "mintage:keys"]),
    ("POST", "/admin/keys/rotate", &["mintage:keys"]),
    ("GET", "/admin/routes", &["mintage:read", "mintage:routes"]),
    ("POST", "/admin/routes", &["mintage:routes"]),
    ("POST", "/admin/routes/explain", &["mintage:read", "mintage:routes"]),
    ("DELETE", "/admin/routes/{id}", &["mintage:routes"]),
    ("GET", "/admin/audit", &["mintage:audit", "mintage:read"]),
    ("GET", "/admin/denials", &["mintage:audit", "mintage:read"]),
];

/// An operation of [`OPERATIONS`], with ids that do not exist.
pub struct Operation {
    pub method: &'static str,
    pub path: String,
    /// The duties that may use it; `mintage:admin` only if there is none.
    pub duties: &'static [&'static str],
}

impl Operation {
    pub fn all() -> impl Iterator<Item = Self> {
        OPERATIONS.into_iter().map(|(method, pattern, duties)| {
            let parts = pattern.split('/');
            let path: Vec<&str> = parts
                .map(|part| if part.starts_with('{') { "nobody" } else { part })
                .collect();
            Self {
                method,
                path: path.join("/"),
                duties,
            }
        })
    }

    /// A request with a body that would be rejected if it were read before the token.
    pub fn request(&self) -> Request {
        Request::new(self.method, &self.path).body("text/plain", "{nonsense")
    }

    pub fn is_allowed_to(&self, duty: &str) -> bool {
        duty == "mintage:admin" || self.duties.contains(&duty)
    }

    /// The scope that the challenge names.
    pub fn least(&self) -> &'static str {
        self.duties.first().unwrap_or(&"mintage:admin")
    }
}

/// A client that calls `/admin` with a token.
pub struct Operator<'a> {
    pub app: &'a TestApp,
    /// The client that the token was issued to.
    pub client: TestClient,
    pub token: String,
}

impl<'a> Operator<'a> {
    /// An operator with all permissions.
    pub fn of(app: &'a TestApp) -> Self {
        Self::with_scope(app, "mintage:admin")
    }

    pub fn with_scope(app: &'a TestApp, scope: &str) -> Self {
        let client = app.client_with_scope(scope);
        let token = app.issue(&client, &[("scope", scope)]);
        Self { app, client, token }
    }

    pub fn send(&self, request: Request) -> Response {
        request.bearer(&self.token).send(self.app.admin_address)
    }

    pub fn get(&self, path: &str) -> Response {
        self.send(Request::get(path))
    }

    /// The JSON document at a path, which must exist.
    #[track_caller]
    pub fn document(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        answer.assert_common_headers();
        answer.json()
    }

    pub fn post(&self, path: &str, document: &Value) -> Response {
        self.send(Request::post(path).json(document))
    }

    pub fn patch(&self, path: &str, document: &Value) -> Response {
        self.send(Request::new("PATCH", path).json(document))
    }

    pub fn put(&self, path: &str, document: &Value) -> Response {
        self.send(Request::new("PUT", path).json(document))
    }

    pub fn delete(&self, path: &str) -> Response {
        self.send(Request::new("DELETE", path))
    }

    /// Creates a client. The document may override the default name and scope.
    #[track_caller]
    pub fn create(&self, document: Value) -> (TestClient, Value) {
        let mut body = json!({"name": "Shop", "scope": "orders:read orders:write"});
        for (name, value) in document.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = self.post("/admin/clients", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let created = answer.json();
        (TestClient::created(&created), created)
    }

    /// All pages of a list, read cursor by cursor.
    pub fn pages(&self, path: &str) -> Vec<Vec<Value>> {
        const MAX_PAGES: usize = 100;
        let mut pages = Vec::new();
        let mut next = path.to_owned();
        while pages.len() < MAX_PAGES {
            let page = self.document(&next);
            pages.push(page["items"].as_array().unwrap().clone());
            let Some(cursor) = page["next_cursor"].as_str() else {
                return pages;
            };
            let separator = if path.contains('?') { '&' } else { '?' };
            next = format!("{path}{separator}cursor={cursor}");
        }
        panic!("{path} has more than {MAX_PAGES} pages")
    }
}

/// A server for one test alone, with three workers instead of two.
pub fn three_workers() -> TestApp {
    Setup::new().configured(|config| config.server.workers = 3).start()
}

/// The path of a client.
pub fn path_of(client: &TestClient) -> String {
    format!("/admin/clients/{}", escaped(&client.id))
}

/// A text, percent-encoded as one path segment.
pub fn escaped(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match unreserved(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[track_caller]
pub fn assert_bad_request(answer: &Response, detail: &str) {
    answer.assert_problem(400, "Bad Request", detail, None);
}

#[track_caller]
pub fn assert_not_found(answer: &Response, detail: &str) {
    answer.assert_problem(404, "Not Found", detail, None);
}

/// The response is 204 without a body.
#[track_caller]
pub fn assert_no_content(answer: &Response) {
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    assert_eq!(answer.header("content-type"), None);
}
