//! A failing disk: every sync fails for a while, or every write does.

use std::time::{Duration, Instant};

use testkit::eventually;
use testkit::http::Request;
use testkit::load::{Load, received};
use testkit::token::about_token;

use super::site::{GROUP, Site};
use super::strace::Tampering;

const NO_SYNC: &str = "fsync,fdatasync:error=EIO";

/// How long the fault lasts: a few retries of the writer.
const FAULT: Duration = Duration::from_secs(3);

/// Makes the disk fail under load. With `group`, no token may be issued meanwhile; without, every
/// token must be.
pub fn disk_fails(group: bool, fault: &str) {
    let durability = if group { "group" } else { "async" };
    let site = Site::new(&[
        ("MINTAGE_WRITER__DURABILITY", durability),
        ("MINTAGE_DATABASE__QUERY_TIMEOUT", "1s"),
        // Shorter than the fault, so that an open breaker does not hide the fault.
        ("MINTAGE_DATABASE__BREAKER__OPEN_FOR", "500ms"),
    ]);
    let mut server = site.start();
    let operator = site.operator(&server);
    let token = site.token(&server);
    operator.wait_until_all_is_written(Duration::from_secs(5));
    let clients = [site.client.clone()];
    let load = Load::start(server.address, &clients, 4, Duration::from_millis(2));
    eventually("all connections are served", Duration::from_secs(10), || {
        (load.serving() == 4 && load.issued() > 50).then_some(())
    });

    let tampering = Tampering::begin(&site, &server, fault);
    // Records sent before may still be written; records sent from now on cannot be.
    let began = Instant::now();
    while began.elapsed() < FAULT {
        let answer = site.revoke(&server, &token);
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert_eq!(server.send(&Request::get("/livez")).status, 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(tampering.trace().contains("(INJECTED)"));
    let ended = Instant::now();
    tampering.end();

    eventually("tokens are issued again and written", Duration::from_secs(15), || {
        let oldest = operator.ask(Request::get("/admin/writer/stats"));
        let oldest = (oldest.status == 200).then(|| oldest.json()["oldest_unflushed_seconds"].as_f64());
        let issued = server.send(&site.token_request(&[])).status == 200;
        (issued && oldest.flatten()? < 0.7).then_some(())
    });
    eventually("the server is ready", Duration::from_secs(10), || {
        (server.send(&Request::get("/readyz")).status == 200).then_some(())
    });
    assert!(operator.writer("flush_failures_total") > 0);
    assert_eq!(operator.writer("dead_lettered_total"), 0);
    let receipts = load.stop();
    operator.wait_until_all_is_written(Duration::from_secs(5));
    server.kill();

    site.assert_intact();
    site.assert_all_recorded(&receipts);
    let meanwhile = || {
        receipts
            .iter()
            .filter(|receipt| receipt.sent > began && receipt.sent + receipt.took < ended)
    };
    let issued = meanwhile().filter(|receipt| receipt.status == 200).count();
    match group {
        true => assert_eq!(issued, 0),
        false => assert_eq!(issued, meanwhile().count()),
    }
    assert!(
        receipts
            .iter()
            .all(|receipt| receipt.status == 200 || receipt.status == 503 && receipt.retry_after)
    );
    assert!(received(&receipts).len() > 50);
    let server = site.start();
    site.assert_all_recorded(&receipts);
    site.assert_no_secret_in_logs(&receipts);
    assert_eq!(server.send(&about_token("/revoke", &site.client, &token)).status, 200);
    site.assert_inactive(&server, &token);
}

#[test]
fn g3_with_group_durability_a_failing_sync_issues_no_token_and_loses_none() {
    disk_fails(true, NO_SYNC);
}

#[test]
fn records_stay_pending_while_syncs_fail() {
    disk_fails(false, NO_SYNC);
}

#[test]
fn g3_with_group_durability_a_failing_write_issues_no_token_and_loses_none() {
    disk_fails(true, "pwrite64:error=EIO");
}

/// Single syncs fail; each time the record is retried.
fn single_syncs_fail(times: usize) {
    let site = Site::new(&[GROUP]);
    let mut receipts = Vec::new();
    let mut server = site.start();
    for n in 1..=times {
        let clients = [site.client.clone()];
        let load = Load::start(server.address, &clients, 4, Duration::ZERO);
        // The first commit to an empty WAL syncs its header too. Two syncs per attempt, of which
        // every second one fails, would never succeed.
        eventually(
            "a token is recorded before the disk fails",
            Duration::from_secs(20),
            || (load.issued() > 0).then_some(()),
        );
        let tampering = Tampering::begin(&site, &server, &format!("{}:when={n}+{}", NO_SYNC, n + 1));
        eventually("a sync has failed", Duration::from_secs(20), || {
            tampering.trace().contains("(INJECTED)").then_some(())
        });
        let issued = load.issued();
        eventually("tokens are issued despite the failure", Duration::from_secs(20), || {
            (load.issued() > issued + 20).then_some(())
        });
        // Killed while the disk fails, so that nothing can be written before the end.
        server.kill();
        drop(tampering);
        receipts.extend(load.stop());
        site.assert_intact();
        server = site.start();
        site.assert_all_recorded(&receipts);
    }
}

#[test]
fn g3_single_failing_syncs_lose_no_token_through_kill_9() {
    single_syncs_fail(2);
}

#[test]
#[ignore = "takes a minute: scripts/test --soak"]
fn soak_g3_single_failing_syncs_lose_no_token_through_kills() {
    single_syncs_fail(20);
}
