//! The life of a client on the command line: changed, given one secret after another, and all of it in the audit trail.

use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{TestClient, claims, eventually, token_request};
use crate::http::Request;
use crate::program::Program;

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
    let program = Program::new();
    let client = program.client(&["--name", "n", "--scope", "a b", "--ttl", "60s", "--audience", "urn:a:b"]);
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
    let program = Program::new();
    let client = program.client(&["--name", "n", "--scope", "a"]);
    let serving = program.serve(&[]);
    let scope = || claims(&token_request(&client, &[]).send(serving.address).access_token())["scope"].clone();
    assert_eq!(scope(), "a");
    program.run(&["client", "update", &client.id, "--scope", "b"]);
    assert!(eventually(Duration::from_secs(5), || (scope() == "b").then_some(())).is_some());
}

#[test]
fn one_secret_takes_over_from_another() {
    let program = Program::new();
    let old = program.client(&["--name", "n", "--scope", "a"]);
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
    let works = |client: &TestClient| eventually(Duration::from_secs(5), || (status(client) == 200).then_some(()));
    assert!(works(&new).is_some(), "the new one counts");
    assert_eq!(status(&old), 200, "and the old one with it");
    let listed = program.run(&["client", "secret", "list", &old.id, "--json"]).json();
    let first = listed["items"][0]["secret_id"].as_str().unwrap().to_owned();
    assert_eq!(listed["items"][1]["secret_id"], made["secret_id"]);
    program.run(&["client", "secret", "revoke", &old.id, &first]);
    let refused = eventually(Duration::from_secs(5), || (status(&old) == 401).then_some(()));
    assert!(refused.is_some(), "the old one is taken away");
    assert_eq!(status(&new), 200);
}

#[test]
fn the_last_use_of_a_secret_is_written_down() {
    let program = Program::new();
    let client = program.client(&["--name", "n", "--scope", "a"]);
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
    let program = Program::new();
    let client = program.client(&["--name", "n", "--scope", "a"]);
    program.run(&["client", "secret", "add", "nobody"]).refused(1);
    program
        .run(&["client", "secret", "revoke", &client.id, "none"])
        .refused(1);
    program.run(&["client", "update", "nobody", "--name", "x"]).refused(1);
    program
        .run(&["client", "update", &client.id, "--scope", "a  b"])
        .refused(2);
    for _ in 1..10 {
        program.run(&["client", "secret", "add", &client.id, "--json"]).json();
    }
    program.run(&["client", "secret", "add", &client.id]).refused(1);
}

#[test]
fn g8_the_trail_tells_who_did_what_and_no_secret() {
    let program = Program::new();
    let client = program.client(&["--name", "n", "--scope", "a"]);
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
    let app = crate::app::TestApp::start();
    let operator = app.client_with_scope("mintage:admin");
    let admin = app.issue(&operator, &[("scope", "mintage:admin")]);
    let route = json!({ "path": "/trail", "scope": "a" });
    let added = app.send(Request::post("/admin/routes").bearer(&admin).json(&route));
    assert_eq!(added.status, 201, "{}", added.text());
    let lines = app.database(|conn| mintage::db::audit::since(conn, 0, 100));
    let line = lines.iter().find(|line| line.action == "route.add").unwrap();
    assert_eq!((&*line.actor, &*line.source), (&*operator.id, "127.0.0.1"));
}
