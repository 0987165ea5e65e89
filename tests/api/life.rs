//! The lifecycle of a client on the command line: updates, secret rotation, and the audit log.

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
    let lines = app.database(|conn| mintage::db::audit::since(conn, 0, 100));
    let line = lines.iter().find(|line| line.action == "route.add").unwrap();
    assert_eq!((&*line.actor, &*line.source), (&*operator.id, "127.0.0.1"));
}

/// The section of `docs/operations.md` about a restore.
fn restore_section() -> &'static str {
    let document = include_str!("../../docs/operations.md");
    let (_, section) = document.split_once("\n### Restore a backup\n").unwrap();
    section.split_once("\n## ").unwrap().0
}

/// Runs a command of the section, with the placeholders replaced.
#[track_caller]
fn run_documented(program: &Program, documented: &str, with: &[(&str, &str)]) {
    let is_in_section = restore_section().lines().any(|line| line.trim() == documented);
    assert!(is_in_section, "{documented}");
    let replace = |word: &str| {
        with.iter()
            .find(|(name, _)| *name == word)
            .map(|(_, value)| (*value).to_owned())
    };
    let words: Vec<String> = documented
        .strip_prefix("mintage ")
        .unwrap()
        .split(' ')
        .map(|word| replace(word).unwrap_or_else(|| word.to_owned()))
        .collect();
    let outcome = program.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

/// Replaces the database by a copy, as the section says.
fn replace_database(program: &Program, copy: &std::path::Path) {
    std::fs::copy(copy, program.database_path()).unwrap();
    for file in ["mintage.db-wal", "mintage.db-shm"] {
        // A stopped server leaves neither.
        let _ = std::fs::remove_file(program.path(file));
    }
}

/// First it shows what a restore alone gives back, then what the documented steps leave of it.
#[test]
fn a_restore_gives_nothing_back_if_the_documented_steps_are_followed() {
    let program = testkit::program!().with_database();
    let shop = program.client("orders:read", &[]);
    let left = program.client("orders:read", &[]);
    let mut server = program.serve(&[]);
    let route = server.route("GET", "/orders/{id}", "orders:read", &[]);
    server.route("GET", "/carts/{id}", "orders:read", &[]);
    let [revoked, redeemed] = [false, true].map(|one_time| {
        let more = [("one_time", if one_time { "true" } else { "false" })];
        token_request(&shop, &more).send(server.address).access_token()
    });
    server.stop();
    let backup = program.path("backup.db");
    std::fs::copy(program.database_path(), &backup).unwrap();

    // What is taken away after the backup.
    let mut server = program.serve(&[]);
    assert_eq!(server.validate("GET", "/orders/1", &redeemed).status, 200);
    let revocation = server.send(&testkit::token::about_token("/revoke", &shop, &revoked));
    assert_eq!(revocation.status, 200);
    let added = program.run_json(&["client", "secret", "add", &shop.id]);
    let new = with_secret(&shop, &added);
    let secrets = program.run_json(&["client", "secret", "list", &shop.id]);
    let old_secret = secrets["items"][0]["secret_id"].as_str().unwrap().to_owned();
    for command in [
        &["client", "secret", "revoke", &shop.id, &old_secret][..],
        &["client", "disable", &left.id],
        &["route", "remove", &route],
    ] {
        let outcome = program.run(command);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }
    server.stop();
    let lost = audit_log(&program);

    // A restore alone gives all of it back.
    let status = |server: &testkit::Server| {
        let validate = |target: &str, token: &str| server.validate("GET", target, token).status;
        let token = |client: &TestClient| server.send(&token_request(client, &[])).status;
        [
            token(&shop),
            token(&left),
            token(&new),
            validate("/orders/1", &revoked),
            validate("/carts/1", &revoked),
            validate("/carts/1", &redeemed),
        ]
    };
    replace_database(&program, &backup);
    let mut server = program.serve(&[]);
    assert_eq!(status(&server), [200, 200, 401, 200, 200, 200]);
    server.stop();

    replace_database(&program, &backup);
    let newest = audit_log(&program).last().unwrap()["id"].as_i64().unwrap();
    let since: Vec<&Value> = lost
        .iter()
        .filter(|event| event["id"].as_i64().unwrap() > newest)
        .collect();
    let actions: Vec<&str> = since.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        ["secret.add", "secret.revoke", "client.update", "route.remove"]
    );
    let subject = |index: usize| since[index]["subject"].as_str().unwrap();
    run_documented(&program, "mintage client disable ID", &[("ID", subject(2))]);
    let secret = since[1]["detail"]["secret_id"].as_str().unwrap();
    let with = [("ID", subject(1)), ("SECRET_ID", secret)];
    run_documented(&program, "mintage client secret revoke ID SECRET_ID", &with);
    run_documented(&program, "mintage route remove ID", &[("ID", subject(3))]);
    run_documented(&program, "mintage key rotate --immediately", &[]);
    let server = program.serve(&[]);
    assert_eq!(status(&server), [401, 401, 401, 403, 401, 401]);
    let kept = program.run_json(&["client", "secret", "add", &shop.id]);
    let shop = with_secret(&shop, &kept);
    until("a new secret gives access again", Duration::from_secs(5), || {
        token_request(&shop, &[]).send(server.address).status == 200
    });
}
