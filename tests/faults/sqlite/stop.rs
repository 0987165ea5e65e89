//! G6: the graceful stop under load, and what is logged when the database prevents it.

use std::time::Duration;

use testkit::eventually;
use testkit::load::{Load, Receipt, received};

use super::site::{GROUP, Site};

/// Asserts that the server answered every request that it had to: those on connections that it had
/// served before.
#[track_caller]
fn assert_all_answered(receipts: &[Receipt]) {
    let unanswered = receipts
        .iter()
        .filter(|receipt| receipt.kept_alive && receipt.status == 0);
    assert_eq!(unanswered.count(), 0, "of {}", receipts.len());
}

fn stopped_under_load(connections: usize, rounds: usize) {
    for round in 0..rounds {
        // With a long flush interval, the stop itself must write the records.
        let durability = [("MINTAGE_WRITER__FLUSH_INTERVAL", "1h"), GROUP][round % 2];
        let site = Site::new(&[durability]);
        let mut server = site.start();
        let clients = [site.client.clone()];
        let load = Load::start(server.address, &clients, connections, Duration::from_millis(5));
        eventually("all connections are in use", Duration::from_secs(20), || {
            (load.issued() > 3 * connections).then_some(())
        });
        server.signal("TERM");
        assert_eq!(server.exit_code(), Some(0));
        let receipts = load.stop();
        assert_all_answered(&receipts);
        assert!(receipts.iter().all(|receipt| matches!(receipt.status, 0 | 200)));
        site.assert_all_recorded(&receipts);
        site.assert_intact();
    }
}

#[test]
fn g6_a_stop_under_load_answers_every_request_and_records_every_token() {
    stopped_under_load(100, 2);
}

#[test]
#[ignore = "takes a minute: scripts/test --soak"]
fn soak_g6_twenty_stops_under_load_answer_every_request_and_record_every_token() {
    stopped_under_load(400, 20);
}

#[test]
fn g6_a_stop_past_its_timeout_logs_how_many_records_are_lost() {
    let site = Site::new(&[
        ("MINTAGE_SERVER__SHUTDOWN_TIMEOUT", "1s"),
        ("MINTAGE_DATABASE__QUERY_TIMEOUT", "500ms"),
    ]);
    let mut server = site.start();
    let clients = [site.client.clone()];
    let load = Load::start(server.address, &clients, 20, Duration::from_millis(5));
    eventually("some records are written", Duration::from_secs(10), || {
        (!site.recorded().is_empty()).then_some(())
    });
    let lock = site.lock();
    let issued = load.issued();
    eventually("some records are pending", Duration::from_secs(10), || {
        (load.issued() > issued + 100).then_some(())
    });
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(1));
    drop(lock);
    let receipts = load.stop();
    assert_all_answered(&receipts);
    let lost = site.unrecorded(&receipts).len();
    assert!(lost > 100 && lost < received(&receipts).len());
    let log = server.log();
    assert!(
        log.contains(&format!("ERROR token records lost count={lost}\n")),
        "{lost} lost"
    );
    // Every record that was not logged as lost is in the table.
    drop(site.start());
    assert_eq!(site.unrecorded(&receipts).len(), lost);
}
