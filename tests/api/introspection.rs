//! `POST /introspect` (P31 to P35): what a token says to whom, and that nobody learns more.

use std::time::Duration;

use mintage::clock::Clock;
use mintage::db::clients;
use serde_json::{Value, json};
use testkit::app::{ISSUER, ORDERS, Setup};
use testkit::http::{Request, Response};
use testkit::poll::until;
use testkit::token::{claims, jti};
use testkit::{TestApp, TestClient, eventually};

/// Asks about a token.
pub fn ask_about(app: &TestApp, client: &TestClient, token: &str) -> Response {
    app.send(Request::post("/introspect").basic(client).form(&[("token", token)]))
}

/// Whether a token is active, as the client it belongs to is told.
#[track_caller]
pub fn is_active(app: &TestApp, client: &TestClient, token: &str) -> bool {
    let answer = ask_about(app, client, token);
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
fn p34_an_active_token_says_exactly_this() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[("scope", "orders:read")]);
    let answer = ask_about(&app, &client, &token);
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
fn p34_a_token_is_active_at_once_and_before_it_is_recorded() {
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
        ask_about(&app, &client, &token).json()["aud"],
        json!([ORDERS, "urn:example:two"])
    );
}

#[test]
fn p31_only_post_of_a_form_is_taken() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let get = app.send(Request::get("/introspect").basic(&client));
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    let json = app.send(Request::post("/introspect").basic(&client).json(&json!({"token": "x"})));
    json.assert_oauth_error(
        415,
        "invalid_request",
        "the media type of the body is not accepted here",
    );
}

#[test]
fn p31_the_caller_is_judged_before_the_token() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    let stranger = client.with_secret("wrong");
    for form in [
        vec![("token", token.as_str())],
        vec![("token", "x")],
        vec![("foo", "x")],
    ] {
        app.send(Request::post("/introspect").basic(&stranger).form(&form))
            .assert_invalid_client();
        app.send(Request::post("/introspect").form(&form))
            .assert_invalid_client();
    }
}

#[test]
fn p31_a_missing_or_repeated_token_is_refused() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let ask = |form: &str| app.send(Request::post("/introspect").basic(&client).form_raw(form));
    ask("token_type_hint=access_token").assert_oauth_error(400, "invalid_request", "token is missing");
    ask("token=").assert_oauth_error(400, "invalid_request", "token is missing");
    for form in [
        "token=a&token=b",
        "token=&token=b",
        "token=a&token_type_hint=x&token_type_hint=y",
    ] {
        ask(form).assert_oauth_error(400, "invalid_request", "a parameter is repeated");
    }
}

#[test]
fn p32_every_client_asks_about_every_token() {
    let app = TestApp::start();
    let owner = app.client(|_| {});
    let neighbour = app.client(|_| {});
    let orders = app.client(|client| client.introspection_audiences = vec![ORDERS.into()]);
    let auditor = app.client_with_scope("orders:read mintage:introspect");
    let admin = app.client_with_scope("mintage:admin");
    let for_issuer = app.issue(&owner, &[]);
    let for_orders = app.issue(&owner, &[("resource", ORDERS)]);
    let for_both = app.issue(&owner, &[("resource", "urn:example:two"), ("resource", ORDERS)]);
    let told = |client: &TestClient| [&for_issuer, &for_orders, &for_both].map(|token| is_active(&app, client, token));
    assert_eq!(told(&owner), [true, true, true]);
    assert_eq!(told(&neighbour), [false, false, false]);
    assert_eq!(told(&orders), [false, true, true]);
    assert_eq!(told(&auditor), [true, true, true]);
    assert_eq!(told(&admin), [false, false, false]);
}

#[test]
fn p33_what_is_no_token_of_ours_is_inactive_and_says_no_more() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    let (head, signature) = token.rsplit_once('.').unwrap();
    let twisted = format!("{head}.A{}", &signature[1..]);
    let long = "a".repeat(9000);
    for text in [
        "x",
        "a.b.c",
        "a.b.c.d.e",
        " ",
        &twisted,
        &format!("{token} "),
        &token[..token.len() - 1],
        &long,
    ] {
        assert!(!is_active(&app, &client, text), "{}", &text[..text.len().min(40)]);
    }
}

#[test]
fn p33_a_token_of_another_instance_is_inactive() {
    let (here, elsewhere) = (TestApp::shared(), Setup::on_empty_database().start());
    let (client, stranger) = (here.client_with_scope("mintage:introspect"), elsewhere.client(|_| {}));
    let token = elsewhere.issue(&stranger, &[]);
    assert!(!is_active(&here, &client, &token));
}

#[test]
fn p33_a_token_ends_in_the_second_that_it_names() {
    let app = Setup::new().with_mock_clock().start();
    let client = app.client(|client| client.ttl_seconds = Some(10));
    let token = app.issue(&client, &[]);
    app.advance(Duration::from_millis(8999));
    assert!(is_active(&app, &client, &token));
    app.advance(Duration::from_millis(1001));
    assert!(!is_active(&app, &client, &token));
}

#[test]
fn p33_the_tokens_of_a_disabled_client_live_again_when_it_is_enabled() {
    let app = TestApp::shared();
    let auditor = app.client_with_scope("mintage:introspect");
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    let set =
        |enabled| app.database(|conn| testkit::sample::set_enabled(conn, &client.id(), enabled, Clock::System.now()));
    set(false);
    assert_soon(&app, &auditor, &token, false);
    set(true);
    assert_soon(&app, &auditor, &token, true);
}

#[test]
fn p33_the_tokens_of_a_deleted_client_die_with_it_also_when_its_id_is_given_away() {
    let app = TestApp::shared();
    let auditor = app.client_with_scope("mintage:introspect");
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    app.database(|conn| clients::delete(conn, &client.id(), Clock::System.now()));
    assert_soon(&app, &auditor, &token, false);
    let heir = app.client(|heir| heir.id = client.id());
    let fresh = eventually("the heir gets a token", Duration::from_secs(1), || {
        let answer = app.ask(&heir, &[]);
        (answer.status == 200).then(|| answer.access_token())
    });
    assert_soon(&app, &auditor, &fresh, true);
    assert!(!is_active(&app, &auditor, &token));
}

/// Waits until as many connections in a row as reach every worker say so, for at most a second.
#[track_caller]
pub fn assert_soon(app: &TestApp, client: &TestClient, token: &str, active: bool) {
    let everywhere = || (0..4).all(|_| is_active(app, client, token) == active);
    until(
        &format!("active={active} everywhere"),
        Duration::from_secs(1),
        everywhere,
    );
}

#[test]
fn p34_a_token_of_one_instance_is_active_on_another_at_once() {
    let here = TestApp::start();
    let url = format!("sqlite:{}", here.database_path().display());
    let there = Setup::new().configured(|config| config.database.url = url).start();
    let client = here.client(|_| {});
    let token = here.issue(&client, &[]);
    assert!(is_active(&there, &client, &token));
    let revoked = here.send(Request::post("/revoke").basic(&client).form(&[("token", &token)]));
    assert_eq!(revoked.status, 200);
    assert!(!is_active(&here, &client, &token));
    assert_soon(&there, &client, &token, false);
}

#[test]
fn p35_a_one_time_token_is_not_used_up_by_asking() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[("one_time", "true")]);
    for _ in 0..5 {
        assert!(is_active(&app, &client, &token));
    }
    let redeemed = app.database(|conn| {
        let spent = mintage::oauth::activity::InvalidatedToken {
            jti: mintage::oauth::token_id::TokenId::parse(&jti(&token)).unwrap(),
            expires_at: claims(&token)["exp"].as_i64().unwrap(),
        };
        mintage::db::revocations::redeem(conn, spent, Clock::System.now())
    });
    assert!(redeemed);
    assert_soon(&app, &client, &token, false);
}

#[test]
fn asking_reads_no_database() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    let asked = |app: &TestApp| (0..4).all(|_| is_active(app, &client, &token));
    assert!(asked(&app));
    // Without its tables, whoever asked the database would be told.
    app.sql(
        "DROP TABLE revocations; DROP TABLE redemptions; DROP TABLE not_before; ALTER TABLE clients RENAME TO gone",
    );
    assert!(asked(&app));
}

#[test]
fn g2_after_five_seconds_without_the_database_nobody_guesses() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    assert!((0..4).all(|_| is_active(&app, &client, &token)));
    app.sql("ALTER TABLE changes RENAME TO gone");
    let refused = eventually("it answers nothing any more", Duration::from_secs(8), || {
        let answer = ask_about(&app, &client, &token);
        (answer.status == 503).then_some(answer)
    });
    refused.assert_oauth_error(
        503,
        "temporarily_unavailable",
        "the server cannot answer now, try again later",
    );
    app.sql("ALTER TABLE gone RENAME TO changes");
    until("it answers again", Duration::from_secs(2), || {
        ask_about(&app, &client, &token).status == 200
    });
}

#[test]
fn p47_the_metadata_names_both_endpoints_and_their_methods() {
    let app = TestApp::shared();
    let metadata: Value = app.send(Request::get("/.well-known/oauth-authorization-server")).json();
    assert_eq!(metadata["introspection_endpoint"], format!("{ISSUER}/introspect"));
    assert_eq!(metadata["revocation_endpoint"], format!("{ISSUER}/revoke"));
    for endpoint in ["introspection", "revocation"] {
        let methods = &metadata[format!("{endpoint}_endpoint_auth_methods_supported")];
        assert_eq!(*methods, json!(["client_secret_basic", "client_secret_post"]));
    }
}
