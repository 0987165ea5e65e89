//! `/admin/clients/{client_id}/secrets`: one takes over from another, and none is ever shown again.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::app::Setup;
use testkit::http::{Request, Response};
use testkit::{TestApp, TestClient};

use crate::operator::{Operator, assert_bad_request, assert_no_content, assert_not_found, path_of, three_workers};

const TRIES: usize = 12;

fn secrets_path(client: &TestClient) -> String {
    format!("{}/secrets", path_of(client))
}

/// Adds a secret; the client with it, and its id.
#[track_caller]
fn add(operator: &Operator, client: &TestClient, document: &Value) -> (TestClient, String) {
    let answer = operator.post(&secrets_path(client), document);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.assert_common_headers();
    let made = answer.json();
    let text = |member: &str| made[member].as_str().unwrap().to_owned();
    (client.with_secret(&text("client_secret")), text("secret_id"))
}

fn list(operator: &Operator, client: &TestClient) -> Vec<Value> {
    let page = operator.document(&secrets_path(client));
    assert_eq!(page["next_cursor"], Value::Null);
    page["items"].as_array().unwrap().clone()
}

#[test]
fn p16_a_secret_takes_over_with_overlap() {
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
fn a_secret_is_told_with_exactly_these_members() {
    let app = Setup::new().with_mock_clock().start();
    let operator = Operator::of(&app);
    let (client, made) = operator.create(json!({}));
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
    let (first, second) = (&made["created_at"], &listed[1]["created_at"]);
    assert_ne!(first, second);
    assert_eq!(
        json!(listed),
        json!([
            {"secret_id": made["secret_id"], "created_at": first, "expires_at": null, "last_used_at": null},
            {"secret_id": secret["secret_id"], "created_at": second, "expires_at": expires_at, "last_used_at": null},
        ])
    );
}

#[test]
fn the_body_may_be_left_out() {
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
    let media = "the media type of the body is not accepted here";
    form.assert_problem(415, "Unsupported Media Type", media, None);
}

#[test]
fn a_secret_that_is_revoked_counts_for_no_worker_any_more() {
    let app = three_workers();
    let operator = Operator::of(&app);
    let (old, made) = operator.create(json!({}));
    let (new, _) = add(&operator, &old, &json!({}));
    for _ in 0..TRIES {
        app.issue(&old, &[]);
        app.issue(&new, &[]);
    }
    let path = format!("{}/{}", secrets_path(&old), made["secret_id"].as_str().unwrap());
    assert_no_content(&operator.delete(&path));
    for _ in 0..TRIES {
        app.ask(&old, &[]).assert_invalid_client();
        app.issue(&new, &[]);
    }
    assert_not_found(&operator.delete(&path), "secret not found");
}

#[test]
fn a_secret_of_another_client_is_not_this_ones() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (one, made) = operator.create(json!({}));
    let (other, _) = operator.create(json!({}));
    let path = format!("{}/{}", secrets_path(&other), made["secret_id"].as_str().unwrap());
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
fn times_that_make_no_sense_are_400() {
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
    for document in [
        json!({"expires_in_seconds": "60"}),
        json!({"expires_in": 60}),
        json!([]),
    ] {
        let detail = "the body must be a JSON object of known members, each at most once and of its type";
        assert_bad_request(&post(document), detail);
    }
    assert_eq!(list(&operator, &client).len(), 1);
}

/// To ignore it would be to do what the caller wanted to prevent.
#[test]
fn if_match_is_refused_since_secrets_have_no_version() {
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
fn a_client_that_is_not_there_has_no_secrets() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let no_client = |answer: Response| assert_not_found(&answer, "client not found");
    no_client(operator.get("/admin/clients/nobody/secrets"));
    no_client(operator.post("/admin/clients/nobody/secrets", &json!({})));
    let detail = "secret not found";
    assert_not_found(&operator.delete("/admin/clients/nobody/secrets/x"), detail);
}

#[test]
fn the_last_use_of_a_secret_is_told() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let (second, second_id) = add(&operator, &client, &json!({}));
    app.issue(&second, &[]);
    let token = operator.token.clone();
    // The stop writes it down, like the quarter minute that a test does not wait for.
    let app = app.stop().unwrap().0.start();
    let answer = app.send(Request::get(&secrets_path(&client)).bearer(&token));
    for secret in answer.json()["items"].as_array().unwrap() {
        let used = secret["last_used_at"].as_str();
        assert_eq!(used.is_some(), secret["secret_id"] == json!(second_id), "{secret}");
        assert!(used.is_none_or(|time| time >= secret["created_at"].as_str().unwrap()));
    }
}
