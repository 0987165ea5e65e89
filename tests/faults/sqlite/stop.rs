//! G6: the orderly stop under load, and what it says when the database does not let it be one.

use std::time::Duration;

use testkit::eventually;
use testkit::load::{Load, Receipt, received};

use super::site::{GROUP, Site};

/// That the server left no request unanswered that was its to answer: one on a connection that it had served before.
#[track_caller]
fn assert_all_answered(receipts: &[Receipt]) {
    let unanswered = receipts
        .iter()
        .filter(|receipt| receipt.kept_alive && receipt.status == 0);
    assert_eq!(unanswered.count(), 0, "of {}", receipts.len());
}

fn stopped_under_load(connections: usize, rounds: usize) {
    for round in 0..rounds {
        // What waits for an hour is what the stop must write.
        let durability = [("MINTAGE_WRITER__FLUSH_INTERVAL", "1h"), GROUP][round % 2];
        let site = Site::new(&[durability]);
        let mut server = site.start();
        let clients = [site.client.clone()];
        let load = Load::start(server.address, &clients, connections, Duration::from_millis(5));
        eventually("all ask", Duration::from_secs(20), || {
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
fn g6_a_stop_under_load_answers_everything_and_records_everything() {
    stopped_under_load(100, 2);
}

#[test]
#[ignore = "takes a minute: scripts/test --soak"]
fn soak_g6_twenty_stops_under_load_answer_everything_and_record_everything() {
    stopped_under_load(400, 20);
}

#[test]
fn g6_a_stop_past_its_deadline_says_how_many_records_are_lost() {
    let site = Site::new(&[
        ("MINTAGE_SERVER__SHUTDOWN_TIMEOUT", "1s"),
        ("MINTAGE_DATABASE__QUERY_TIMEOUT", "500ms"),
    ]);
    let mut server = site.start();
    let clients = [site.client.clone()];
    let load = Load::start(server.address, &clients, 20, Duration::from_millis(5));
    eventually("some are written", Duration::from_secs(10), || {
        (!site.recorded().is_empty()).then_some(())
    });
    let lock = site.lock();
    let issued = load.issued();
    eventually("some wait", Duration::from_secs(10), || {
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
    // What it did not say is lost is there.
    drop(site.start());
    assert_eq!(site.unrecorded(&receipts).len(), lost);
}
