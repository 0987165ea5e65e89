//! Starts on a PostgreSQL that is not there yet, and of two instances at once.

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
    let anybody = TestClient {
        id: "anybody".into(),
        secret: "none".into(),
    };
    let began = Instant::now();
    while began.elapsed() < length {
        assert!(!server.has_ended());
        assert_eq!(server.send(&Request::get("/livez")).status, 200);
        let answer = server.send(&Request::get("/readyz"));
        answer.assert_unavailable();
        let reason = "the server is starting: keys and clients are not loaded yet";
        assert_eq!(answer.json(), json!({"status": "unavailable", "reason": reason}));
        server.send(&token_request(&anybody, &[])).assert_unavailable();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(
        server
            .log()
            .contains("startup attempt failed error=\"the database cannot be reached: ")
    );
    cluster.start_again();
    eventually("it is ready", Duration::from_secs(10), || {
        (server.send(&Request::get("/readyz")).status == 200).then_some(())
    });
    let client = server.client("a", &[]);
    eventually("the client gets a token", Duration::from_secs(10), || {
        (server.send(&token_request(&client, &[])).status == 200).then_some(())
    });
}

#[test]
fn a_server_waits_for_a_database_that_comes_later() {
    started_late(Duration::from_secs(3));
}

#[test]
#[ignore = "takes half a minute: scripts/test --soak"]
fn soak_a_server_waits_half_a_minute_for_its_database() {
    started_late(Duration::from_secs(30));
}

#[test]
fn two_instances_that_start_at_once_on_an_empty_database_become_one_server() {
    let cluster = Cluster::start();
    let url = cluster.url(cluster.address(), "empty");
    // Both wait for the same moment.
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
    let told = instances[1].send(&about_token("/introspect", &client, &token)).json();
    assert_eq!(told["active"], true, "{told}");
}

#[test]
fn g2_what_is_taken_back_while_an_instance_starts_counts_before_it_is_ready() {
    let cluster = Cluster::start();
    let url = cluster.url(cluster.address(), "mintage");
    let first = testkit::program!().on(&url, &[]).serve(&[]);
    let client = first.client("a", &[]);
    let token = first.send(&token_request(&client, &[])).access_token();
    // The second has read all revocations when it comes to the routes.
    let mut holder = cluster.connect();
    holder
        .batch_execute("BEGIN; LOCK TABLE routes IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let second = testkit::program!().on(&url, &[]).serve_unready(&[]);
    eventually("the second waits for the routes", Duration::from_secs(10), || {
        (cluster.number("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0).then_some(())
    });
    assert_eq!(first.send(&about_token("/revoke", &client, &token)).status, 200);
    holder.batch_execute("ROLLBACK").unwrap();
    let question = about_token("/introspect", &client, &token);
    let told = eventually("the second judges", Duration::from_secs(10), || {
        Some(second.send(&question)).filter(|answer| answer.status == 200)
    });
    assert_eq!(told.json(), json!({"active": false}));
}
