//! Records of tokens that PostgreSQL does not take: one that it refuses, and more than may wait.

use std::time::Duration;

use testkit::eventually;
use testkit::http::Connection;
use testkit::load::Load;
use testkit::token::{jti, token_request};

use crate::scene::Scene;

#[test]
fn a_record_that_is_refused_is_given_up_alone() {
    // Long enough to find out an id and to forbid it, before anything is written.
    let scene = Scene::new(&[("MINTAGE_WRITER__FLUSH_INTERVAL", "3s")]);
    let client = scene.client();
    let mut ids: Vec<String> = (0..40).map(|_| jti(&scene.token(&client))).collect();
    let poison = ids.remove(17);
    scene.cluster.sql(&format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN IF NEW.jti = ''{poison}'' THEN RAISE ''this row is poison''; END IF; RETURN NEW; END';
         CREATE TRIGGER refuse BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION refuse()"
    ));
    scene.wait_until_all_is_written();
    let recorded = scene.cluster.recorded();
    assert!(ids.iter().all(|id| recorded.contains(id)));
    assert!(!recorded.contains(&poison));
    assert_eq!(scene.statistics("writer")["dead_lettered_total"], 1);
    let line = format!("token record dead-lettered jti={poison}");
    assert!(scene.server.log().contains(&line));
}

/// Resident memory of the server, in KiB.
fn memory(scene: &Scene) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn past_max_pending_tokens_are_refused_and_counted_and_nothing_grows() {
    let scene = Scene::new(&[
        ("MINTAGE_WRITER__MAX_PENDING", "500"),
        ("MINTAGE_WRITER__MAX_BATCH", "100"),
    ]);
    let client = scene.client();
    let request = token_request(&client, &[]);
    let load = Load::start(scene.server.address, &[client], 4, Duration::from_millis(1));
    let mut connection = Connection::open(scene.server.address);
    connection.ask(&request).access_token();
    scene.cluster.stop();
    eventually("the queue is full", Duration::from_secs(10), || {
        (connection.ask(&request).status == 503).then_some(())
    });
    let before = memory(&scene);
    for _ in 0..5000 {
        connection.ask(&request).assert_unavailable();
    }
    let receipts = load.stop();
    let grown = memory(&scene).saturating_sub(before);
    assert!(grown < 4096, "by {grown} KiB");
    scene.cluster.start_again();
    eventually("ready again", Duration::from_secs(10), || {
        (scene.readiness() == 200).then_some(())
    });
    scene.assert_all_recorded(&receipts);
    let refused = receipts.iter().filter(|receipt| receipt.status == 503).count();
    let rejected = scene.statistics("writer")["rejected_total"].as_u64().unwrap() as usize;
    // Those on the connection of the test's own are not among the receipts: the one that found out, and the 5,000.
    assert_eq!(rejected, refused + 1 + 5000);
}

#[test]
fn g6_what_cannot_be_written_before_the_end_is_counted_as_lost() {
    let mut scene = Scene::new(&[("MINTAGE_SERVER__SHUTDOWN_TIMEOUT", "1s")]);
    let client = scene.client();
    // To one worker, whose cache knows the client from now on.
    let mut connection = Connection::open(scene.server.address);
    connection.ask(&token_request(&client, &[])).access_token();
    scene.wait_until_all_is_written();
    let written = scene.cluster.recorded().len();
    scene.cluster.stop();
    for _ in 0..30 {
        connection.ask(&token_request(&client, &[])).access_token();
    }
    scene.server.signal("TERM");
    assert_eq!(scene.server.exit_code(), Some(1));
    let log = scene.server.log();
    assert!(log.contains("ERROR token records lost count=30\n"), "{log}");
    scene.cluster.start_again();
    assert_eq!(scene.cluster.recorded().len(), written);
}
