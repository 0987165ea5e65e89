//! Token records that PostgreSQL does not accept: one that it rejects, and more than may be
//! pending.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use testkit::eventually;
use testkit::http::Connection;
use testkit::load::Load;
use testkit::poll::until;
use testkit::token::{jti, token_request};

use crate::scene::Scene;

#[test]
fn only_the_record_that_the_database_rejects_becomes_a_dead_letter() {
    let scene = Scene::new(&[]);
    let client = scene.client();
    // Nothing is written between the choice of an id and its rejection, however long that takes.
    let mut lock_holder = scene.cluster.connect();
    lock_holder
        .batch_execute("BEGIN; LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let mut ids: Vec<String> = (0..40).map(|_| jti(&scene.token(&client))).collect();
    let poison = ids.remove(17);
    lock_holder
        .batch_execute(&format!(
            "CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN IF NEW.jti = ''{poison}'' THEN RAISE ''this row is poison''; END IF; RETURN NEW; END';
             CREATE TRIGGER reject BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION reject();
             COMMIT"
        ))
        .unwrap();
    scene.wait_until_all_is_written();
    let recorded = scene.cluster.recorded();
    assert!(ids.iter().all(|id| recorded.contains(id)));
    assert!(!recorded.contains(&poison));
    assert_eq!(scene.statistics("writer")["dead_lettered_total"], 1);
    let line = format!("token record dead-lettered jti={poison}");
    assert!(scene.server.log().contains(&line));
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
    // Then every worker knows the client: none rejects it because it cannot look it up.
    until("every connection has served", Duration::from_secs(10), || {
        load.serving() == 4
    });
    scene.cluster.stop();
    eventually("the queue is full", Duration::from_secs(10), || {
        (connection.ask(&request).status == 503).then_some(())
    });
    let before = scene.server.resident_memory_kib();
    for _ in 0..5000 {
        connection.ask(&request).assert_unavailable();
    }
    let receipts = load.stop();
    let grown = scene.server.resident_memory_kib().saturating_sub(before);
    assert!(grown < 4096, "by {grown} KiB");
    scene.cluster.start_again();
    eventually("ready again", Duration::from_secs(10), || {
        (scene.readiness() == 200).then_some(())
    });
    scene.assert_all_recorded(&receipts);
    let refused = receipts.iter().filter(|receipt| receipt.status == 503).count();
    let rejected = scene.statistics("writer")["rejected_total"].as_u64().unwrap() as usize;
    // The test's own requests are not among the receipts: the one that found the queue full, and
    // the 5,000.
    assert_eq!(rejected, refused + 1 + 5000);
}

#[test]
fn g6_records_that_cannot_be_written_before_the_shutdown_timeout_are_logged_as_lost() {
    let mut scene = Scene::new(&[("MINTAGE_SERVER__SHUTDOWN_TIMEOUT", "1s")]);
    let client = scene.client();
    // Pinned to one worker, whose cache holds the client from now on.
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
