//! P39 to P46 at `/validate` itself, called as a gateway would.

use mintage::oauth::bounds::MAX_FORM;
use testkit::app::ORDERS;
use testkit::gateway::{HOST, forwarded, original};
use testkit::http::{Request, Response, exchange};
use testkit::{Server, TestClient, eventually};

use crate::TIMEOUT;

const REALM: &str = "Bearer realm=\"mintage\"";
const INVALID: &str = "Bearer realm=\"mintage\", error=\"invalid_token\"";
const DISAGREE: &str = "conflicting forwarded headers";
const NO_REQUEST: &str = "there is no original request";
const TWICE: &str = "a header about the request comes twice";
const UNDERSCORES: &str = "a header about the request is spelled with underscores";
const IN_CONNECTION: &str = "a header about the request is named in Connection";
const NO_ROUTE: &str = "no route allows this request";

/// A server with some routes, a client that may have their scopes, and a token for reading orders.
struct Fixture {
    server: Server,
    client: TestClient,
    token: String,
}

fn fixture() -> Fixture {
    fixture_with(&[])
}

fn fixture_with(environment: &[(&'static str, &str)]) -> Fixture {
    let server = crate::start_with(environment);
    server.route("GET", "/orders/{id}", "orders:read", &[]);
    server.route("*", "/orders/{id}", "orders:write", &[]);
    server.route("*", "/public/{*rest}", "public:read", &[]);
    server.route("*", "/both", "orders:read orders:write", &[]);
    server.route("*", "/elsewhere", "orders:read", &["--audience", ORDERS]);
    let scope = "orders:read orders:write public:read";
    let client = server.client_with_id("demo", scope, &["--audience", ORDERS]);
    let token = server.token(&client, "orders:read", &[]);
    eventually("the routes are in effect", TIMEOUT, || {
        let status = server.validate("GET", "/elsewhere", &token).status;
        // In one of the tests, this peer is not trusted.
        (status == 401 || environment.iter().any(|(name, _)| name.ends_with("TRUSTED_PROXIES"))).then_some(())
    });
    Fixture { server, client, token }
}

#[track_caller]
fn assert_passes(response: &Response) {
    assert_eq!(response.status, 200, "{response:?}");
}

#[test]
fn p45_a_valid_token_passes_and_its_claims_are_sent_to_the_upstream() {
    let Fixture { server, token, .. } = fixture();
    let response = server.validate("GET", "/orders/1", &token);
    assert_passes(&response);
    assert_eq!(response.header("x-client-id"), Some("demo"));
    assert_eq!(response.header("x-token-scope"), Some("orders:read"));
    let expires: i64 = response.header("x-token-expires").unwrap().parse().unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    assert!((now + 3500..=now + 3600).contains(&expires), "{expires} at {now}");
    assert_eq!(response.header("x-token-id").unwrap().len(), 36);
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.text(), "");
}

#[test]
fn p39_without_a_token_the_challenge_has_no_error_code() {
    let Fixture { server, token, .. } = fixture();
    let ask = |request: Request| request.send_and_close(server.address);
    ask(forwarded("GET", "/orders/1")).assert_validate_error(401, "invalid_request", REALM);
    for header in ["Basic ZGVtbzpkZW1v", "Digest x", "Negotiate"] {
        let request = forwarded("GET", "/orders/1").header("Authorization", header);
        ask(request).assert_validate_error(401, "invalid_request", REALM);
    }
    for scheme in ["bearer", "BEARER", "Bearer"] {
        let request = forwarded("GET", "/orders/1").header("Authorization", &format!("{scheme} {token}"));
        assert_passes(&ask(request));
    }
}

#[test]
fn p40_a_malformed_or_repeated_authorization_header_is_401() {
    let Fixture { server, token, .. } = fixture();
    let challenge = "Bearer realm=\"mintage\", error=\"invalid_request\"";
    for header in [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer \"x\"",
        "Bearer a,b",
        "Bearer \u{e9}",
    ] {
        let request = forwarded("GET", "/orders/1").header("Authorization", header);
        let response = request.send_and_close(server.address);
        response.assert_validate_error(401, "invalid_request", challenge);
    }
    let doubled = forwarded("GET", "/orders/1").bearer(&token).bearer(&token);
    doubled
        .send_and_close(server.address)
        .assert_validate_error(401, "invalid_request", challenge);
}

#[test]
fn p41_an_inactive_token_is_401() {
    let Fixture { server, client, token } = fixture();
    let parts: Vec<&str> = token.split('.').collect();
    let unsigned = format!("{}.{}.", parts[0], parts[1]);
    let long = "a".repeat(9000);
    for bad in [
        "wrong",
        "a.b.c",
        &unsigned,
        &token[..token.len() - 1],
        &format!("{token}.x"),
        &long,
    ] {
        let response = server.validate("GET", "/orders/1", bad);
        response.assert_validate_error(401, "invalid_token", INVALID);
    }
    let short = server.client_with_id("short", "orders:read", &["--ttl", "1s"]);
    let expiring = server.token(&short, "orders:read", &[]);
    eventually("the token expires", TIMEOUT, || {
        (server.validate("GET", "/orders/1", &expiring).status == 401).then_some(())
    });
    server
        .validate("GET", "/orders/1", &expiring)
        .assert_validate_error(401, "invalid_token", INVALID);
    server.run_json(&["client", "disable", &client.id]);
    server.validates_once_applied("GET", "/orders/1", &token, 401);
}

#[test]
fn p41_a_missing_scope_is_403_and_the_challenge_names_it() {
    let Fixture { server, token, .. } = fixture();
    let lacking = |scope: &str| format!("{REALM}, error=\"insufficient_scope\", scope=\"{scope}\"");
    for (method, target, scope) in [
        ("POST", "/orders/1", "orders:write"),
        ("GET", "/public/a", "public:read"),
        ("GET", "/both", "orders:read orders:write"),
    ] {
        let response = server.validate(method, target, &token);
        response.assert_validate_error(403, "insufficient_scope", &lacking(scope));
    }
}

#[test]
fn p41_the_audience_must_be_the_routes_or_the_default() {
    let Fixture { server, client, token } = fixture();
    let elsewhere = server.token(&client, "orders:read", &[("resource", ORDERS)]);
    assert_passes(&server.validate("GET", "/elsewhere", &elsewhere));
    for (target, token) in [("/elsewhere", &token), ("/orders/1", &elsewhere)] {
        let response = server.validate("GET", target, token);
        response.assert_validate_error(401, "invalid_token", INVALID);
    }
}

#[test]
fn p42_a_token_in_the_query_is_ignored() {
    let Fixture { server, token, .. } = fixture();
    let query = format!("access_token={token}");
    let in_original = forwarded("GET", &format!("/orders/1?{query}"));
    let own = Request::to_host(HOST, "GET", &format!("/validate/orders/1?{query}"));
    for request in [in_original, own] {
        request
            .send_and_close(server.address)
            .assert_validate_error(401, "invalid_request", REALM);
    }
}

#[test]
fn p43_the_original_request_is_named_in_one_of_four_ways() {
    let Fixture { server, token, .. } = fixture();
    let pass = |request: Request| assert_passes(&request.bearer(&token).send_and_close(server.address));
    pass(forwarded("GET", "/orders/1?x=1"));
    pass(original("GET", "/orders/1?x=1"));
    pass(Request::to_host(HOST, "GET", "/validate/orders/1?x=1"));
    // The host of this request is Mintage's own.
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://{HOST}/orders/1?x=1");
        pass(by_url(&url));
        let without_token = by_url(&url).send_and_close(server.address);
        without_token.assert_validate_error(401, "invalid_request", REALM);
    }
    // The method of the authorization request is the gateway's own, unless it is the original
    // request.
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        let mut auth_request = Request::to_host(HOST, method, "/validate");
        auth_request = auth_request
            .header("X-Original-Method", "GET")
            .header("X-Original-URI", "/orders/1");
        pass(auth_request);
    }
    let lacking = Request::to_host(HOST, "DELETE", "/validate/orders/1")
        .bearer(&token)
        .send_and_close(server.address);
    assert_eq!(lacking.json()["error"], "insufficient_scope");
    // All at once, consistently.
    pass(
        Request::to_host(HOST, "GET", "/validate/orders/1")
            .header("X-Forwarded-Method", "GET")
            .header("X-Forwarded-Host", "API.example:443")
            .header("X-Forwarded-Uri", "/orders/1?x")
            .header("X-Original-Method", "GET")
            .header("X-Original-URI", "/orders/1")
            .header("X-Original-URL", "https://api.example/orders/1?y"),
    );
}

/// A request as an ingress sends it to an external authentication address.
fn by_url(url: &str) -> Request {
    let request = Request::to_host("mintage.example", "GET", "/validate");
    request.header("X-Original-Method", "GET").header("X-Original-URL", url)
}

#[test]
fn p43_an_original_url_must_be_absolute_and_agree_with_the_other_sources() {
    let Fixture { server, token, .. } = fixture();
    let denied = |request: Request, why: &str| request.bearer(&token).send_and_close(server.address).assert_denied(why);
    let not_absolute = "X-Original-URL is not an absolute URL with a path";
    for url in ["/orders/1", "https://api.example", "//api.example/orders/1", ""] {
        denied(by_url(url), not_absolute);
        denied(
            forwarded("GET", "/orders/1").header("X-Original-URL", url),
            not_absolute,
        );
    }
    let url = "https://api.example/orders/1";
    denied(
        Request::to_host("mintage.example", "GET", "/validate").header("X-Original-URL", url),
        "there is a path without a method",
    );
    denied(
        by_url(url).header("X-Original-URL", url),
        "a header about the request comes twice",
    );
    denied(
        forwarded("POST", "/orders/1")
            .header("X-Original-URL", url)
            .header("X-Original-Method", "GET"),
        DISAGREE,
    );
    for other in ["https://api.example/orders/2", "https://other.example/orders/1"] {
        denied(original("GET", "/orders/1").header("X-Original-URL", other), DISAGREE);
        let own = Request::to_host(HOST, "GET", "/validate/orders/1").header("X-Original-Method", "GET");
        denied(own.header("X-Original-URL", other), DISAGREE);
    }
    // Readers disagree about the hosts of these.
    for url in [
        "https://api.example@other.example/orders/1",
        "https://api.example?/orders/1",
    ] {
        denied(by_url(url), "the host of the original request is malformed");
    }
}

#[test]
fn a_request_for_a_websocket_or_a_tunnel_is_judged_at_once() {
    let Fixture { server, token, .. } = fixture();
    let upgrade = |request: Request| request.header("Connection", "Upgrade").header("Upgrade", "websocket");
    let own = Request::to_host(HOST, "GET", "/validate/orders/1");
    for request in [forwarded("GET", "/orders/1"), original("GET", "/orders/1"), own] {
        assert_passes(&upgrade(request).bearer(&token).send(server.address));
    }
    let without_token = upgrade(forwarded("GET", "/orders/1")).send(server.address);
    without_token.assert_validate_error(401, "invalid_request", REALM);
    assert_eq!(
        upgrade(forwarded("GET", "/nowhere"))
            .bearer(&token)
            .send(server.address)
            .status,
        403
    );
    let tunnel = Request::to_host(HOST, "CONNECT", "/validate").bearer(&token);
    let tunnel = tunnel
        .header("X-Original-Method", "GET")
        .header("X-Original-URI", "/orders/1");
    assert_passes(&tunnel.send(server.address));
}

#[test]
fn what_follows_a_request_for_a_websocket_is_not_another_request() {
    let Fixture { server, token, .. } = fixture();
    let request = forwarded("GET", "/orders/1").bearer(&token);
    let request = request.header("Connection", "Upgrade").header("Upgrade", "websocket");
    let hidden = forwarded("GET", "/orders/1").bearer(&token).bytes();
    let responses = exchange(server.address, &[request.bytes(), hidden].concat());
    assert_eq!(responses.len(), 1, "{responses:?}");
    assert_eq!(responses[0].header("connection"), Some("close"));
}

#[test]
fn p43_conflicting_sources_are_denied() {
    let Fixture { server, token, .. } = fixture();
    let denied = |request: Request, why: &str| request.bearer(&token).send_and_close(server.address).assert_denied(why);
    let with_original = |method: &str, target: &str| {
        let request = forwarded("GET", "/orders/1").header("X-Original-Method", method);
        request.header("X-Original-URI", target)
    };
    // The authorization request's host is the gateway's, so it differs from the forwarded one.
    denied(with_original("GET", "/orders/1"), DISAGREE);
    let own = |host: &str| Request::to_host(host, "GET", "/validate/orders/1");
    let forwards = |request: Request, method: &str, host: &str, target: &str| {
        let request = request
            .header("X-Forwarded-Method", method)
            .header("X-Forwarded-Host", host);
        request.header("X-Forwarded-Uri", target)
    };
    denied(
        forwards(own("api.example"), "POST", "api.example", "/orders/1"),
        DISAGREE,
    );
    denied(
        forwards(own("api.example"), "GET", "other.example", "/orders/1"),
        DISAGREE,
    );
    denied(
        forwards(own("api.example"), "GET", "api.example", "/orders/2"),
        DISAGREE,
    );
    denied(
        forwards(own("api.example"), "GET", "api.example", "/%6frders/1"),
        DISAGREE,
    );
    denied(forwards(own("a..b"), "GET", "a..c", "/orders/1"), DISAGREE);
    denied(
        original("GET", "/orders/1").header("X-Forwarded-Host", "other.example"),
        DISAGREE,
    );
    denied(own("api.example").header("X-Forwarded-Host", "other.example"), DISAGREE);
}

#[test]
fn p43_an_incomplete_or_missing_source_is_denied() {
    let Fixture { server, token, .. } = fixture();
    let denied = |request: Request, why: &str| request.bearer(&token).send_and_close(server.address).assert_denied(why);
    denied(Request::to_host(HOST, "GET", "/validate"), NO_REQUEST);
    denied(Request::to_host(HOST, "GET", "/validate?x=/orders/1"), NO_REQUEST);
    denied(
        Request::to_host(HOST, "GET", "/validate").header("X-Forwarded-Host", "api.example"),
        NO_REQUEST,
    );
    for prefix in ["X-Forwarded", "X-Original"] {
        let method = Request::to_host(HOST, "GET", "/validate").header(&format!("{prefix}-Method"), "GET");
        denied(method, "there is a method without a path");
        let path = Request::to_host(HOST, "GET", "/validate").header(&format!("{prefix}-Uri"), "/orders/1");
        denied(path, "there is a path without a method");
        let beside = original("GET", "/orders/1");
        if prefix == "X-Forwarded" {
            denied(
                beside.header("X-Forwarded-Uri", "/orders/1"),
                "there is a path without a method",
            );
        }
    }
    denied(
        forwarded("", "/orders/1"),
        "the method of the original request is not in capital letters",
    );
    denied(forwarded("GET", ""), "the path does not begin with a slash");
}

#[test]
fn p43_repeated_headers_are_denied() {
    let Fixture { server, token, .. } = fixture();
    let denied = |request: Request| {
        let response = request.bearer(&token).send_and_close(server.address);
        response.assert_denied(TWICE);
    };
    for (name, value) in [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Host", "api.example"),
        ("X-Forwarded-Uri", "/orders/1"),
        ("x-forwarded-URI", "/public/a"),
    ] {
        denied(forwarded("GET", "/orders/1").header(name, value));
    }
    for (name, value) in [("X-Original-Method", "GET"), ("X-Original-URI", "/orders/1")] {
        denied(original("GET", "/orders/1").header(name, value));
    }
    let two_hosts = original("GET", "/orders/1").header("Host", "api.example");
    let response = two_hosts.bearer(&token).send_and_close(server.address);
    assert!(matches!(response.status, 400 | 403), "{response:?}");
    // A single header with two values is denied too.
    for (method, target) in [("GET, GET", "/orders/1"), ("GET", "/orders/1, /orders/1")] {
        let response = server.validate(method, target, &token);
        assert_eq!(response.status, 403, "{response:?}");
    }
}

#[test]
fn p43_disguised_headers_are_denied() {
    let Fixture { server, token, .. } = fixture();
    let denied = |request: Request, why: &str| request.bearer(&token).send_and_close(server.address).assert_denied(why);
    for name in [
        "X_Forwarded_Uri",
        "X_FORWARDED_METHOD",
        "X-Forwarded_Host",
        "x_forwarded-for",
        "X_Original_URI",
        "X-Original_Method",
        "X_Client_Id",
        "X-Token_Scope",
    ] {
        denied(forwarded("GET", "/orders/1").header(name, "x"), UNDERSCORES);
    }
    for options in [
        "X-Forwarded-Uri",
        "keep-alive, x-forwarded-method",
        "close,X-FORWARDED-HOST ",
        "X_Forwarded_Uri",
        "X-Original-URI",
        "Authorization",
        "host",
    ] {
        denied(
            forwarded("GET", "/orders/1").header("Connection", options),
            IN_CONNECTION,
        );
    }
    let harmless = forwarded("GET", "/orders/1")
        .header("X_Other", "x")
        .header("Connection", "keep-alive, X-Other");
    assert_passes(&harmless.bearer(&token).send_and_close(server.address));
}

#[test]
fn p43_headers_that_name_another_path_or_method_are_denied() {
    let Fixture { server, token, .. } = fixture();
    for name in [
        "X-Rewrite-URL",
        "X-Forwarded-Prefix",
        "X-Forwarded-Path",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ] {
        let denied = |request: Request, why: &str| {
            request.bearer(&token).send_and_close(server.address).assert_denied(why);
        };
        denied(
            forwarded("GET", "/orders/1").header(name, "/orders/2"),
            "a header about the request must be removed by the gateway",
        );
        denied(
            original("GET", "/orders/1").header(&name.replace('-', "_"), "x"),
            UNDERSCORES,
        );
        denied(forwarded("GET", "/orders/1").header("Connection", name), IN_CONNECTION);
    }
}

#[test]
fn p44_text_that_normalization_or_trimming_changes_is_denied() {
    let Fixture { server, client, .. } = fixture();
    let token = server.token(&client, "public:read", &[]);
    for path in ["/public/caf%c3%a9", "/public/a%20b", "/public/%e6%97%a5%e6%9c%ac"] {
        assert_passes(&server.validate("GET", path, &token));
    }
    for path in [
        "/public/%ef%bc%8e%ef%bc%8e/a",
        "/public/a%20",
        "/public/%20a",
        "/public/a%e2%80%8b",
        "/public/a%c2%ad",
        "/public/e%cc%81",
        "/public/a%e2%80%a8",
        "/public/%ef%bb%bf",
    ] {
        assert_eq!(server.validate("GET", path, &token).status, 403, "{path}");
    }
    let rejected = server
        .program
        .run(&["route", "add", "--path", "/x/a%20", "--scope", "s"]);
    assert!(
        rejected
            .failed(2)
            .contains("the path has a space at the beginning or end")
    );
}

#[test]
fn p43_only_trusted_peers_may_name_an_original_request() {
    let strangers = "only a gateway named in server.trusted_proxies may ask about other requests";
    let Fixture { server, token, .. } = fixture_with(&[("MINTAGE_SERVER__TRUSTED_PROXIES", r#"["10.0.0.0/8","::1"]"#)]);
    for request in [
        forwarded("GET", "/orders/1"),
        original("GET", "/orders/1"),
        Request::to_host(HOST, "GET", "/validate/orders/1"),
        Request::to_host(HOST, "GET", "/validate"),
        forwarded("GET", "/orders/1").header("X-Forwarded-For", "10.0.0.1"),
    ] {
        request
            .bearer(&token)
            .send_and_close(server.address)
            .assert_denied(strangers);
    }
    assert!(server.log().contains("reason=untrusted_peer"), "{}", server.log());
    let Fixture { server, token, .. } = fixture_with(&[("MINTAGE_SERVER__TRUSTED_PROXIES", r#"["127.0.0.0/8"]"#)]);
    server.validates_once_applied("GET", "/orders/1", &token, 200);
}

#[test]
fn p44_an_ambiguous_path_is_denied_from_every_source() {
    let Fixture { server, client, .. } = fixture();
    let token = server.token(&client, "public:read", &[]);
    assert_passes(&server.validate("GET", "/public/a%20b?c=../%2f;//", &token));
    for path in [
        "/public/../orders/1",
        "/public/./a",
        "/public//a",
        "/public/a\\b",
        "/public/a%2fb",
        "/public/a%5Cb",
        "/public/%2e%2e/orders/1",
        "/public/a%25",
        "/public/a%00",
        "/public/a;b",
        "/public/%",
        "/public/%zz",
        "/public/%ff",
        "/public/a%3Fb",
    ] {
        for request in [
            forwarded("GET", path),
            original("GET", path),
            Request::to_host(HOST, "GET", &format!("/validate{path}")),
        ] {
            let response = request.bearer(&token).send_and_close(server.address);
            // A request that the HTTP library cannot parse is a 400.
            assert!(matches!(response.status, 400 | 403), "{path}: {response:?}");
            if response.status == 403 {
                response.assert_validate_error(403, "access_denied", REALM);
            }
        }
        assert_eq!(server.validate("GET", path, &token).status, 403, "{path}");
    }
    for path in [
        "/public/a#b",
        "/public/\u{e9}",
        "/public/a b",
        "/public/a\tb",
        "http://api.example/public/a",
        "*",
    ] {
        assert_eq!(server.validate("GET", path, &token).status, 403, "{path}");
    }
    for target in [
        "/%76alidate/public/a",
        "/validate%2fpublic/a",
        "//validate/public/a",
        "/x/../validate/public/a",
    ] {
        let response = Request::to_host(HOST, "GET", target)
            .bearer(&token)
            .send_and_close(server.address);
        assert_ne!(response.status, 200, "{target}: {response:?}");
    }
    let absolute = Request::to_host(HOST, "GET", "http://other.example/validate/public/a").bearer(&token);
    assert_eq!(absolute.send_and_close(server.address).status, 403);
}

#[test]
fn p44_ambiguous_methods_and_hosts_are_denied() {
    let Fixture { server, client, .. } = fixture();
    let token = server.token(&client, "public:read", &[]);
    for method in ["get", "Get", "G T", "GET;", "*"] {
        assert_eq!(server.validate(method, "/public/a", &token).status, 403, "{method}");
    }
    for host in [
        "",
        "a..b",
        "api.example.",
        "a, b",
        "u@api.example",
        "api.example:x",
        "a/b",
    ] {
        let request = Request::to_host(HOST, "GET", "/validate").header("X-Forwarded-Method", "GET");
        let request = request
            .header("X-Forwarded-Uri", "/public/a")
            .header("X-Forwarded-Host", host);
        let response = request.bearer(&token).send_and_close(server.address);
        response.assert_denied("the host of the original request is malformed");
    }
}

#[test]
fn p44_the_most_specific_route_decides_and_a_request_without_a_route_is_denied() {
    let Fixture { server, client, token } = fixture();
    assert_passes(&server.validate("HEAD", "/orders/1", &token));
    for target in ["/", "/orders", "/orders/", "/orders/1/", "/orders/1/lines", "/ORDERS/1"] {
        server.validate("GET", target, &token).assert_denied(NO_ROUTE);
    }
    server.route("*", "/public/{*rest}", "orders:write", &["--host", "API.example"]);
    let public = server.token(&client, "public:read", &[]);
    server.validates_once_applied("GET", "/public/a", &public, 403);
    let at = |host: &str| {
        let request = Request::to_host(host, "GET", "/validate/public/a");
        request.bearer(&public).send_and_close(server.address).status
    };
    assert_eq!((at("api.example:8443"), at("other.example")), (403, 200));
    // If routes depend on the host, a request without one is denied.
    let unnamed = Request::to_host(HOST, "GET", "/validate").header("X-Forwarded-Method", "GET");
    let unnamed = unnamed.header("X-Forwarded-Uri", "/public/a").bearer(&public);
    unnamed
        .send_and_close(server.address)
        .assert_denied("the host of the original request is not known, and routes depend on it");
}

#[test]
fn p46_a_one_time_token_without_the_scope_is_denied_and_not_redeemed() {
    let Fixture { server, client, .. } = fixture();
    let one_time = server.token(&client, "orders:read", &[("one_time", "true")]);
    for (method, target) in [
        ("POST", "/orders/1"),
        ("GET", "/public/a"),
        ("GET", "/public/../orders/1"),
    ] {
        assert_eq!(
            server.validate(method, target, &one_time).status,
            403,
            "{method} {target}"
        );
    }
    server
        .validate("GET", "/elsewhere", &one_time)
        .assert_validate_error(401, "invalid_token", INVALID);
}

#[test]
fn a_body_is_ignored_but_bounded() {
    let Fixture { server, token, .. } = fixture();
    let ask = |request: Request| request.bearer(&token).send_and_close(server.address);
    let auth_request = |method: &str| {
        let request = Request::to_host(HOST, method, "/validate").header("X-Original-Method", "GET");
        request.header("X-Original-URI", "/orders/1")
    };
    assert_passes(&ask(auth_request("POST").body("", "method=DELETE")));
    assert_passes(&ask(auth_request("POST").chunked(b"method=DELETE")));
    let large = vec![b'x'; MAX_FORM + 1];
    assert_eq!(ask(auth_request("POST").body("", &large)).status, 413);
    let mut chunked = auth_request("POST").bearer(&token);
    chunked = chunked.chunked(&large);
    assert_eq!(chunked.send_and_close(server.address).status, 413);
}

#[test]
fn a_request_in_the_body_of_a_denied_request_is_not_answered() {
    let Fixture { server, token, .. } = fixture();
    let hidden = forwarded("GET", "/orders/1").bearer(&token).bytes();
    for auth_request in [original("GET", "/orders/1"), original("GET", "/nowhere").bearer(&token)] {
        let responses = exchange(server.address, &auth_request.body("", &hidden).bytes());
        assert!(
            !responses.is_empty() && responses.iter().all(|one| one.status != 200),
            "{responses:?}"
        );
    }
    let auth_request = original("GET", "/nowhere")
        .bearer(&token)
        .header("Transfer-Encoding", "chunked");
    let responses = exchange(server.address, &auth_request.body("", &hidden).bytes());
    assert!(responses.iter().all(|one| one.status != 200), "{responses:?}");
}

#[test]
fn a_client_id_that_a_header_cannot_carry_is_denied() {
    let Fixture { server, .. } = fixture();
    let spaced = server.client_with_id(" demo", "orders:read", &[]);
    let token = server.token(&spaced, "orders:read", &[]);
    let why = "the client id begins or ends with a space, which a header cannot carry";
    server.validate("GET", "/orders/1", &token).assert_denied(why);
}
