//! `POST /revoke` (P36 to P38; RFC 7009) and revocation by operators.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintage::clock::Clock;
use mintage::db::client_status;
use serde_json::json;
use testkit::app::Setup;
use testkit::http::{Request, Response};
use testkit::token::{about_token, jti};
use testkit::{TestApp, TestClient};

use crate::introspection::{assert_active_on_every_worker, is_active};

fn revoke(app: &TestApp, client: &TestClient, token: &str) -> Response {
    app.send(about_token("/revoke", client, token))
}

#[track_caller]
fn assert_revoked(answer: &Response) {
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.assert_common_headers();
}

#[test]
fn p38_a_revoked_token_is_inactive_for_the_next_request_on_every_worker() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    for _ in 0..20 {
        let token = app.issue(&client, &[]);
        assert!(is_active(&app, &client, &token));
        assert_revoked(&revoke(&app, &client, &token));
        assert!((0..4).all(|_| !is_active(&app, &client, &token)));
    }
}

#[test]
fn p36_revoking_an_invalid_or_expired_token_is_200() {
    let app = Setup::new().with_mock_clock().start();
    let client = app.client(|client| client.ttl_seconds = Some(5));
    let token = app.issue(&client, &[]);
    for text in ["x", "a.b.c", &token[1..], &token, &token] {
        assert_revoked(&revoke(&app, &client, text));
    }
    let expired = app.issue(&client, &[]);
    app.advance(Duration::from_secs(6));
    assert_revoked(&revoke(&app, &client, &expired));
}

#[test]
fn p36_a_missing_token_is_400_and_missing_credentials_are_401() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let missing = app.send(Request::post("/revoke").basic(&client).form(&[("token", "")]));
    missing.assert_oauth_error(400, "invalid_request", "token is missing");
    let token = app.issue(&client, &[]);
    app.send(Request::post("/revoke").form(&[("token", &token)]))
        .assert_invalid_client();
    revoke(&app, &client.with_secret("wrong"), &token).assert_invalid_client();
    assert!(is_active(&app, &client, &token));
    let get = app.send(Request::get("/revoke"));
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
}

#[test]
fn p37_a_client_cannot_revoke_the_tokens_of_another() {
    let app = TestApp::start();
    let owners: Vec<TestClient> = ["orders:read", "mintage:admin", "mintage:introspect", "a b"]
        .map(|scope| app.client_with_scope(scope))
        .to_vec();
    for owner in &owners {
        let scope = if owner.id == owners[1].id { "mintage:admin" } else { "" };
        let scope = if owner.id == owners[2].id {
            "mintage:introspect"
        } else {
            scope
        };
        let token = app.issue(owner, &[("scope", scope)]);
        for other in owners.iter().filter(|other| other.id != owner.id) {
            let denied = revoke(&app, other, &token);
            denied.assert_oauth_error(400, "unauthorized_client", "the token was issued to another client");
            assert!(is_active(&app, owner, &token));
        }
    }
}

#[test]
fn p37_a_wrong_token_type_hint_is_ignored() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    for hint in ["refresh_token", "access_token", "nonsense", ""] {
        let token = app.issue(&client, &[]);
        let form = [("token", token.as_str()), ("token_type_hint", hint)];
        assert_revoked(&app.send(Request::post("/revoke").basic(&client).form(&form)));
        assert!(!is_active(&app, &client, &token), "{hint}");
    }
}

#[test]
fn p38_the_token_with_the_other_valid_ecdsa_signature_is_revoked_too() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    let malleated = with_other_signature(&token);
    assert_ne!(malleated, token);
    assert!(
        is_active(&app, &client, &malleated),
        "the other signature is valid, too"
    );
    assert_revoked(&revoke(&app, &client, &token));
    assert!(!is_active(&app, &client, &malleated));
}

/// The same token with the other valid ECDSA signature: (r, n - s).
fn with_other_signature(token: &str) -> String {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i16::from(ORDER[at]) - i16::from(signature[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        signature[32 + at] = difference.rem_euclid(256) as u8;
    }
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn g1_a_revocation_survives_restarts_and_late_records() {
    let setup = Setup::new().configured(|config| config.writer.flush_interval = mintage::config::Duration::seconds(60));
    let app = setup.start();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    assert_revoked(&revoke(&app, &client, &token));
    // The token record is only written now, at shutdown.
    let stopped = app.stop().unwrap();
    assert_eq!(stopped.recorded(&client).len(), 1);
    let restarted = stopped.0.start();
    assert!(!is_active(&restarted, &client, &token));
}

#[test]
fn g7_without_the_database_a_revocation_is_503() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    assert!((0..4).all(|_| is_active(&app, &client, &token)));
    app.sql("ALTER TABLE revocations RENAME TO gone");
    let unavailable = revoke(&app, &client, &token);
    unavailable.assert_temporarily_unavailable();
    assert!(is_active(&app, &client, &token));
    app.sql("ALTER TABLE gone RENAME TO revocations");
    assert_revoked(&revoke(&app, &client, &token));
}

#[test]
fn revoking_all_tokens_of_a_client_leaves_later_ones_active() {
    let app = TestApp::shared();
    let (client, unrelated) = (app.client(|_| {}), app.client(|_| {}));
    let (old, other) = (app.issue(&client, &[]), app.issue(&unrelated, &[]));
    app.database(|conn| client_status::revoke_until(conn, Some(&client.id()), Clock::System.now()));
    assert_active_on_every_worker(&app, &client, &old, false);
    assert!(is_active(&app, &client, &app.issue(&client, &[])));
    assert!(is_active(&app, &unrelated, &other));
}

#[test]
fn an_operator_can_revoke_a_token() {
    let app = TestApp::shared();
    let (admin, client) = (app.issue_with_scope("mintage:admin"), app.client(|_| {}));
    let token = app.issue(&client, &[]);
    let delete = |jti: &str| app.send(Request::new("DELETE", &format!("/admin/tokens/{jti}")).bearer(&admin));
    assert_eq!(delete(&jti(&token)).status, 204);
    assert!((0..4).all(|_| !is_active(&app, &client, &token)));
    assert_eq!(delete(&jti(&token)).status, 204);
    assert_eq!(delete("nonsense").status, 404);
    let reader = app.issue_with_scope("mintage:read");
    let denied = app.send(Request::new("DELETE", &format!("/admin/tokens/{}", jti(&token))).bearer(&reader));
    assert_eq!(denied.status, 403);
}

#[test]
fn an_operator_can_revoke_all_tokens_of_a_client() {
    let app = TestApp::shared();
    let (admin, client) = (app.issue_with_scope("mintage:admin"), app.client(|_| {}));
    let token = app.issue(&client, &[]);
    let post = |id: &str| app.send(Request::post(&format!("/admin/clients/{id}/revoke-tokens")).bearer(&admin));
    assert_eq!(post(&client.id).status, 204);
    assert!((0..4).all(|_| !is_active(&app, &client, &token)));
    assert!(is_active(&app, &client, &app.issue(&client, &[])));
    let missing = post("nobody");
    missing.assert_problem(404, "Not Found", "client not found", None);
}

#[test]
fn a_revoked_admin_token_is_denied() {
    let app = TestApp::shared();
    let client = app.client_with_scope("mintage:admin");
    let token = app.issue(&client, &[("scope", "mintage:admin")]);
    let get = || app.send(Request::get("/admin/cache/stats").bearer(&token)).status;
    assert_eq!(get(), 200);
    assert_revoked(&revoke(&app, &client, &token));
    assert_eq!(get(), 401);
}

#[test]
fn p36_only_a_form_is_accepted() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let answer = app.send(Request::post("/revoke").basic(&client).json(&json!({"token": "x"})));
    answer.assert_unsupported_media_type("application/x-www-form-urlencoded");
}
