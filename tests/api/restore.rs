//! A backup, a restore, and the steps of `docs/operations.md` that give nothing back.

use std::time::Duration;

use serde_json::Value;
use testkit::poll::until;
use testkit::token::{about_token, token_request};
use testkit::{Program, Server, TestClient};

fn audit_log(program: &Program) -> Vec<Value> {
    let output = program.run(&["audit"]);
    let lines = output.stdout.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
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
    let revocation = server.send(&about_token("/revoke", &shop, &revoked));
    assert_eq!(revocation.status, 200);
    let added = program.run_json(&["client", "secret", "add", &shop.id]);
    let new = shop.with_secret(added["client_secret"].as_str().unwrap());
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
    let status = |server: &Server| {
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
    let shop = shop.with_secret(kept["client_secret"].as_str().unwrap());
    until("a new secret gives access again", Duration::from_secs(5), || {
        token_request(&shop, &[]).send(server.address).status == 200
    });
}
