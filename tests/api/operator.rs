//! [`Operator`]: somebody with an admin token, and what the admin tests have in common.

use serde_json::{Value, json};
use testkit::app::Setup;
use testkit::http::{Request, Response};
use testkit::{TestApp, TestClient};

/// Who calls `/admin` with a token.
pub struct Operator<'a> {
    pub app: &'a TestApp,
    /// Whose token it is.
    pub client: TestClient,
    pub token: String,
}

impl<'a> Operator<'a> {
    /// One who may do everything.
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

    /// What is at a path, which must be there.
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

    pub fn delete(&self, path: &str) -> Response {
        self.send(Request::new("DELETE", path))
    }

    /// Makes a client, with a name and a scope unless the document says otherwise.
    #[track_caller]
    pub fn create(&self, document: Value) -> (TestClient, Value) {
        let mut whole = json!({"name": "Shop", "scope": "orders:read orders:write"});
        for (name, value) in document.as_object().unwrap() {
            whole[name] = value.clone();
        }
        let answer = self.post("/admin/clients", &whole);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let made = answer.json();
        let text = |member: &str| made[member].as_str().unwrap().to_owned();
        let client = TestClient {
            id: text("client_id"),
            secret: text("client_secret"),
        };
        (client, made)
    }

    /// Walks through a list, from cursor to cursor; each page.
    pub fn pages(&self, path: &str) -> Vec<Vec<Value>> {
        const MOST: usize = 100;
        let mut pages = Vec::new();
        let mut next = path.to_owned();
        while pages.len() < MOST {
            let page = self.document(&next);
            pages.push(page["items"].as_array().unwrap().clone());
            let Some(cursor) = page["next_cursor"].as_str() else {
                return pages;
            };
            let joint = if path.contains('?') { '&' } else { '?' };
            next = format!("{path}{joint}cursor={cursor}");
        }
        panic!("{path} has no end")
    }
}

/// A server and its database for a test alone, with one worker more than usual.
pub fn three_workers() -> TestApp {
    Setup::new().configured(|config| config.server.workers = 3).start()
}

/// The path to a client.
pub fn path_of(client: &TestClient) -> String {
    format!("/admin/clients/{}", escaped(&client.id))
}

/// A text as one segment of a path.
pub fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
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

/// That it is done, and there is nothing to say about it.
#[track_caller]
pub fn assert_no_content(answer: &Response) {
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    assert_eq!(answer.header("content-type"), None);
}
