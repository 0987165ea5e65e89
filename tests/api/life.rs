//! The lifecycle of a client on the command line: updates, secret rotation, and the audit log.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::http::Request;
use testkit::poll::until;
use testkit::token::{claims, token_request};
use testkit::{Program, TestClient};

/// The client with the secret that a command has created.
fn with_secret(client: &TestClient, created: &Value) -> TestClient {
    client.with_secret(created["client_secret"].as_str().unwrap())
}

fn audit_log(program: &Program) -> Vec<Value> {
    let output = program.run(&["audit"]);
    let lines = output.stdout.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_update_changes_only_the_named_fields() {
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
fn a_running_server_applies_an_update() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let serving = program.serve(&[]);
    let scope = || claims(&token_request(&client, &[]).send(serving.address).access_token())["scope"].clone();
    assert_eq!(scope(), "a");
    program.run(&["client", "update", &client.id, "--scope", "b"]);
    until("the update takes effect", Duration::from_secs(5), || scope() == "b");
}

#[test]
fn one_secret_replaces_another() {
    let program = testkit::program!().with_database();
    let old = program.create_client(&["--name", "n", "--scope", "a"]);
    let serving = program.serve(&[]);
    let status = |client: &TestClient| token_request(client, &[]).send(serving.address).status;
    assert_eq!(status(&old), 200);
    let created = program
        .run(&["client", "secret", "add", &old.id, "--expires-in", "30d", "--json"])
        .json();
    assert!(
        created["expires_at"].is_string() && created["secret_id"].is_string(),
        "{created}"
    );
    let new = with_secret(&old, &created);
    until("the new secret is valid", Duration::from_secs(5), || {
        status(&new) == 200
    });
    assert_eq!(status(&old), 200, "the old secret is still valid");
    let listed = program.run(&["client", "secret", "list", &old.id, "--json"]).json();
    let first = listed["items"][0]["secret_id"].as_str().unwrap().to_owned();
    assert_eq!(listed["items"][1]["secret_id"], created["secret_id"]);
    program.run(&["client", "secret", "revoke", &old.id, &first]);
    until("the old secret is revoked", Duration::from_secs(5), || {
        status(&old) == 401
    });
    assert_eq!(status(&new), 200);
}

#[test]
fn the_last_use_of_a_secret_is_recorded() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let last_used =
        || program.run(&["client", "secret", "list", &client.id, "--json"]).json()["items"][0]["last_used_at"].clone();
    assert_eq!(last_used(), Value::Null);
    let mut serving = program.serve(&[]);
    assert_eq!(token_request(&client, &[]).send(serving.address).status, 200);
    serving.stop();
    assert!(last_used().is_string(), "recorded at shutdown at the latest");
}

#[test]
fn a_failed_secret_command_reports_its_error() {
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
fn g8_the_audit_log_names_source_and_action_but_no_secret() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let created = program.run(&["client", "secret", "add", &client.id, "--json"]).json();
    program.run(&["client", "disable", &client.id]);
    program.run(&["route", "add", "--path", "/x", "--scope", "a"]);
    program.run(&["key", "rotate", "--alg", "HS256"]);
    let lines = audit_log(&program);
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
    for secret in [&client.secret, created["client_secret"].as_str().unwrap()] {
        assert!(!whole.contains(secret));
    }
    let after = lines[3]["id"].to_string();
    assert_eq!(program.run(&["audit", "--after", &after]).stdout.lines().count(), 1);
}

#[test]
fn an_operator_is_audited_by_client_id_and_ip() {
    let app = testkit::app::TestApp::start();
    let operator = app.client_with_scope("mintage:admin");
    let admin = app.issue(&operator, &[("scope", "mintage:admin")]);
    let route = json!({ "path": "/trail", "scope": "a" });
    let added = app.send(Request::post("/admin/routes").bearer(&admin).json(&route));
    assert_eq!(added.status, 201, "{}", added.text());
    let lines = app.database(|conn| mintage::db::audit::since(conn, None, 100));
    let line = lines.iter().find(|line| line.action == "route.add").unwrap();
    assert_eq!((&*line.actor, &*line.source), (&*operator.id, "127.0.0.1"));
}

#[test]
fn a_crash_leaves_no_core_dump_whatever_the_limits_are() {
    let program = testkit::program!().with_database();
    let mut server = program.spawn(&["sh", "-c", "ulimit -c unlimited; exec \"$0\" \"$@\""], &[]);
    server.wait_until_it_listens().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let of_core_dumps = limits.lines().find(|line| line.starts_with("Max core file size"));
    let words: Vec<&str> = of_core_dumps.unwrap().split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{limits}");
    server.signal("ABRT");
    let status = server.exit_status();
    assert!(status.signal().is_some() && !status.core_dumped(), "{status}");
}
