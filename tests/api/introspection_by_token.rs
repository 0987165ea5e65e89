//! `POST /introspect` by a client that authenticates with an access token (P31).

use std::process::Command;

use mintage::oauth::client::Client;
use mintage::oauth::scope::Scope;
use serde_json::{Value, json};
use testkit::app::{ISSUER, Setup};
use testkit::http::{Request, Response};
use testkit::scrape::Scrape;
use testkit::token::{about_token, claims};
use testkit::{TestApp, TestClient};

use crate::introspection::introspect;

const INTROSPECT: &str = "mintage:introspect";
const TWO_METHODS: &str = "there is more than one way of authentication";
const TWO_IDS: &str = "client_id is not the one of the Authorization header";

/// A client that may introspect every token, with a token for that.
struct Reader {
    client: TestClient,
    token: String,
}

impl Reader {
    fn of(app: &TestApp) -> Self {
        Self::shaped(app, |_| {})
    }

    fn shaped(app: &TestApp, shape: impl FnOnce(&mut Client)) -> Self {
        let client = app.client(|client| {
            client.scope = Scope::parse("orders:read mintage:introspect").unwrap();
            client.default_scope = Scope::parse("orders:read").unwrap();
            shape(client);
        });
        let token = app.issue(&client, &[("scope", INTROSPECT)]);
        Self { client, token }
    }

    /// Applies a change to the client.
    fn change(&self, app: &TestApp, change: Value) {
        let admin = app.issue_with_scope("mintage:admin");
        let request = Request::new("PATCH", &format!("/admin/clients/{}", self.client.id));
        let response = request.bearer(&admin).json(&change).send(app.admin_address);
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

/// Asks about a token with another token.
fn ask(app: &TestApp, bearer: &str, token: &str) -> Response {
    app.send(Request::post("/introspect").bearer(bearer).form(&[("token", token)]))
}

#[track_caller]
fn assert_bearer_error(response: &Response, status: u16, error: &str, challenge: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    let challenge = format!("Bearer realm=\"mintage\", error=\"{error}\"{challenge}");
    assert_eq!(response.header("www-authenticate"), Some(&*challenge));
    assert_eq!(response.json()["error"], error);
    response.assert_common_headers();
}

#[track_caller]
fn assert_invalid_token(response: &Response) {
    assert_bearer_error(response, 401, "invalid_token", "");
}

#[track_caller]
fn assert_insufficient_scope(response: &Response) {
    assert_bearer_error(response, 403, "insufficient_scope", ", scope=\"mintage:introspect\"");
}

#[test]
fn p31_a_token_with_the_scope_to_introspect_authenticates_its_client() {
    let app = TestApp::shared();
    let reader = Reader::of(&app);
    let token = app.issue(&app.client(|_| {}), &[]);
    let response = ask(&app, &reader.token, &token);
    assert_eq!(response.json(), introspect(&app, &reader.client, &token).json());
    assert_eq!(response.json()["active"], true);
    response.assert_common_headers();
    assert_eq!(ask(&app, &reader.token, &reader.token).json()["scope"], INTROSPECT);
    assert_eq!(ask(&app, &reader.token, "x").text(), r#"{"active":false}"#);
    let lower = Request::post("/introspect").header("Authorization", &format!("bearer {}", reader.token));
    assert_eq!(app.send(lower.form(&[("token", &token)])).json()["active"], true);
    let nothing = Request::post("/introspect").bearer(&reader.token).form_raw("token=");
    app.send(nothing)
        .assert_oauth_error(400, "invalid_request", "token is missing");
}

#[test]
fn p31_curl_introspects_with_a_bearer_token() {
    let app = TestApp::shared();
    let reader = Reader::of(&app);
    let token = app.issue(&app.client(|_| {}), &[]);
    let output = Command::new("curl")
        .args(["-s", "--oauth2-bearer", &reader.token, "-d"])
        .args([format!("token={token}"), format!("http://{}/introspect", app.address)])
        .output()
        .expect("this test needs curl");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["active"], &document["iss"]), (&json!(true), &json!(ISSUER)));
}

#[test]
fn p31_a_token_that_is_not_active_or_for_another_audience_is_401() {
    let app = TestApp::start();
    let reader = Reader::of(&app);
    let owned = app.issue(&reader.client, &[]);
    let one_time = app.issue(&reader.client, &[("scope", INTROSPECT), ("one_time", "true")]);
    let revoked = app.issue(&reader.client, &[("scope", INTROSPECT)]);
    assert_eq!(app.send(about_token("/revoke", &reader.client, &revoked)).status, 200);
    let mut forged = app.claims(&owned);
    forged.scope = Scope::parse(INTROSPECT).unwrap();
    let for_others = app.sign(&forged);
    for token in [
        "x",
        "a.b.c",
        &owned,
        &one_time,
        &revoked,
        &for_others,
        &reader.token[1..],
    ] {
        assert_invalid_token(&ask(&app, token, &reader.token));
    }
    assert_eq!(
        ask(&app, &reader.token, &one_time).json()["active"],
        true,
        "it was not redeemed"
    );
}

#[test]
fn p31_a_token_or_a_client_without_the_scope_to_introspect_is_403() {
    let app = TestApp::start();
    let reader = Reader::of(&app);
    let others = app.issue_with_scope("mintage:admin");
    assert_insufficient_scope(&ask(&app, &others, &reader.token));
    assert_insufficient_scope(&ask(&app, &app.issue_with_scope("mintage:read"), &reader.token));
    reader.change(&app, json!({"scope": "orders:read mintage:tokens"}));
    assert_insufficient_scope(&ask(&app, &reader.token, &others));
    // What counts is the scope of the client now.
    reader.change(&app, json!({"scope": "mintage:introspect"}));
    assert_eq!(ask(&app, &reader.token, &others).json()["active"], true);
}

#[test]
fn p31_a_token_ends_with_its_secret_and_while_its_client_is_disabled() {
    let app = TestApp::start();
    let reader = Reader::of(&app);
    reader.change(&app, json!({"enabled": false}));
    assert_invalid_token(&ask(&app, &reader.token, &reader.token));
    reader.change(&app, json!({"enabled": true}));
    assert_eq!(ask(&app, &reader.token, &reader.token).status, 200);
    let admin = app.issue_with_scope("mintage:admin");
    let secrets = format!("/admin/clients/{}/secrets", reader.client.id);
    let of_admin = |request: Request| request.bearer(&admin).send(app.admin_address);
    let listed = of_admin(Request::get(&secrets)).json();
    let secret = listed["items"][0]["secret_id"].as_str().unwrap();
    let revoked = of_admin(Request::new("DELETE", &format!("{secrets}/{secret}")));
    assert!((200..300).contains(&revoked.status), "{}", revoked.text());
    assert_invalid_token(&ask(&app, &reader.token, &reader.token));
}

#[test]
fn p14_a_bearer_token_and_client_credentials_in_one_request_are_400() {
    let app = TestApp::shared();
    let reader = Reader::of(&app);
    let TestClient { id, secret } = &reader.client;
    let send = |extra: &[(&str, &str)]| {
        let form = [&[("token", reader.token.as_str())], extra].concat();
        app.send(Request::post("/introspect").bearer(&reader.token).form(&form))
    };
    for extra in [
        &[("client_secret", secret.as_str())][..],
        &[("client_id", id), ("client_secret", secret)],
        &[("client_assertion", "a.b.c")],
    ] {
        send(extra).assert_oauth_error(400, "invalid_request", TWO_METHODS);
    }
    send(&[("client_id", "other")]).assert_oauth_error(400, "invalid_request", TWO_IDS);
    assert_eq!(send(&[("client_id", id)]).status, 200);
    let both = Request::post("/introspect").bearer(&reader.token).basic(&reader.client);
    app.send(both.form(&[("token", "x")]))
        .assert_oauth_error(400, "invalid_request", TWO_METHODS);
}

#[test]
fn p31_a_malformed_header_is_400_and_another_scheme_is_401() {
    let app = TestApp::shared();
    for header in ["Bearer", "Bearer a b", "Bearer \"a\""] {
        let request = Request::post("/introspect").header("Authorization", header);
        assert_bearer_error(&app.send(request.form_raw("token=x")), 400, "invalid_request", "");
    }
    for header in ["Digest username=\"a\"", ""] {
        let request = Request::post("/introspect").header("Authorization", header);
        app.send(request.form_raw("token=x")).assert_invalid_client();
    }
}

#[test]
fn p15_a_bearer_token_is_no_client_authentication_elsewhere() {
    let app = TestApp::shared();
    let reader = Reader::of(&app);
    for (path, form) in [("/token", "grant_type=client_credentials"), ("/revoke", "token=x")] {
        let request = Request::post(path).bearer(&reader.token).form_raw(form);
        app.send(request).assert_invalid_client();
    }
}

/// As at the admin API: a token cannot be guessed, and others may share the address.
#[test]
fn p17_inactive_tokens_are_counted_and_not_limited() {
    let app = Setup::new()
        .configured(|config| config.limits.auth_failures_per_minute = 1)
        .start();
    let reader = Reader::of(&app);
    for _ in 0..20 {
        assert_invalid_token(&ask(&app, "x", &reader.token));
    }
    assert_eq!(ask(&app, &reader.token, &reader.token).status, 200);
    let scrape = Scrape::of(app.address);
    scrape.assert_value("mintage_denials_total{reason=\"invalid_token\"}", 20.0);
}

#[test]
fn p32_a_client_may_introspect_the_same_by_token_as_by_secret() {
    let app = TestApp::start();
    let reader = Reader::of(&app);
    let operator = app.issue_with_scope("mintage:admin");
    for token in [&operator, &reader.token, &app.issue(&app.client(|_| {}), &[])] {
        let response = ask(&app, &reader.token, token);
        assert_eq!(response.json(), introspect(&app, &reader.client, token).json());
        assert_eq!(response.json()["jti"], claims(token)["jti"]);
    }
}
