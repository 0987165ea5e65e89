//! A record that SQLite rejects becomes a dead letter without affecting other records.

use std::time::Duration;

use testkit::http::Connection;
use testkit::load::Load;
use testkit::token::{jti, token_request};
use testkit::{TestClient, eventually};

use super::site::{GROUP, Site};

/// A statement: from now on, the database rejects the records for which a condition is true.
fn reject_records(condition: &str) -> String {
    format!("CREATE TRIGGER reject BEFORE INSERT ON tokens WHEN {condition} BEGIN SELECT RAISE(ABORT, 'no'); END")
}

fn reject_records_of(site: &Site, client: &TestClient) {
    site.sql(&reject_records(&format!("NEW.client_id = '{}'", client.id)));
}

#[test]
fn only_the_record_that_the_database_rejects_becomes_a_dead_letter() {
    let site = Site::new(&[]);
    let server = site.start();
    let operator = site.operator(&server);
    // Nothing is written between the choice of an id and its rejection, however long that takes.
    let lock = site.lock();
    let mut ids: Vec<String> = (0..40).map(|_| jti(&site.token(&server))).collect();
    let poison = ids.remove(17);
    lock.commit(&reject_records(&format!("NEW.jti = '{poison}'")));
    operator.wait_until_all_is_written(Duration::from_secs(10));
    let recorded = site.recorded();
    assert!(ids.iter().all(|id| recorded.contains(id)));
    assert!(!recorded.contains(&poison));
    assert_eq!(operator.writer("dead_lettered_total"), 1);
    let line = format!("token record dead-lettered jti={poison}");
    assert!(server.log().contains(&line));
    site.assert_no_secret_in_logs(&[]);
}

#[test]
fn g3_with_group_durability_a_client_whose_record_is_rejected_gets_no_token_and_others_do() {
    const TRIES: u64 = 10;
    let site = Site::new(&[GROUP]);
    let poison = site.new_client();
    reject_records_of(&site, &poison);
    let server = site.start();
    let operator = site.operator(&server);
    let clients = [site.client.clone()];
    let load = Load::start(server.address, &clients, 4, Duration::from_millis(1));
    for _ in 0..TRIES {
        server.send(&token_request(&poison, &[])).assert_unavailable();
    }
    let receipts = load.stop();
    // A last valid record, so that the last rejected one is not alone in its batch.
    site.token(&server);
    operator.wait_until_all_is_written(Duration::from_secs(10));
    assert!(receipts.iter().all(|receipt| receipt.status == 200));
    assert!(receipts.len() > 10);
    site.assert_all_recorded(&receipts);
    let dead_lettered = operator.writer("dead_lettered_total");
    // A record that failed alone, after its caller had been answered, does not count as a dead
    // letter.
    assert!(dead_lettered > 0 && dead_lettered <= TRIES, "{dead_lettered}");
    assert_eq!(site.recorded_of(&poison), 0);
    site.assert_no_secret_in_logs(&receipts);
}

#[test]
fn g3_with_group_durability_a_rejected_record_alone_in_its_batch_does_not_block_others_for_long() {
    // In memory and with the default query timeout, because on a busy machine a single commit to
    // its disk may take longer than the half second that would make this test shorter.
    let site = Site::in_memory(&[GROUP]);
    let poison = site.new_client();
    reject_records_of(&site, &poison);
    let server = site.start();
    let operator = site.operator(&server);
    server.send(&token_request(&poison, &[])).assert_unavailable();
    // Its caller has waited for the query timeout. It is dropped at the next retry, at most 2 s
    // later.
    eventually("the record is discarded", Duration::from_secs(10), || {
        (operator.writer("pending") == 0).then_some(())
    });
    assert_eq!(site.recorded_of(&poison), 0);
    let failures = operator.writer("flush_failures_total");
    let mut connection = Connection::open(server.address);
    for _ in 0..20 {
        assert_eq!(connection.ask(&site.token_request(&[])).status, 200);
    }
    assert_eq!(
        operator.writer("flush_failures_total"),
        failures,
        "the record is not retried"
    );
}
