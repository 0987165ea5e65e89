//! `POST /introspect` (P31 to P35): which clients learn what about a token.

use std::time::Duration;

use mintage::clock::Clock;
use mintage::db::clients;
use serde_json::{Value, json};
use testkit::app::{ADMIN, ISSUER, ORDERS, Setup};
use testkit::http::{Request, Response};
use testkit::token::{about_token, claims, jti};
use testkit::{TestApp, TestClient, eventually};

/// Introspects a token.
pub fn introspect(app: &TestApp, client: &TestClient, token: &str) -> Response {
    app.send(about_token("/introspect", client, token))
}

/// Whether a token is active, according to the introspection response to `client`.
#[track_caller]
pub fn is_active(app: &TestApp, client: &TestClient, token: &str) -> bool {
    let answer = introspect(app, client, token);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.assert_common_headers();
    let active = answer.json()["active"].as_bool().unwrap();
    if !active {
        assert_eq!(answer.text(), r#"{"active":false}"#);
    }
    active
}

#[test]
fn p34_the_response_for_an_active_token_has_exactly_these_members() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[("scope", "orders:read")]);
    let answer = introspect(&app, &client, &token);
    let claims = claims(&token);
    assert_eq!(answer.status, 200);
    answer.assert_common_headers();
    assert_eq!(
        answer.json(),
        json!({
            "active": true, "scope": "orders:read", "client_id": client.id, "token_type": "Bearer",
            "exp": claims["exp"], "iat": claims["iat"], "sub": client.id, "aud": ISSUER, "iss": ISSUER, "jti": claims["jti"],
        })
    );
}

#[test]
fn p34_a_token_is_active_before_it_is_recorded() {
    let setup = Setup::new().configured(|config| config.writer.flush_interval = mintage::config::Duration::seconds(60));
    let app = setup.start();
    let client = app.client(|_| {});
    for alg in ["ES256", "EdDSA", "RS256", "PS256", "HS256"] {
        let client = app.client(|client| client.alg = Some(alg.parse().unwrap()));
        let token = app.issue(&client, &[]);
        assert!(is_active(&app, &client, &token), "{alg}");
    }
    assert!(app.recorded(&client).is_empty());
}

#[test]
fn p34_several_audiences_are_an_array() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[("resource", ORDERS), ("resource", "urn:example:two")]);
    assert_eq!(
        introspect(&app, &client, &token).json()["aud"],
        json!([ORDERS, "urn:example:two"])
    );
}

#[test]
fn p31_only_a_form_sent_by_post_is_accepted() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let get = app.send(Request::get("/introspect").basic(&client));
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    let json = app.send(Request::post("/introspect").basic(&client).json(&json!({"token": "x"})));
    json.assert_unsupported_media_type("application/x-www-form-urlencoded");
}

#[test]
fn p31_the_caller_is_authenticated_before_the_token_is_examined() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    let unauthenticated = client.with_secret("wrong");
    for form in [
        vec![("token", token.as_str())],
        vec![("token", "x")],
        vec![("foo", "x")],
    ] {
        app.send(Request::post("/introspect").basic(&unauthenticated).form(&form))
            .assert_invalid_client();
        app.send(Request::post("/introspect").form(&form))
            .assert_invalid_client();
    }
}

#[test]
fn p31_a_missing_or_repeated_token_is_rejected() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let send = |form: &str| app.send(Request::post("/introspect").basic(&client).form_raw(form));
    send("token_type_hint=access_token").assert_oauth_error(400, "invalid_request", "token is missing");
    send("token=").assert_oauth_error(400, "invalid_request", "token is missing");
    for form in [
        "token=a&token=b",
        "token=&token=b",
        "token=a&token_type_hint=x&token_type_hint=y",
    ] {
        send(form).assert_oauth_error(400, "invalid_request", "a parameter is repeated");
    }
}

#[test]
fn p32_a_token_is_active_only_for_clients_that_may_introspect_it() {
    let app = TestApp::start();
    let owner = app.client(|_| {});
    let unrelated = app.client(|_| {});
    let orders = app.client(|client| client.introspection_audiences = vec![ORDERS.into()]);
    let auditor = app.client_with_scope("orders:read mintage:introspect");
    let admin = app.client_with_scope("mintage:admin");
    let for_issuer = app.issue(&owner, &[]);
    let for_orders = app.issue(&owner, &[("resource", ORDERS)]);
    let for_both = app.issue(&owner, &[("resource", "urn:example:two"), ("resource", ORDERS)]);
    let active =
        |client: &TestClient| [&for_issuer, &for_orders, &for_both].map(|token| is_active(&app, client, token));
    assert_eq!(active(&owner), [true, true, true]);
    assert_eq!(active(&unrelated), [false, false, false]);
    assert_eq!(active(&orders), [false, true, true]);
    assert_eq!(active(&auditor), [true, true, true]);
    assert_eq!(active(&admin), [false, false, false]);
}

/// An operator that may create clients could otherwise read the tokens of operators with more duties.
#[test]
fn p32_the_audience_of_admin_is_no_introspection_audience() {
    let app = TestApp::start();
    let operator = app.client_with_scope("mintage:admin");
    let token = app.issue(&operator, &[("scope", "mintage:admin")]);
    let reader = app.client(|client| client.introspection_audiences = vec![ADMIN.into(), ISSUER.into()]);
    let auditor = app.client_with_scope("mintage:introspect");
    assert!(!is_active(&app, &reader, &token));
    assert!(is_active(&app, &reader, &app.issue(&app.client(|_| {}), &[])));
    assert!(is_active(&app, &auditor, &token));
    assert!(is_active(&app, &operator, &token));
}

#[test]
fn p33_a_malformed_or_forged_token_is_inactive_without_further_members() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    let (head, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.A{}", &signature[1..]);
    let long = "a".repeat(9000);
    for text in [
        "x",
        "a.b.c",
        "a.b.c.d.e",
        " ",
        &forged,
        &format!("{token} "),
        &token[..token.len() - 1],
        &long,
    ] {
        assert!(!is_active(&app, &client, text), "{}", &text[..text.len().min(40)]);
    }
}

#[test]
fn p33_a_token_of_another_deployment_is_inactive() {
    let (here, elsewhere) = (TestApp::shared(), Setup::on_empty_database().start());
    let (client, other) = (here.client_with_scope("mintage:introspect"), elsewhere.client(|_| {}));
    let token = elsewhere.issue(&other, &[]);
    assert!(!is_active(&here, &client, &token));
}

#[test]
fn p33_a_token_expires_in_the_second_of_its_exp_claim() {
    let app = Setup::new().with_mock_clock().start();
    let client = app.client(|client| client.ttl_seconds = Some(10));
    let token = app.issue(&client, &[]);
    app.advance(Duration::from_millis(8999));
    assert!(is_active(&app, &client, &token));
    app.advance(Duration::from_millis(1001));
    assert!(!is_active(&app, &client, &token));
}

#[test]
fn p33_the_tokens_of_a_disabled_client_are_inactive_until_it_is_enabled() {
    let app = TestApp::shared();
    let auditor = app.client_with_scope("mintage:introspect");
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    let set =
        |enabled| app.database(|conn| testkit::sample::set_enabled(conn, &client.id(), enabled, Clock::System.now()));
    set(false);
    assert_active_on_every_worker(&app, &auditor, &token, false);
    set(true);
    assert_active_on_every_worker(&app, &auditor, &token, true);
}

#[test]
fn p33_the_tokens_of_a_deleted_client_stay_inactive_if_its_id_is_reused() {
    let app = TestApp::shared();
    let auditor = app.client_with_scope("mintage:introspect");
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    app.database(|conn| clients::delete(conn, &client.id(), Clock::System.now()));
    assert_active_on_every_worker(&app, &auditor, &token, false);
    let new_client = app.client(|new_client| new_client.id = client.id());
    app.wait_for_change_feed();
    let fresh = app.issue(&new_client, &[]);
    assert_active_on_every_worker(&app, &auditor, &fresh, true);
    assert!(!is_active(&app, &auditor, &token));
}

/// Once the changes by others are applied, every worker reports the token as active or inactive.
/// Connections are distributed round-robin, so four in a row reach every worker.
#[track_caller]
pub fn assert_active_on_every_worker(app: &TestApp, client: &TestClient, token: &str, active: bool) {
    app.wait_for_change_feed();
    let answers = [(); 4].map(|()| is_active(app, client, token));
    assert_eq!(answers, [active; 4]);
}

#[test]
fn p34_a_token_of_one_instance_is_active_on_another_immediately() {
    let here = TestApp::start();
    let there = Setup::on_database_of(&here).start();
    let client = here.client(|_| {});
    let token = here.issue(&client, &[]);
    assert!(is_active(&there, &client, &token));
    let revoked = here.send(about_token("/revoke", &client, &token));
    assert_eq!(revoked.status, 200);
    assert!(!is_active(&here, &client, &token));
    assert_active_on_every_worker(&there, &client, &token, false);
}

#[test]
fn p35_introspection_does_not_redeem_a_one_time_token() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[("one_time", "true")]);
    for _ in 0..5 {
        assert!(is_active(&app, &client, &token));
    }
    let redeemed = app.database(|conn| {
        let invalidated = mintage::oauth::activity::InvalidatedToken {
            jti: mintage::oauth::token_id::TokenId::parse(&jti(&token)).unwrap(),
            expires_at: claims(&token)["exp"].as_i64().unwrap(),
        };
        mintage::db::revocations::redeem(conn, invalidated, Clock::System.now())
    });
    assert!(redeemed);
    assert_active_on_every_worker(&app, &client, &token, false);
}

#[test]
fn introspection_does_not_query_the_database() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    app.wait_for_change_feed();
    let token = app.issue(&client, &[]);
    let active = |app: &TestApp| (0..4).all(|_| is_active(app, &client, &token));
    assert!(active(&app));
    // Without its tables, any query of the database would fail.
    app.sql(
        "DROP TABLE revocations; DROP TABLE redemptions; DROP TABLE not_before; ALTER TABLE clients RENAME TO gone",
    );
    assert!(active(&app));
}

#[test]
fn g2_introspection_is_503_after_five_seconds_without_the_database() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    assert!((0..4).all(|_| is_active(&app, &client, &token)));
    app.sql("ALTER TABLE changes RENAME TO gone");
    let unavailable = eventually("introspection is unavailable", Duration::from_secs(8), || {
        let answer = introspect(&app, &client, &token);
        (answer.status == 503).then_some(answer)
    });
    unavailable.assert_temporarily_unavailable();
    app.sql("ALTER TABLE gone RENAME TO changes");
    app.wait_for_change_feed();
    assert_eq!(introspect(&app, &client, &token).status, 200);
}

#[test]
fn p47_the_metadata_lists_both_endpoints_and_their_auth_methods() {
    let app = TestApp::shared();
    let metadata: Value = app.send(Request::get("/.well-known/oauth-authorization-server")).json();
    assert_eq!(metadata["introspection_endpoint"], format!("{ISSUER}/introspect"));
    assert_eq!(metadata["revocation_endpoint"], format!("{ISSUER}/revoke"));
    for (endpoint, methods) in [
        // RFC 8414 §2 allows the types of access tokens here.
        (
            "introspection",
            json!(["client_secret_basic", "client_secret_post", "Bearer"]),
        ),
        ("revocation", json!(["client_secret_basic", "client_secret_post"])),
    ] {
        assert_eq!(metadata[format!("{endpoint}_endpoint_auth_methods_supported")], methods);
    }
}
