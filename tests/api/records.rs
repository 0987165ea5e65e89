//! Token records: every issued token gets a row in `tokens`, before or after the response,
//! depending on the configuration.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use mintage::config::{self, Durability, WriterMode};
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::password_hash::PasswordHash;
use mintage::oauth::secret_hash::SecretHash;
use mintage::oauth::stored_secret::StoredSecret;
use serde_json::Value;
use testkit::app::{ORDERS, Setup};
use testkit::http::Request;
use testkit::poll::until;
use testkit::token::{about_token, claims, jti, token_request};
use testkit::{TestApp, TestClient, eventually};

fn issue_many(app: &TestApp, client: &TestClient, count: usize) -> Vec<String> {
    let mut ids: Vec<String> = (0..count).map(|_| jti(&app.issue(client, &[]))).collect();
    ids.sort();
    ids
}

fn writer_stats(app: &TestApp, reader: &str) -> Value {
    app.send(Request::get("/admin/writer/stats").bearer(reader)).json()
}

#[test]
fn every_token_is_recorded_without_a_further_request() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(
        &client,
        &[
            ("scope", "orders:read"),
            ("resource", ORDERS),
            ("resource", "urn:example:two"),
        ],
    );
    let rows = eventually("the token is recorded", Duration::from_secs(10), || {
        Some(app.recorded(&client)).filter(|rows| !rows.is_empty())
    });
    let claims = claims(&token);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].jti, claims["jti"]);
    assert_eq!((&*rows[0].client_id, &*rows[0].scope), (&*client.id, "orders:read"));
    assert_eq!(rows[0].audience, "https://orders.example urn:example:two");
    assert_eq!(
        (rows[0].issued_at, rows[0].expires_at),
        (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap())
    );
    assert!(!rows[0].one_time);
}

/// With each way of writing, for a stored digest and a password hash, and for one-time tokens.
#[test]
fn a_record_names_the_secret_and_the_client_ip() {
    for (mode, durability) in [
        (WriterMode::Batch, Durability::Async),
        (WriterMode::Batch, Durability::Group),
        (WriterMode::Sync, Durability::Async),
    ] {
        let app = Setup::new()
            .configured(|config| {
                (config.writer.mode, config.writer.durability) = (mode, durability);
                config.server.client_ip_proxies = vec!["127.0.0.1".to_owned()].try_into().unwrap();
            })
            .start();
        let (digest, hashed) = (ClientSecret::generate(), ClientSecret::new("correct horse".into()));
        let hash = SecretHash::Password(PasswordHash::of(&hashed).into());
        let client = app.client_with_secret(digest.reveal(), |client| {
            client.secrets.push(StoredSecret::with_hash(hash, client.created_at));
            client.secrets[0].id = "digest".into();
            client.secrets[1].id = "hashed".into();
        });
        let ask = |secret: &ClientSecret, forwarded: &str, more: &[(&str, &str)]| {
            let request = token_request(&client.with_secret(secret.reveal()), more);
            jti(&request
                .header("X-Forwarded-For", forwarded)
                .send(app.address)
                .access_token())
        };
        let expected = [
            (ask(&digest, "192.0.2.1", &[]), "digest", "192.0.2.1"),
            (ask(&hashed, "2001:DB8:0::1", &[]), "hashed", "2001:db8::1"),
            (
                ask(&digest, "::ffff:192.0.2.3", &[("one_time", "true")]),
                "digest",
                "192.0.2.3",
            ),
            (ask(&hashed, "not an address", &[]), "hashed", "127.0.0.1"),
        ];
        let rows = app.stop().unwrap().recorded(&client);
        for (jti, secret_id, client_ip) in expected {
            let row = rows.iter().find(|row| row.jti == jti).unwrap();
            let origin = (row.secret_id.as_deref(), row.client_ip.as_deref());
            assert_eq!(origin, (Some(secret_id), Some(client_ip)));
        }
    }
}

#[test]
fn a_one_time_token_is_recorded_as_one_time() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    let single_use = jti(&app.issue(&client, &[("one_time", "true")]));
    let reusable = jti(&app.issue(&client, &[]));
    let rows = app.stop().unwrap().recorded(&client);
    let one_time = |id: &str| rows.iter().find(|row| row.jti == id).unwrap().one_time;
    assert_eq!(
        (rows.len(), one_time(&single_use), one_time(&reusable)),
        (2, true, false)
    );
}

#[test]
fn shutdown_writes_pending_records() {
    let app = Setup::new()
        .configured(|config| config.writer.flush_interval = config::Duration::seconds(3600))
        .start();
    let client = app.client(|_| {});
    let ids = issue_many(&app, &client, 25);
    assert!(app.recorded(&client).is_empty(), "the flush interval is an hour");
    assert_eq!(app.stop().unwrap().ids_recorded(&client), ids);
}

#[test]
fn a_full_batch_is_written_immediately() {
    let app = Setup::new()
        .configured(|config| {
            config.writer.flush_interval = config::Duration::seconds(3600);
            config.writer.max_batch = 10;
        })
        .start();
    let client = app.client(|_| {});
    let ids = issue_many(&app, &client, 10);
    until("the tokens are recorded", Duration::from_secs(10), || {
        app.recorded(&client).len() == 10
    });
    assert_eq!(app.stop().unwrap().ids_recorded(&client), ids);
}

#[test]
fn a_rejected_request_leaves_no_row() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    app.ask(&client, &[("scope", "other")]);
    app.ask(&client, &[("resource", "urn:other")]);
    app.ask(&client.with_secret("wrong"), &[]);
    app.send(Request::get("/token").basic(&client));
    let issued = jti(&app.issue(&client, &[]));
    assert_eq!(app.stop().unwrap().ids_recorded(&client), [issued]);
}

/// Issues 20 tokens; the record of each exists when the response arrives.
fn assert_recorded_before_response(app: &TestApp) {
    let client = app.client(|_| {});
    for count in 1..=20 {
        let issued = jti(&app.issue(&client, &[]));
        let rows = app.recorded(&client);
        assert_eq!((rows.len(), rows.iter().any(|row| row.jti == issued)), (count, true));
    }
}

#[test]
fn g3_group_durability_responds_after_the_row_is_written() {
    let app = Setup::new()
        .configured(|config| config.writer.durability = Durability::Group)
        .start();
    assert_recorded_before_response(&app);
    let stats = writer_stats(&app, &app.issue_with_scope("mintage:read"));
    assert_eq!(
        (&stats["mode"], &stats["durability"]),
        (&"batch".into(), &"group".into())
    );
}

#[test]
fn g3_group_durability_issues_no_token_that_cannot_be_recorded() {
    let app = Setup::new()
        .configured(|config| {
            config.writer.durability = Durability::Group;
            config.database.query_timeout = config::Duration::millis(400);
        })
        .start();
    let client = app.client(|_| {});
    app.issue(&client, &[]);
    let mut lock = app.sqlite();
    lock.batch_execute("BEGIN IMMEDIATE").unwrap();
    let answer = app.ask(&client, &[]);
    answer.assert_temporarily_unavailable();
    lock.batch_execute("ROLLBACK").unwrap();
    until(
        "tokens are issued again once the database is unlocked",
        Duration::from_secs(10),
        || app.ask(&client, &[]).status == 200,
    );
}

#[test]
fn sync_mode_responds_after_the_row_is_written() {
    let app = Setup::new()
        .configured(|config| config.writer.mode = WriterMode::Sync)
        .start();
    assert_recorded_before_response(&app);
    let stats = writer_stats(&app, &app.issue_with_scope("mintage:read"));
    assert_eq!((&stats["mode"], &stats["flushed_total"]), (&"sync".into(), &21.into()));
}

#[test]
fn sync_mode_issues_no_token_that_cannot_be_recorded() {
    let app = Setup::new()
        .configured(|config| {
            config.writer.mode = WriterMode::Sync;
            config.database.query_timeout = config::Duration::millis(400);
        })
        .start();
    let client = app.client(|_| {});
    let issued = jti(&app.issue(&client, &[]));
    app.sql("CREATE TRIGGER refuse BEFORE INSERT ON tokens BEGIN SELECT RAISE(ABORT, 'no'); END");
    let answer = app.ask(&client, &[]);
    answer.assert_temporarily_unavailable();
    assert_eq!(app.stop().unwrap().ids_recorded(&client), [issued]);
}

#[test]
fn a_row_that_cannot_be_written_does_not_block_the_others() {
    let app = Setup::new()
        .configured(|config| config.writer.flush_interval = config::Duration::seconds(3600))
        .start();
    let (poison, client) = (app.client(|_| {}), app.client(|_| {}));
    let condition = format!("WHEN NEW.client_id = '{}'", poison.id);
    app.sql(&format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON tokens {condition} BEGIN SELECT RAISE(ABORT, 'no'); END"
    ));
    let mut ids = issue_many(&app, &client, 10);
    app.issue(&poison, &[]);
    ids.extend(issue_many(&app, &client, 10));
    ids.sort();
    let stopped = app.stop().unwrap();
    assert_eq!(stopped.ids_recorded(&client), ids);
    assert!(stopped.recorded(&poison).is_empty());
}

#[test]
fn g4_a_temporarily_locked_database_loses_no_records() {
    let app = Setup::new()
        .configured(|config| config.database.query_timeout = config::Duration::millis(400))
        .start();
    let (client, reader) = (app.client(|_| {}), app.issue_with_scope("mintage:read"));
    let mut ids = issue_many(&app, &client, 5);
    let mut lock = app.sqlite();
    lock.batch_execute("BEGIN IMMEDIATE").unwrap();
    ids.extend(issue_many(&app, &client, 50));
    until("a flush fails", Duration::from_secs(5), || {
        writer_stats(&app, &reader)["flush_failures_total"].as_u64() > Some(0)
    });
    lock.batch_execute("ROLLBACK").unwrap();
    ids.sort();
    until("the tokens are recorded", Duration::from_secs(15), || {
        app.recorded(&client).len() == ids.len()
    });
    assert_eq!(app.stop().unwrap().ids_recorded(&client), ids);
}

#[test]
fn records_not_written_before_the_shutdown_timeout_are_reported_as_lost() {
    let app = Setup::new()
        .configured(|config| {
            config.database.query_timeout = config::Duration::millis(200);
            config.server.shutdown_timeout = config::Duration::seconds(1);
        })
        .start();
    let client = app.client(|_| {});
    let mut lock = app.sqlite();
    lock.batch_execute("BEGIN IMMEDIATE").unwrap();
    issue_many(&app, &client, 3);
    let began = Instant::now();
    let reason = app.stop().err().expect("an orderly stop is not possible").to_string();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(
        reason,
        "stopped early, server.shutdown_timeout is over: 3 token records lost"
    );
}

/// With a mock clock, so that no token expires before it is revoked.
#[test]
fn expired_rows_are_removed_and_valid_rows_are_kept() {
    let app = Setup::on_empty_database()
        .configured(|config| {
            config.janitor.interval = config::Duration::millis(50);
            config.janitor.keep_expired = config::Duration::seconds(1);
            config.writer.flush_interval = config::Duration::millis(10);
        })
        .with_mock_clock()
        .start();
    let short = app.client(|client| client.ttl_seconds = Some(60));
    let long = app.client(|_| {});
    let reader = app.issue_with_scope("mintage:read");
    let revoked = app.issue(&short, &[]);
    app.issue(&long, &[]);
    app.send(about_token("/revoke", &short, &revoked));
    until("the records are written", Duration::from_secs(10), || {
        writer_stats(&app, &reader)["flushed_total"] == 3
    });
    app.advance(Duration::from_secs(62));
    let stats = || app.send(Request::get("/admin/janitor/stats").bearer(&reader)).json();
    eventually("expired rows are removed", Duration::from_secs(10), || {
        let removed = stats()["removed_total"].clone();
        (removed["tokens"] == 1 && removed["revocations"] == 1).then_some(removed)
    });
    assert_eq!((app.recorded(&short).len(), app.recorded(&long).len()), (0, 1));
    assert_eq!(stats()["waiting"]["tokens"], 0);
}
