//! Routes by command line and by `/admin/routes`, on a running server.

use mintage::oauth::bounds::MAX_ADMIN_DOCUMENT;
use serde_json::{Value, json};
use testkit::gateway::HOST;
use testkit::http::{Request, Response};
use testkit::{Server, TestClient};

struct Fixture {
    server: Server,
    demo: TestClient,
    admin: String,
    reader: String,
}

fn fixture() -> Fixture {
    let server = crate::start();
    let demo = server.client_with_id("demo", "orders:read orders:write", &[]);
    let ops = server.client_with_id("ops", "mintage:admin mintage:read", &[]);
    Fixture {
        admin: server.token(&ops, "mintage:admin", &[]),
        reader: server.token(&ops, "mintage:read", &[]),
        server,
        demo,
    }
}

impl Fixture {
    fn post(&self, path: &str, document: &Value) -> Response {
        let request = Request::to_host(HOST, "POST", path).bearer(&self.admin).json(document);
        request.send_and_close(self.server.address)
    }

    fn get_routes(&self) -> Response {
        let request = Request::to_host(HOST, "GET", "/admin/routes").bearer(&self.reader);
        request.send_and_close(self.server.address)
    }

    fn delete(&self, id: &str) -> Response {
        let request = Request::to_host(HOST, "DELETE", &format!("/admin/routes/{id}")).bearer(&self.admin);
        request.send_and_close(self.server.address)
    }
}

#[track_caller]
fn assert_problem(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.json()["status"], status);
}

#[test]
fn a_write_is_in_effect_on_every_worker_when_it_is_acknowledged() {
    let fixture = fixture();
    let server = &fixture.server;
    let token = server.token(&fixture.demo, "orders:read", &[]);
    let route = json!({"method": "GET", "path": "/orders/{id}", "scope": "orders:read"});
    for _ in 0..5 {
        let created = fixture.post("/admin/routes", &route);
        assert_eq!(created.status, 201, "{created:?}");
        let id = created.json()["id"].as_str().unwrap().to_owned();
        let expected = json!({"id": id, "method": "GET", "host": null, "path": "/orders/{id}", "public": false, "scope": "orders:read", "audience": null});
        assert_eq!(created.json(), expected);
        // Each on a new connection, so that both workers get some of them.
        assert!((0..8).all(|_| server.validate("GET", "/orders/1", &token).status == 200));
        assert_eq!(
            fixture.get_routes().json(),
            json!({"items": [expected], "next_cursor": null})
        );
        let removed = fixture.delete(&id);
        assert_eq!((removed.status, removed.text().as_str()), (204, ""));
        assert!((0..8).all(|_| server.validate("GET", "/orders/1", &token).status == 403));
    }
}

#[test]
fn rejected_writes_are_problem_documents() {
    let fixture = fixture();
    let route = json!({"path": "/orders/{id}", "scope": "orders:read", "host": "API.example", "audience": "https://api.example"});
    assert_eq!(fixture.post("/admin/routes", &route).json()["host"], "api.example");
    assert_problem(&fixture.post("/admin/routes", &route), 409);
    assert_problem(&fixture.delete("unknown"), 404);
    for bad in [
        json!({}),
        json!([]),
        json!({"path": "/a"}),
        json!({"path": "/a", "scope": ""}),
        json!({"path": "/a", "scope": null}),
        json!({"path": "/a", "public": false}),
        json!({"path": "/a", "public": "true"}),
        json!({"path": "/a", "public": null}),
        json!({"path": "/a", "public": true, "scope": "a"}),
        json!({"path": "/a", "public": true, "scope": ""}),
        json!({"path": "/a", "public": true, "audience": "https://api.example"}),
        json!({"path": "/a", "scope": "mintage:public"}),
        json!({"path": "/a", "scope": "a", "methods": "GET"}),
        json!({"path": "/a", "scope": "a", "method": "get"}),
        json!({"path": "/a", "scope": "a", "host": "h:1"}),
        json!({"path": "/a", "scope": "a", "audience": "the orders"}),
        json!({"path": "/a/../b", "scope": "a"}),
        json!({"path": "/{*rest}/a", "scope": "a"}),
        json!({"path": 1, "scope": "a"}),
    ] {
        assert_problem(&fixture.post("/admin/routes", &bad), 400);
    }
    let incomplete = fixture.post("/admin/routes", &json!({"path": "/a"}));
    let no_scope = "scope must be given and not be empty, unless public is true";
    assert_eq!(incomplete.json()["detail"], no_scope);
    let twice = r#"{"path":"/a","path":"/b","scope":"a"}"#;
    let request = Request::to_host(HOST, "POST", "/admin/routes")
        .bearer(&fixture.admin)
        .body("application/json", twice);
    assert_problem(&request.send_and_close(fixture.server.address), 400);
    assert_eq!(fixture.get_routes().json()["items"].as_array().unwrap().len(), 1);
    for (method, path, allowed) in [
        ("PUT", "/admin/routes", "GET, HEAD, POST"),
        ("GET", "/admin/routes/x", "DELETE"),
        ("GET", "/admin/routes/explain", "POST"),
    ] {
        let response = Request::to_host(HOST, method, path)
            .bearer(&fixture.admin)
            .send_and_close(fixture.server.address);
        assert_problem(&response, 405);
        assert_eq!(response.header("allow"), Some(allowed));
    }
}

#[test]
fn the_bearer_token_is_checked_before_the_body_and_the_body_is_bounded() {
    let fixture = fixture();
    let address = fixture.server.address;
    let demo = fixture.server.token(&fixture.demo, "orders:read", &[]);
    for (method, path) in [
        ("POST", "/admin/routes"),
        ("POST", "/admin/routes/explain"),
        ("DELETE", "/admin/routes/x"),
    ] {
        // The body never arrives completely: a server that waited for it would not answer.
        let incomplete = |request: Request| request.header("Content-Length", "10").send_and_close(address);
        assert_problem(&incomplete(Request::to_host(HOST, method, path)), 401);
        assert_problem(&incomplete(Request::to_host(HOST, method, path).bearer(&demo)), 401);
        // To explain changes nothing, so a reader may; its body is waited for.
        if !path.ends_with("explain") {
            let reader = Request::to_host(HOST, method, path).bearer(&fixture.reader);
            assert_problem(&incomplete(reader), 403);
        }
    }
    assert_problem(
        &Request::to_host(HOST, "GET", "/admin/routes").send_and_close(address),
        401,
    );
    assert_problem(
        &Request::to_host(HOST, "GET", "/admin/routes")
            .bearer(&demo)
            .send_and_close(address),
        401,
    );
    let large = vec![b' '; MAX_ADMIN_DOCUMENT + 1];
    for path in ["/admin/routes", "/admin/routes/explain"] {
        let request = Request::to_host(HOST, "POST", path)
            .bearer(&fixture.admin)
            .header("Content-Type", "application/json");
        assert_problem(&request.clone().body("", &large).send_and_close(address), 413);
        assert_problem(&request.chunked(&large).send_and_close(address), 413);
    }
}

#[test]
fn explain_names_the_deciding_route_and_the_reason() {
    let fixture = fixture();
    let server = &fixture.server;
    let generic = server.route("*", "/orders/{id}", "orders:write", &[]);
    let specific = server.route("GET", "/orders/{id}", "orders:read", &[]);
    let query = json!({"method": "HEAD", "url": "https://api.example/orders/1?x"});
    let by_http = fixture.post("/admin/routes/explain", &query);
    assert_eq!(by_http.status, 200, "{by_http:?}");
    let by_command = server.run_json(&["route", "explain", "HEAD", "https://api.example/orders/1?x"]);
    assert_eq!(by_http.json(), by_command);
    assert_eq!(by_command["decision"], "route");
    assert_eq!(by_command["route"]["id"], *specific);
    assert_eq!(by_command["reason"], "it is the most specific of 2 routes that match");
    assert_eq!(by_command["others"][0]["route"]["id"], *generic);
    assert_eq!(by_command["others"][0]["reason"], "the deciding route names the method");
    let denied = server.run_json(&["route", "explain", "GET", "https://api.example/orders/../orders/1"]);
    assert_eq!(
        (&denied["decision"], &denied["route"]),
        (&json!("denied"), &Value::Null)
    );
    assert_eq!(denied["reason"], "the path has a segment . or ..");
    let explained = server.program.run(&["route", "explain", "GET", "/orders/1"]);
    let words = explained.done();
    assert!(
        words.starts_with("decided by  ") && words.contains("\nnot by "),
        "{words}"
    );
    let incomplete = fixture.post("/admin/routes/explain", &json!({"method": "GET"}));
    assert_problem(&incomplete, 400);
    assert_eq!(incomplete.json()["detail"], "url must be given");
}

#[test]
fn a_public_route_is_added_shown_explained_and_removed() {
    let fixture = fixture();
    let server = &fixture.server;
    let without_token = |method: &str, target: &str| {
        let request = testkit::gateway::forwarded(method, target);
        request.send_and_close(server.address).status
    };
    let route = json!({"method": "OPTIONS", "path": "/orders/{id}", "public": true, "scope": null});
    let created = fixture.post("/admin/routes", &route);
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let expected = json!({"id": id, "method": "OPTIONS", "host": null, "path": "/orders/{id}", "public": true, "scope": null, "audience": null});
    assert_eq!(created.json(), expected);
    // Each on a new connection, so that both workers get some of them.
    assert!((0..8).all(|_| without_token("OPTIONS", "/orders/1") == 200));
    assert_eq!(without_token("GET", "/orders/1"), 403);
    assert_problem(
        &fixture.post(
            "/admin/routes",
            &json!({"method": "OPTIONS", "path": "/orders/{id}", "scope": "a"}),
        ),
        409,
    );
    let by_command = server.public_route("*", "/orders/{*rest}", &[]);
    assert_eq!(server.run_json(&["route", "list"]), fixture.get_routes().json());
    let list = server.program.run(&["route", "list"]);
    let line = list.done().lines().find(|line| line.starts_with(&id)).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, [&id, "OPTIONS", "any", "/orders/{id}", "(public)", "(none)"]);

    let query = json!({"method": "OPTIONS", "url": "https://api.example/orders/1"});
    let explained = fixture.post("/admin/routes/explain", &query).json();
    assert_eq!(explained["route"], expected);
    assert_eq!(explained["others"][0]["route"]["id"], by_command);
    let in_words = server.program.run(&["route", "explain", "OPTIONS", "/orders/1"]);
    let first = in_words.done().lines().next().unwrap();
    assert!(
        first.starts_with("decided by  ") && first.ends_with("public: no token is needed"),
        "{first}"
    );

    let audit = server.program.run(&["audit"]);
    let event = audit.done().lines().find(|line| line.contains(&id)).unwrap();
    let event: Value = serde_json::from_str(event).unwrap();
    assert_eq!((&event["action"], &event["detail"]), (&json!("route.add"), &expected));

    assert_eq!(fixture.delete(&id).status, 204);
    assert_eq!(without_token("OPTIONS", "/orders/1"), 200, "by the other public route");
    assert_eq!(fixture.delete(&by_command).status, 204);
    assert!((0..8).all(|_| without_token("OPTIONS", "/orders/1") == 403));
}

#[test]
fn a_change_by_the_command_line_is_in_effect_with_the_next_poll() {
    let fixture = fixture();
    let server = &fixture.server;
    let token = server.token(&fixture.demo, "orders:read", &[]);
    assert_eq!(server.validate("GET", "/orders/1", &token).status, 403);
    let id = server.route("GET", "/orders/{id}", "orders:read", &[]);
    server.validates_once_applied("GET", "/orders/1", &token, 200);
    assert_eq!(server.run_json(&["route", "list"]), fixture.get_routes().json());
    assert_eq!(
        server.run_json(&["route", "remove", &id]),
        json!({"id": id, "removed": true})
    );
    server.validates_once_applied("GET", "/orders/1", &token, 403);
}

#[test]
fn the_command_line_reports_an_error_in_one_line() {
    let server = crate::start();
    server.route("GET", "/orders/{id}", "orders:read", &[]);
    let rejected = |arguments: &[&str], code: i32, beginning: &str| {
        let outcome = server.program.run(&[&["route"], arguments].concat());
        let line = outcome.failed(code);
        assert!(line.starts_with(&format!("mintage: {beginning}")), "{line}");
    };
    let add = |more: &[&str], beginning: &str| rejected(&[&["add"], more].concat(), 2, beginning);
    add(&["--path", "/a//b", "--scope", "a"], "--path: ");
    add(&["--path", "/a", "--scope", "a  b"], "--scope: ");
    add(
        &["--path", "/a", "--scope", ""],
        "--scope must not be empty: use --public for a route whose requests need no token",
    );
    add(&["--path", "/a", "--scope", "mintage:public"], "--scope: ");
    add(&["--path", "/a/../b", "--public"], "--path: ");
    add(&["--path", "/a", "--scope", "a", "--method", "get"], "--method: ");
    add(&["--path", "/a", "--scope", "a", "--host", "a:1"], "--host: ");
    add(&["--path", "/a", "--scope", "a", "--audience", "a b"], "--audience: ");
    let duplicate = ["add", "--path", "/orders/{x}", "--scope", "a", "--method", "GET"];
    rejected(&duplicate, 1, "a route with this method");
    rejected(&["remove", "nobody"], 1, "route \"nobody\" not found");
    for (more, said) in [
        (&[][..], "<--scope <SCOPE>|--public>"),
        (&["--public", "--scope", "a"], "'--public' cannot be used with"),
        (&["--public", "--scope", ""], "'--public' cannot be used with"),
        (&["--public", "--audience", "urn:a"], "'--public' cannot be used with"),
    ] {
        let outcome = server.program.run(&[&["route", "add", "--path", "/a"], more].concat());
        let line = outcome.failed(2);
        assert!(line.contains(said), "{line}");
    }
    assert_eq!(
        server.run_json(&["route", "list"])["items"].as_array().unwrap().len(),
        1
    );
}
