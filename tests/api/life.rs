//! The life of a client on the command line: changed, given one secret after another, and all of it in the audit trail.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::http::Request;
use testkit::poll::until;
use testkit::token::{claims, token_request};
use testkit::{Program, TestClient};

/// The secret that a command has just made.
fn with_secret(client: &TestClient, made: &Value) -> TestClient {
    client.with_secret(made["client_secret"].as_str().unwrap())
}

fn trail(program: &Program) -> Vec<Value> {
    let output = program.run(&["audit"]);
    let lines = output.stdout.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_client_is_changed_and_what_is_not_named_stays() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a b", "--ttl", "60s", "--audience", "urn:a:b"]);
    let changed = program
        .run(&[
            "client", "update", &client.id, "--scope", "a c", "--ttl", "default", "--json",
        ])
        .json();
    assert_eq!(
        (&changed["scope"], &changed["default_scope"]),
        (&json!("a c"), &json!("a c"))
    );
    assert_eq!(
        (&changed["ttl_seconds"], &changed["audiences"]),
        (&Value::Null, &json!(["urn:a:b"]))
    );
    let none = program
        .run(&["client", "update", &client.id, "--no-audiences", "--json"])
        .json();
    assert_eq!(none["audiences"], json!([]));
}

#[test]
fn a_running_server_follows_a_change() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let serving = program.serve(&[]);
    let scope = || claims(&token_request(&client, &[]).send(serving.address).access_token())["scope"].clone();
    assert_eq!(scope(), "a");
    program.run(&["client", "update", &client.id, "--scope", "b"]);
    until("it follows", Duration::from_secs(5), || scope() == "b");
}

#[test]
fn one_secret_takes_over_from_another() {
    let program = testkit::program!().with_database();
    let old = program.create_client(&["--name", "n", "--scope", "a"]);
    let serving = program.serve(&[]);
    let status = |client: &TestClient| token_request(client, &[]).send(serving.address).status;
    assert_eq!(status(&old), 200);
    let made = program
        .run(&["client", "secret", "add", &old.id, "--expires-in", "30d", "--json"])
        .json();
    assert!(
        made["expires_at"].is_string() && made["secret_id"].is_string(),
        "{made}"
    );
    let new = with_secret(&old, &made);
    until("the new one is valid", Duration::from_secs(5), || status(&new) == 200);
    assert_eq!(status(&old), 200, "and the old one with it");
    let listed = program.run(&["client", "secret", "list", &old.id, "--json"]).json();
    let first = listed["items"][0]["secret_id"].as_str().unwrap().to_owned();
    assert_eq!(listed["items"][1]["secret_id"], made["secret_id"]);
    program.run(&["client", "secret", "revoke", &old.id, &first]);
    until("the old one is revoked", Duration::from_secs(5), || status(&old) == 401);
    assert_eq!(status(&new), 200);
}

#[test]
fn the_last_use_of_a_secret_is_written_down() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let last_used =
        || program.run(&["client", "secret", "list", &client.id, "--json"]).json()["items"][0]["last_used_at"].clone();
    assert_eq!(last_used(), Value::Null);
    let mut serving = program.serve(&[]);
    assert_eq!(token_request(&client, &[]).send(serving.address).status, 200);
    serving.stop();
    assert!(last_used().is_string(), "at the latest when the server stops");
}

#[test]
fn what_cannot_be_done_to_a_secret_is_said() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    program.run(&["client", "secret", "add", "nobody"]).failed(1);
    program
        .run(&["client", "secret", "revoke", &client.id, "none"])
        .failed(1);
    program.run(&["client", "update", "nobody", "--name", "x"]).failed(1);
    program
        .run(&["client", "update", &client.id, "--scope", "a  b"])
        .failed(2);
    for _ in 1..10 {
        program.run(&["client", "secret", "add", &client.id, "--json"]).json();
    }
    program.run(&["client", "secret", "add", &client.id]).failed(1);
}

#[test]
fn g8_the_trail_tells_who_did_what_and_no_secret() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let made = program.run(&["client", "secret", "add", &client.id, "--json"]).json();
    program.run(&["client", "disable", &client.id]);
    program.run(&["route", "add", "--path", "/x", "--scope", "a"]);
    program.run(&["key", "rotate", "--alg", "HS256"]);
    let lines = trail(&program);
    let actions: Vec<&str> = lines.iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        [
            "client.create",
            "secret.add",
            "client.update",
            "route.add",
            "key.rotate"
        ]
    );
    assert_eq!(lines[2]["detail"]["enabled"], json!({ "before": true, "after": false }));
    assert!(
        lines
            .iter()
            .all(|line| line["source"].as_str().unwrap().starts_with("command line"))
    );
    let whole = serde_json::to_string(&lines).unwrap();
    for secret in [&client.secret, made["client_secret"].as_str().unwrap()] {
        assert!(!whole.contains(secret));
    }
    let after = lines[3]["id"].to_string();
    assert_eq!(program.run(&["audit", "--after", &after]).stdout.lines().count(), 1);
}

#[test]
fn an_operator_is_in_the_trail_by_client_and_address() {
    let app = testkit::app::TestApp::start();
    let operator = app.client_with_scope("mintage:admin");
    let admin = app.issue(&operator, &[("scope", "mintage:admin")]);
    let route = json!({ "path": "/trail", "scope": "a" });
    let added = app.send(Request::post("/admin/routes").bearer(&admin).json(&route));
    assert_eq!(added.status, 201, "{}", added.text());
    let lines = app.database(|conn| mintage::db::audit::since(conn, 0, 100));
    let line = lines.iter().find(|line| line.action == "route.add").unwrap();
    assert_eq!((&*line.actor, &*line.source), (&*operator.id, "127.0.0.1"));
}
