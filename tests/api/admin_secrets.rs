//! `/admin/clients/{client_id}/secrets`: secrets are rotated, and each is shown only once.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::app::Setup;
use testkit::http::{Request, Response};
use testkit::{TestApp, TestClient};

use crate::operator::{Operator, assert_bad_request, assert_no_content, assert_not_found, path_of, three_workers};

/// Enough connections to reach each of three workers almost certainly.
const CONNECTIONS: usize = 12;

fn secrets_path(client: &TestClient) -> String {
    format!("{}/secrets", path_of(client))
}

/// Adds a secret. Returns the client with the new secret, and the id of the secret.
#[track_caller]
fn add(operator: &Operator, client: &TestClient, document: &Value) -> (TestClient, String) {
    let answer = operator.post(&secrets_path(client), document);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.assert_common_headers();
    let created = answer.json();
    let text = |member: &str| created[member].as_str().unwrap().to_owned();
    (client.with_secret(&text("client_secret")), text("secret_id"))
}

fn list(operator: &Operator, client: &TestClient) -> Vec<Value> {
    let page = operator.document(&secrets_path(client));
    assert_eq!(page["next_cursor"], Value::Null);
    page["items"].as_array().unwrap().clone()
}

#[test]
fn p16_secrets_are_rotated_with_an_overlap() {
    let app = Setup::new().with_mock_clock().start();
    let operator = Operator::of(&app);
    let (old, _) = operator.create(json!({}));
    let (new, _) = add(&operator, &old, &json!({"others_expire_in_seconds": 600}));
    for client in [&old, &new] {
        app.issue(client, &[]);
    }
    app.advance(Duration::from_secs(599));
    app.issue(&old, &[]);
    app.advance(Duration::from_secs(1));
    app.ask(&old, &[]).assert_invalid_client();
    app.issue(&new, &[]);
}

#[test]
fn a_secret_is_listed_with_exactly_these_members() {
    let app = Setup::new().with_mock_clock().start();
    let operator = Operator::of(&app);
    let (client, created) = operator.create(json!({}));
    app.advance(Duration::from_secs(1));
    let answer = operator.post(&secrets_path(&client), &json!({"expires_in_seconds": 60}));
    let secret = answer.json();
    let expires_at = secret["expires_at"].as_str().unwrap();
    assert!(
        expires_at.ends_with('Z') && secret.as_object().unwrap().len() == 3,
        "{secret}"
    );
    assert!(secret["client_secret"].as_str().unwrap().starts_with("mtgcs"));
    let listed = list(&operator, &client);
    let (first, second) = (&created["created_at"], &listed[1]["created_at"]);
    assert_ne!(first, second);
    assert_eq!(
        json!(listed),
        json!([
            {"secret_id": created["secret_id"], "created_at": first, "expires_at": null, "last_used_at": null},
            {"secret_id": secret["secret_id"], "created_at": second, "expires_at": expires_at, "last_used_at": null},
        ])
    );
}

#[test]
fn the_body_may_be_omitted() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let path = secrets_path(&client);
    for request in [
        Request::post(&path),
        Request::post(&path).body("application/json", "{}"),
        Request::post(&path).body("application/json", ""),
        Request::post(&path).body("", ""),
    ] {
        let answer = operator.send(request);
        assert_eq!((answer.status, &answer.json()["expires_at"]), (201, &Value::Null));
    }
    let form = operator.send(Request::post(&path).form_raw("expires_in_seconds=1"));
    let media = "the media type must be application/json";
    form.assert_problem(415, "Unsupported Media Type", media, None);
}

#[test]
fn a_revoked_secret_is_denied_immediately_on_every_worker() {
    let app = three_workers();
    let operator = Operator::of(&app);
    let (old, created) = operator.create(json!({}));
    let (new, _) = add(&operator, &old, &json!({}));
    for _ in 0..CONNECTIONS {
        app.issue(&old, &[]);
        app.issue(&new, &[]);
    }
    let path = format!("{}/{}", secrets_path(&old), created["secret_id"].as_str().unwrap());
    assert_no_content(&operator.delete(&path));
    for _ in 0..CONNECTIONS {
        app.ask(&old, &[]).assert_invalid_client();
        app.issue(&new, &[]);
    }
    assert_not_found(&operator.delete(&path), "secret not found");
}

#[test]
fn a_secret_of_another_client_is_not_found() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (one, created) = operator.create(json!({}));
    let (other, _) = operator.create(json!({}));
    let path = format!("{}/{}", secrets_path(&other), created["secret_id"].as_str().unwrap());
    assert_not_found(&operator.delete(&path), "secret not found");
    app.issue(&one, &[]);
}

#[test]
fn the_eleventh_secret_is_409() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    for _ in 0..9 {
        add(&operator, &client, &json!({}));
    }
    let detail = "at most 10 secrets per client";
    let full = operator.post(&secrets_path(&client), &json!({}));
    full.assert_problem(409, "Conflict", detail, None);
    assert_eq!(list(&operator, &client).len(), 10);
}

#[test]
fn lifetimes_out_of_range_are_400() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let post = |document: Value| operator.post(&secrets_path(&client), &document);
    for seconds in [0, -1, 316_224_001, i64::MAX, i64::MIN] {
        let expires = post(json!({"expires_in_seconds": seconds}));
        assert_bad_request(&expires, "expires_in_seconds must be from 1 to 316224000");
    }
    for seconds in [-1, 316_224_001, i64::MAX] {
        let others = post(json!({"others_expire_in_seconds": seconds}));
        assert_bad_request(&others, "others_expire_in_seconds must be from 0 to 316224000");
    }
    for (document, detail) in [
        (
            json!({"expires_in_seconds": "60"}),
            "expires_in_seconds must be a whole number from 1 to 316224000, or null",
        ),
        (
            json!({"expires_in": 60}),
            "`expires_in` is not a member: it must be one of client_secret, expires_in_seconds, \
             others_expire_in_seconds, secret_sha256",
        ),
        (json!([]), "the body must be a JSON object"),
    ] {
        assert_bad_request(&post(document), detail);
    }
    assert_eq!(list(&operator, &client).len(), 1);
}

/// Ignoring the condition would do what the caller wants to prevent.
#[test]
fn if_match_is_rejected_because_secrets_have_no_version() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let secrets = format!("{}/secrets", path_of(&client));
    for (method, path) in [("POST", &secrets), ("DELETE", &format!("{secrets}/x"))] {
        let answer = operator.send(Request::new(method, path).header("If-Match", "\"0\""));
        assert_bad_request(&answer, "If-Match cannot be used here: secrets have no version");
    }
    assert_eq!(operator.document(&secrets)["items"].as_array().unwrap().len(), 1);
}

#[test]
fn secrets_of_an_unknown_client_are_404() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let no_client = |answer: Response| assert_not_found(&answer, "client not found");
    no_client(operator.get("/admin/clients/nobody/secrets"));
    no_client(operator.post("/admin/clients/nobody/secrets", &json!({})));
    let detail = "secret not found";
    assert_not_found(&operator.delete("/admin/clients/nobody/secrets/x"), detail);
}

#[test]
fn the_last_use_of_a_secret_is_listed() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let (second, second_id) = add(&operator, &client, &json!({}));
    app.issue(&second, &[]);
    let token = operator.token.clone();
    // Written at shutdown; while the server runs, it is written every 15 seconds.
    let app = app.restart();
    let answer = app.send(Request::get(&secrets_path(&client)).bearer(&token));
    for secret in answer.json()["items"].as_array().unwrap() {
        let used = secret["last_used_at"].as_str();
        assert_eq!(used.is_some(), secret["secret_id"] == json!(second_id), "{secret}");
        assert!(used.is_none_or(|time| time >= secret["created_at"].as_str().unwrap()));
    }
}
