//! Requests of web pages (the CORS protocol): allowed where it is right, and nowhere else.

use mintage::config::CorsOrigins;
use testkit::TestApp;
use testkit::app::Setup;
use testkit::http::{Request, Response};
use testkit::token::token_request;

const PAGE: &str = "https://app.example";
const EVIL: &str = "https://evil.example";
const ENDPOINTS: [&str; 3] = ["/token", "/introspect", "/revoke"];
const DOCUMENTS: [&str; 3] = [
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
];

fn app() -> TestApp {
    let origins = vec![PAGE.to_owned(), "http://localhost:3000".to_owned()];
    Setup::new()
        .configured(|config| config.server.cors_origins = CorsOrigins::try_from(origins).unwrap())
        .start()
}

fn preflight(path: &str, origin: &str, method: &str) -> Request {
    Request::new("OPTIONS", path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", "authorization")
}

#[track_caller]
fn assert_not_allowed(answer: &Response) {
    let is_of_cors = |(name, _): &(String, String)| name.starts_with("access-control-");
    assert!(!answer.headers.iter().any(is_of_cors), "{answer:?}");
}

#[test]
fn a_listed_origin_may_read_tokens_and_errors() {
    let app = app();
    let client = app.client(|_| {});
    let issued = app.send(token_request(&client, &[]).header("Origin", PAGE));
    let denied = app.send(
        Request::post("/token")
            .form(&[("grant_type", "client_credentials")])
            .header("Origin", PAGE),
    );
    assert_eq!((issued.status, denied.status), (200, 401));
    for answer in [issued, denied] {
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        assert_eq!(answer.header("vary"), Some("Origin"));
        assert_eq!(
            answer.header("access-control-expose-headers"),
            Some("Retry-After, WWW-Authenticate, X-Request-Id")
        );
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}

#[test]
fn a_preflight_of_a_listed_origin_is_answered_before_authentication() {
    let app = app();
    for path in ENDPOINTS {
        let answer = app.send(preflight(path, "http://localhost:3000", "POST"));
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}");
        for (name, value) in [
            ("access-control-allow-origin", "http://localhost:3000"),
            ("access-control-allow-methods", "POST"),
            (
                "access-control-allow-headers",
                "Authorization, Content-Type, X-Request-Id",
            ),
            ("access-control-max-age", "600"),
            ("vary", "Origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {name}");
        }
    }
}

#[test]
fn attack_an_origin_that_is_not_listed_gets_no_permission() {
    let app = app();
    let client = app.client(|_| {});
    for origin in [
        EVIL,
        "null",
        "https://app.example.evil.example",
        "https://APP.example",
        "http://app.example",
    ] {
        for path in ENDPOINTS {
            let answer = app.send(preflight(path, origin, "POST"));
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, Some("POST")),
                "{path} {origin}"
            );
            assert_not_allowed(&answer);
            assert_eq!(answer.header("vary"), Some("Origin"), "{path}");
        }
        let issued = app.send(token_request(&client, &[]).header("Origin", origin));
        assert_eq!((issued.status, issued.header("vary")), (200, Some("Origin")));
        assert_not_allowed(&issued);
    }
}

#[test]
fn by_default_no_origin_is_listed() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    for path in ENDPOINTS {
        let answer = app.send(preflight(path, PAGE, "POST"));
        assert_eq!(answer.status, 405, "{path}");
        assert_not_allowed(&answer);
    }
    let issued = app.send(token_request(&client, &[]).header("Origin", PAGE));
    assert_eq!((issued.status, issued.header("vary")), (200, None));
    assert_not_allowed(&issued);
}

#[test]
fn every_origin_may_read_the_keys_and_the_metadata() {
    let app = TestApp::shared();
    for path in DOCUMENTS {
        for request in [Request::get(path), Request::get(path).header("Origin", EVIL)] {
            let answer = app.send(request);
            assert_eq!(
                (answer.status, answer.header("access-control-allow-origin")),
                (200, Some("*"))
            );
        }
        let answer = app.send(preflight(path, EVIL, "GET"));
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin")),
            (204, Some("*"))
        );
        assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("*"));
    }
}

#[test]
fn a_listed_origin_may_call_nothing_else() {
    let app = app();
    let token = app.issue_with_scope("mintage:admin");
    for path in [
        "/admin/clients",
        "/console",
        "/validate",
        "/validate/x",
        "/metrics",
        "/livez",
        "/",
        "/authorize",
    ] {
        for request in [
            preflight(path, PAGE, "GET"),
            Request::get(path).bearer(&token).header("Origin", PAGE),
        ] {
            assert_not_allowed(&app.send(request));
        }
    }
}

#[test]
fn the_console_listener_allows_no_other_origin_to_sign_in() {
    let app = Setup::new()
        .configured(|config| {
            config.server.cors_origins = CorsOrigins::try_from(vec![PAGE.to_owned()]).unwrap();
            config.server.admin_listen = "127.0.0.1:0".into();
        })
        .start();
    for path in ["/token", "/revoke"] {
        let answer = preflight(path, PAGE, "POST").send(app.admin_address);
        assert_eq!(answer.status, 404, "{path}");
        assert_not_allowed(&answer);
    }
}
