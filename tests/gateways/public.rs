//! Public routes at `/validate` itself: what passes without a token, and what does not.

use diesel::connection::SimpleConnection;
use mintage::oauth::bounds::MAX_FORM;
use testkit::Server;
use testkit::gateway::{HOST, forwarded, original};
use testkit::http::{Request, Response};

const REALM: &str = "Bearer realm=\"mintage\"";
const CONFLICT: &str = "conflicting forwarded headers";

/// A server with public routes below and above protected ones, and one for preflights.
fn start() -> Server {
    let server = crate::start();
    server.public_route("*", "/pub/{*rest}", &[]);
    server.route("*", "/pub/account/{*rest}", "account", &[]);
    server.public_route("GET", "/pub/account/help", &[]);
    server.public_route("GET", "/orders/{id}", &["--host", "catalog.example"]);
    server.route("*", "/orders/{id}", "orders:write", &[]);
    server.public_route("OPTIONS", "/orders/{id}", &[]);
    server.wait_for_change_feed();
    server
}

/// The same question in every form that gateways ask it in.
fn in_every_form(method: &str, target: &str) -> [Request; 4] {
    let by_url = Request::to_host("mintage.example", "GET", "/validate")
        .header("X-Original-Method", method)
        .header("X-Original-URL", &format!("https://{HOST}{target}"));
    let own = Request::to_host(HOST, method, &format!("/validate{target}"));
    [forwarded(method, target), original(method, target), by_url, own]
}

#[track_caller]
fn assert_passes_without_identity(response: &Response) {
    assert_eq!((response.status, response.text().as_str()), (200, ""), "{response:?}");
    response.assert_common_headers();
    // Empty, so that they replace what a client sends.
    for name in ["x-client-id", "x-token-scope", "x-token-id", "x-token-expires"] {
        assert_eq!(response.header(name), Some(""), "{response:?}");
    }
    for name in ["www-authenticate", "access-control-allow-origin"] {
        assert_eq!(response.header(name), None, "{response:?}");
    }
}

#[track_caller]
fn assert_needs_a_token(response: &Response) {
    response.assert_validate_error(401, "invalid_request", REALM);
}

#[test]
fn a_request_for_a_public_route_passes_without_a_token_in_every_form() {
    let server = start();
    for (method, target) in [
        ("GET", "/pub/"),
        ("HEAD", "/pub/a/b?c=/../d"),
        ("POST", "/pub/caf%C3%A9"),
        ("DELETE", "/%70ub/a"),
        ("GET", "/pub/account/help"),
        ("HEAD", "/pub/account/help"),
        ("GET", "/pub/account"),
    ] {
        for request in in_every_form(method, target) {
            assert_passes_without_identity(&request.send_and_close(server.address));
        }
    }
    let metrics = server.metrics();
    for reason in ["no_route", "ambiguous_request", "invalid_token"] {
        metrics.assert_value(&format!("mintage_denials_total{{reason=\"{reason}\"}}"), 0.0);
    }
    assert!(!server.log().contains("denied"), "{}", server.log());
}

#[test]
fn a_public_route_does_not_look_at_the_token() {
    let server = start();
    let client = server.client_with_id("demo", "orders:write", &[]);
    let one_time = server.token(&client, "orders:write", &[("one_time", "true")]);
    let page = forwarded("GET", "/pub/a");
    let long = "a".repeat(9000);
    for header in [
        "Bearer stale",
        "Bearer",
        "Bearer a b",
        "Bearer \u{e9}",
        "Basic ZGVtbzpkZW1v",
        &format!("Bearer {long}"),
        &format!("Bearer {one_time}"),
    ] {
        let request = page.clone().header("Authorization", header);
        assert_passes_without_identity(&request.send_and_close(server.address));
    }
    let twice = page.bearer("a").bearer("b");
    assert_passes_without_identity(&twice.send_and_close(server.address));
    // It is not redeemed yet.
    assert_eq!(server.validate("POST", "/orders/1", &one_time).status, 200);
    assert_eq!(server.validate("POST", "/orders/1", &one_time).status, 401);
}

#[test]
fn a_preflight_passes_only_if_its_own_route_is_public() {
    let server = start();
    let client = server.client_with_id("demo", "orders:write", &[]);
    let preflight = |request: Request| {
        let request = request.header("Origin", "https://shop.example");
        let request = request.header("Access-Control-Request-Method", "POST");
        request.send_and_close(server.address)
    };
    for request in in_every_form("OPTIONS", "/orders/1") {
        assert_passes_without_identity(&preflight(request));
    }
    for request in in_every_form("OPTIONS", "/pub/account/1") {
        assert_needs_a_token(&preflight(request));
    }
    preflight(forwarded("OPTIONS", "/nowhere")).assert_denied("no route allows this request");
    // The headers of a preflight open nothing else.
    for method in ["GET", "POST", "DELETE", "TRACE"] {
        for request in in_every_form(method, "/orders/1") {
            assert_needs_a_token(&preflight(request));
        }
    }
    // Neither does OPTIONS as the method of the question.
    let asked_with_options = Request::to_host(HOST, "OPTIONS", "/validate")
        .header("X-Original-Method", "POST")
        .header("X-Original-URI", "/orders/1");
    assert_needs_a_token(&preflight(asked_with_options));
    let own = Request::to_host(HOST, "OPTIONS", "/validate/orders/1").header("X-Original-Method", "POST");
    preflight(own.header("X-Original-URI", "/orders/1")).assert_denied(CONFLICT);
    let token = server.token(&client, "orders:write", &[]);
    assert_eq!(server.validate("POST", "/orders/1", &token).status, 200);
}

#[test]
fn the_most_specific_route_decides_whether_a_token_is_needed() {
    let server = start();
    for (method, target) in [
        ("GET", "/pub/account/"),
        ("GET", "/pub/account/1"),
        ("GET", "/pub/acc%6funt/1"),
        ("POST", "/pub/account/help"),
        ("GET", "/pub/account/help/"),
        ("OPTIONS", "/pub/account/help"),
        ("GET", "/orders/1"),
    ] {
        for request in in_every_form(method, target) {
            assert_needs_a_token(&request.send_and_close(server.address));
        }
    }
    let at = |host: &str, method: &str| {
        let request = Request::to_host(host, method, "/validate/orders/1");
        request.send_and_close(server.address)
    };
    assert_passes_without_identity(&at("Catalog.example:8443", "GET"));
    assert_needs_a_token(&at("catalog.example", "POST"));
    assert_needs_a_token(&at("other.example", "GET"));
    at("catalog.example.", "GET").assert_denied("the host of the original request is malformed");
}

#[test]
fn an_ambiguous_request_is_denied_at_a_public_route_too() {
    let server = crate::start();
    server.public_route("*", "/{*rest}", &[]);
    server.wait_for_change_feed();
    assert_passes_without_identity(&forwarded("GET", "/").send_and_close(server.address));
    for target in [
        "/pub/../orders/1",
        "/pub/./a",
        "/pub//a",
        "//pub/a",
        "/pub/a\\b",
        "/pub/a%2fb",
        "/pub/a%5Cb",
        "/pub/%2e%2e/orders/1",
        "/pub/a%25",
        "/pub/a%00",
        "/pub/a;b",
        "/pub/%",
        "/pub/%ff",
        "/pub/%ef%bc%8e%ef%bc%8e/orders/1",
        "/pub/a%20",
        "http://api.example/pub/a",
        "*",
        "pub",
    ] {
        let response = forwarded("GET", target).send_and_close(server.address);
        response.assert_validate_error(403, "access_denied", REALM);
    }
    for method in ["get", "options", "Options", "", "GET, OPTIONS", "*"] {
        let response = forwarded(method, "/pub/a").send_and_close(server.address);
        response.assert_validate_error(403, "access_denied", REALM);
    }
    for (name, value) in [
        ("X-Original-Method", "OPTIONS"),
        ("X-Original-URI", "/pub/a"),
        ("X-Original-URL", "/pub/a"),
        ("X-Forwarded-Method", "OPTIONS"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Rewrite-URL", "/orders/1"),
        ("X_Forwarded_Method", "GET"),
        ("Connection", "X-Forwarded-Method"),
        ("Connection", "Authorization"),
    ] {
        let response = forwarded("GET", "/pub/a")
            .header(name, value)
            .send_and_close(server.address);
        response.assert_validate_error(403, "access_denied", REALM);
    }
    assert!(server.log().contains("reason=ambiguous_request"), "{}", server.log());
}

#[test]
fn a_public_route_answers_trusted_gateways_only_and_bounds_the_body() {
    let server = start();
    let large = vec![b'x'; MAX_FORM + 1];
    let asked = original("GET", "/pub/a");
    assert_eq!(
        asked.clone().body("", &large).send_and_close(server.address).status,
        413
    );
    assert_eq!(asked.chunked(&large).send_and_close(server.address).status, 413);
    let server = crate::start_with(&[("MINTAGE_SERVER__TRUSTED_PROXIES", r#"["10.0.0.1"]"#)]);
    server.public_route("*", "/pub/{*rest}", &[]);
    server.wait_for_change_feed();
    let response = forwarded("GET", "/pub/a").send_and_close(server.address);
    response.assert_denied("only a gateway named in server.trusted_proxies may ask about other requests");
}

#[test]
fn a_request_for_a_websocket_passes_at_a_public_route_and_is_answered_at_once() {
    let server = start();
    let upgrade = |request: Request| {
        let request = request.header("Connection", "Upgrade").header("Upgrade", "websocket");
        request.send(server.address)
    };
    for request in in_every_form("GET", "/pub/socket") {
        let response = upgrade(request);
        assert_passes_without_identity(&response);
        assert_eq!(response.header("connection"), Some("close"), "{response:?}");
    }
    for request in in_every_form("GET", "/pub/account/socket") {
        assert_needs_a_token(&upgrade(request));
    }
}

/// An instance of a version without public routes reads all other columns.
#[test]
fn an_older_instance_denies_what_a_public_route_matches() {
    let program = testkit::program!().with_database();
    let setup = program.serve(&[]);
    let client = setup.client_with_id("demo", "wide", &[]);
    setup.route("*", "/{*rest}", "wide", &[]);
    setup.public_route("*", "/pub/{*rest}", &[]);
    setup.wait_for_change_feed();
    assert_passes_without_identity(&forwarded("GET", "/pub/a").send_and_close(setup.address));
    drop(setup);
    testkit::sqlite::connect(&program.database_path())
        .batch_execute("UPDATE routes SET public = FALSE")
        .unwrap();
    let older = program.serve(&[]);
    assert_needs_a_token(&forwarded("GET", "/pub/a").send_and_close(older.address));
    let token = older.token(&client, "wide", &[]);
    assert_eq!(older.validate("GET", "/a", &token).status, 200);
    let challenge = format!("{REALM}, error=\"insufficient_scope\", scope=\"mintage:public\"");
    let response = older.validate("GET", "/pub/a", &token);
    response.assert_validate_error(403, "insufficient_scope", &challenge);
    // No client can get that scope.
    let create = ["client", "create", "--name", "n", "--scope", "mintage:public"];
    assert_ne!(program.run(&create).code, Some(0));
}
