//! Starts on a PostgreSQL that is not available yet, and simultaneous starts of two instances.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use serde_json::json;
use testkit::cluster::Cluster;
use testkit::http::Request;
use testkit::token::{about_token, token_request};
use testkit::{TestClient, eventually};

fn started_late(length: Duration) {
    let cluster = Cluster::start();
    cluster.stop();
    let mut server = testkit::program!()
        .on(&cluster.url(cluster.address(), "mintage"), &[])
        .serve_unready(&[]);
    let unknown = TestClient {
        id: "unknown".into(),
        secret: "none".into(),
    };
    let (began, mut told) = (Instant::now(), 0);
    while began.elapsed() < length {
        assert!(!server.has_ended());
        assert_eq!(server.send(&Request::get("/livez")).status, 200);
        let answer = server.send(&Request::get("/readyz"));
        answer.assert_unavailable();
        let document = |why: &str| {
            let reason = format!("the server is starting: {why}");
            json!({"status": "unavailable", "reason": reason})
        };
        if answer.json() == document("the database cannot be reached") {
            told += 1;
        } else {
            let first = document("keys and clients are not loaded yet");
            assert_eq!((answer.json(), told), (first, 0), "until the first attempt has failed");
        }
        server.send(&token_request(&unknown, &[])).assert_unavailable();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(told > 0);
    let line = "startup attempt failed error=\"the database cannot be reached: ";
    let lines = server.log().matches(line).count();
    let every_10_s = 1 + length.as_secs() as usize / 11..=1 + length.as_secs() as usize / 10;
    assert!(every_10_s.contains(&lines), "{}", server.log());
    cluster.start_again();
    eventually("the server is ready", Duration::from_secs(10), || {
        (server.send(&Request::get("/readyz")).status == 200).then_some(())
    });
    let client = server.client("a", &[]);
    eventually("the client gets a token", Duration::from_secs(10), || {
        (server.send(&token_request(&client, &[])).status == 200).then_some(())
    });
}

#[test]
fn a_server_waits_for_a_database_that_starts_later() {
    started_late(Duration::from_secs(3));
}

#[test]
#[ignore = "takes half a minute: scripts/test --soak"]
fn soak_a_server_waits_half_a_minute_for_its_database() {
    started_late(Duration::from_secs(30));
}

#[test]
fn a_stop_without_postgresql_says_nothing_about_a_file_of_sqlite() {
    let cluster = Cluster::start();
    let url = cluster.url(cluster.address(), "mintage");
    let mut server = testkit::program!().on(&url, &[]).serve(&[]);
    cluster.stop();
    server.stop();
    let log = server.log();
    assert!(
        log.contains("server stopped") && !log.contains("wal checkpoint"),
        "{log}"
    );
}

#[test]
fn two_instances_that_start_at_once_on_an_empty_database_share_its_keys_and_clients() {
    let cluster = Cluster::start();
    let url = cluster.url(cluster.address(), "empty");
    // Both continue at the same moment.
    cluster.hang();
    let instances = [
        testkit::program!().on(&url, &[]).serve_unready(&[]),
        testkit::program!().on(&url, &[]).serve_unready(&[]),
    ];
    cluster.resume();
    for instance in &instances {
        instance.wait_until_ready();
    }
    let key_sets = instances
        .each_ref()
        .map(|instance| instance.send(&Request::get("/.well-known/jwks.json")).text());
    assert_eq!(key_sets[0], key_sets[1]);
    let client = instances[0].client("a", &[]);
    let token = instances[0].send(&token_request(&client, &[])).access_token();
    let introspection = instances[1].send(&about_token("/introspect", &client, &token)).json();
    assert_eq!(introspection["active"], true, "{introspection}");
}

#[test]
fn g2_a_token_revoked_while_an_instance_starts_is_inactive_before_the_instance_is_ready() {
    let cluster = Cluster::start();
    let url = cluster.url(cluster.address(), "mintage");
    let first = testkit::program!().on(&url, &[]).serve(&[]);
    let client = first.client("a", &[]);
    let token = first.send(&token_request(&client, &[])).access_token();
    // The second instance has loaded all revocations when it reads the routes.
    let mut lock_holder = cluster.connect();
    lock_holder
        .batch_execute("BEGIN; LOCK TABLE routes IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let second = testkit::program!().on(&url, &[]).serve_unready(&[]);
    eventually(
        "the second instance waits for the routes",
        Duration::from_secs(10),
        || (cluster.number("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0).then_some(()),
    );
    assert_eq!(first.send(&about_token("/revoke", &client, &token)).status, 200);
    lock_holder.batch_execute("ROLLBACK").unwrap();
    let request = about_token("/introspect", &client, &token);
    let introspection = eventually("the second instance answers", Duration::from_secs(10), || {
        Some(second.send(&request)).filter(|answer| answer.status == 200)
    });
    assert_eq!(introspection.json(), json!({"active": false}));
}
