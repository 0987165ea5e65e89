//! A record that SQLite refuses: it is given up alone.

use std::time::Duration;

use testkit::http::Connection;
use testkit::load::Load;
use testkit::token::{jti, token_request};
use testkit::{TestClient, eventually};

use super::site::{GROUP, Site};

fn refuse(site: &Site, condition: &str) {
    site.sql(&format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON tokens WHEN {condition} BEGIN SELECT RAISE(ABORT, 'no'); END"
    ));
}

fn refuse_records_of(site: &Site, client: &TestClient) {
    refuse(site, &format!("NEW.client_id = '{}'", client.id));
}

#[test]
fn a_record_that_is_refused_is_given_up_alone() {
    // Long enough to find out an id and to forbid it, before anything is written.
    let site = Site::new(&[("MINTAGE_WRITER__FLUSH_INTERVAL", "2s")]);
    let server = site.start();
    let operator = site.operator(&server);
    let mut ids: Vec<String> = (0..40).map(|_| jti(&site.token(&server))).collect();
    let poison = ids.remove(17);
    refuse(&site, &format!("NEW.jti = '{poison}'"));
    operator.wait_until_all_is_written(Duration::from_secs(10));
    let recorded = site.recorded();
    assert!(ids.iter().all(|id| recorded.contains(id)));
    assert!(!recorded.contains(&poison));
    assert_eq!(operator.writer("dead_lettered_total"), 1);
    let line = format!("token record dead-lettered jti={poison}");
    assert!(server.log().contains(&line));
    site.assert_discreet(&[]);
}

#[test]
fn g3_with_group_durability_whose_record_is_refused_gets_no_token_and_others_do() {
    const TRIES: u64 = 10;
    let site = Site::new(&[GROUP]);
    let poison = site.new_client();
    refuse_records_of(&site, &poison);
    let server = site.start();
    let operator = site.operator(&server);
    let clients = [site.client.clone()];
    let load = Load::start(server.address, &clients, 4, Duration::from_millis(1));
    for _ in 0..TRIES {
        server.send(&token_request(&poison, &[])).assert_unavailable();
    }
    let receipts = load.stop();
    // One that came at the end has nobody beside it to be compared with.
    site.token(&server);
    operator.wait_until_all_is_written(Duration::from_secs(10));
    assert!(receipts.iter().all(|receipt| receipt.status == 200));
    assert!(receipts.len() > 10);
    site.assert_all_recorded(&receipts);
    let given_up = operator.writer("dead_lettered_total");
    // Not counted is one that came alone and was given up because its caller had been answered.
    assert!(given_up > 0 && given_up <= TRIES, "{given_up}");
    assert_eq!(site.recorded_of(&poison), 0);
    site.assert_discreet(&receipts);
}

#[test]
fn g3_with_group_durability_a_record_that_is_refused_alone_holds_up_nobody_for_long() {
    let site = Site::new(&[GROUP, ("MINTAGE_DATABASE__QUERY_TIMEOUT", "500ms")]);
    let poison = site.new_client();
    refuse_records_of(&site, &poison);
    let server = site.start();
    let operator = site.operator(&server);
    server.send(&token_request(&poison, &[])).assert_unavailable();
    eventually("it is given up", Duration::from_secs(5), || {
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
        "it is not tried again"
    );
}
