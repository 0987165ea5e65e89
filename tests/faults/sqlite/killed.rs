//! kill −9, at any instant and inside a flush: a token that a client received is recorded (G3), or
//! was issued within the last interval (G4). Inside a change: it is in the audit log if it was made.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::http::{Connection, Request};
use testkit::load::{Load, Receipt, received};
use testkit::token::about_token;
use testkit::{Server, eventually};

use super::site::{GROUP, Site};
use super::strace::Tampering;

const CONNECTIONS: usize = 6;

fn random_below(limit: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) as u32;
    limit.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

fn load(site: &Site, server: &Server, pause: Duration) -> Load {
    let clients = [site.client.clone()];
    Load::start(server.address, &clients, CONNECTIONS, pause)
}

fn killed_at_any_instant(rounds: usize) {
    let site = Site::new(&[GROUP]);
    let mut receipts = Vec::new();
    for _ in 0..rounds {
        let mut server = site.start();
        site.assert_all_recorded(&receipts);
        let load = load(&site, &server, Duration::ZERO);
        // Enough in each round for the check at the end, however slow the disk is.
        eventually("tokens are issued", Duration::from_secs(30), || {
            (load.issued() > 10).then_some(())
        });
        // The random instant of the kill.
        std::thread::sleep(random_below(Duration::from_millis(150)));
        server.kill();
        receipts.extend(load.stop());
    }
    site.start();
    site.assert_all_recorded(&receipts);
    site.assert_intact();
    site.assert_no_secret_in_logs(&receipts);
    assert!(received(&receipts).len() > 10 * rounds, "{}", received(&receipts).len());
}

#[test]
fn g3_a_token_that_was_issued_is_recorded_through_kill_9_at_any_instant() {
    killed_at_any_instant(8);
}

#[test]
#[ignore = "200 kills take a few minutes: scripts/test --soak"]
fn soak_g3_a_token_that_was_issued_is_recorded_through_200_kills() {
    killed_at_any_instant(200);
}

/// Requests and revokes tokens until the server is gone; returns those whose revocation was
/// acknowledged.
fn revoke_until_gone(site: &Site, server: &Server) -> Vec<String> {
    let mut revoked = Vec::new();
    let Some(mut connection) = Connection::try_open(server.address) else {
        return revoked;
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Some(answer) = connection.try_ask(&site.token_request(&[])) {
        assert!(Instant::now() < deadline, "the server still runs");
        if answer.status != 200 {
            continue;
        }
        let token = answer.access_token();
        match connection.try_ask(&about_token("/revoke", &site.client, &token)) {
            Some(answer) if answer.status == 200 => revoked.push(token),
            Some(_) => {}
            None => break,
        }
    }
    revoked
}

/// Kills the server at the nth write or sync of the first thread that reaches it; returns all
/// responses and the tokens whose revocation was acknowledged.
fn killed_at(site: &Site, call: &str, n: usize) -> (Vec<Receipt>, Vec<String>) {
    let mut server = site.start();
    let load = load(site, &server, Duration::ZERO);
    let mut tampering = Tampering::begin(site, &server, &format!("{call}:signal=SIGKILL:when={n}"));
    let revoked = revoke_until_gone(site, &server);
    assert_eq!(server.exit_code(), None, "a signal ended it");
    let receipts = load.stop();
    // strace may write the last lines after the server is gone.
    tampering.wait();
    assert!(tampering.trace().contains("SIGKILL"), "{}", tampering.trace());
    (receipts, revoked)
}

fn killed_inside_a_flush(calls: impl IntoIterator<Item = (&'static str, usize)>) {
    let site = Site::new(&[GROUP]);
    let (mut receipts, mut revoked) = (Vec::new(), Vec::new());
    for (call, n) in calls {
        let (more_receipts, more_revoked) = killed_at(&site, call, n);
        receipts.extend(more_receipts);
        revoked.extend(more_revoked);
        site.assert_intact();
        site.assert_all_recorded(&receipts);
    }
    let server = site.start();
    site.assert_all_recorded(&receipts);
    site.assert_intact();
    for token in &revoked {
        site.assert_inactive(&server, token);
    }
    assert!(!received(&receipts).is_empty() && !revoked.is_empty());
}

#[test]
fn g3_g1_a_kill_inside_a_flush_loses_no_token_and_no_revocation() {
    killed_inside_a_flush([
        ("pwrite64", 1),
        ("pwrite64", 6),
        ("pwrite64", 33),
        ("fsync", 1),
        ("fsync", 9),
    ]);
}

#[test]
#[ignore = "a hundred kills take a few minutes: scripts/test --soak"]
fn soak_g3_g1_a_kill_at_each_write_of_a_flush_loses_no_token_and_no_revocation() {
    let writes = (1..=70).map(|n| ("pwrite64", n));
    // A checkpoint comes after a thousand pages.
    let late = (1..=10).map(|n| ("pwrite64", n * 211));
    killed_inside_a_flush(writes.chain(late).chain((1..=20).map(|n| ("fsync", n))));
}

/// Creates clients until the server is gone, which is killed at the nth write or sync of the first
/// thread that reaches it; returns the ids of those whose creation was acknowledged.
fn create_until_killed_at(site: &Site, call: &str, n: usize) -> Vec<String> {
    let mut server = site.start();
    let operator = site.operator(&server);
    let create = Request::post("/admin/clients")
        .bearer(&operator.token)
        .json(&json!({"name": "n", "scope": "orders:read"}));
    let mut connection = Connection::open(server.address);
    let mut tampering = Tampering::begin(site, &server, &format!("{call}:signal=SIGKILL:when={n}"));
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut created = Vec::new();
    while let Some(answer) = connection.try_ask(&create) {
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert!(Instant::now() < deadline, "the server still runs");
        created.push(answer.json()["client_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(server.exit_code(), None, "a signal ended it");
    tampering.wait();
    assert!(tampering.trace().contains("SIGKILL"), "{}", tampering.trace());
    created
}

#[test]
fn a_kill_at_each_write_of_a_change_leaves_the_audit_log_whole() {
    let site = Site::new(&[GROUP]);
    let mut created = Vec::new();
    // A change is about ten pages, of two writes each.
    let writes = (1..=30).map(|n| ("pwrite64", n));
    for (call, n) in writes.chain([("fsync", 1)]) {
        created.extend(create_until_killed_at(&site, call, n));
        site.assert_audit_log_agrees_with_clients(&created);
    }
    // The next line continues the chain.
    site.new_client();
    site.assert_audit_log_agrees_with_clients(&created);
    site.assert_intact();
    assert!(!created.is_empty());
}

/// What a crash may lose with `durability = "async"`: at most the last second (G4).
const WINDOW: Duration = Duration::from_secs(1);

fn killed_between_two_flushes(rounds: usize) {
    // In memory, because a single sync of a shared disk may take longer than all the rest.
    let site = Site::in_memory(&[]);
    let mut unrecorded = 0;
    for round in 0..rounds {
        let mut server = site.start();
        // Slow enough that the interval ends a batch, then fast enough that the batch size does.
        let pause = [Duration::from_millis(10), Duration::ZERO][round % 2];
        let load = load(&site, &server, pause);
        // Long enough that some tokens must be recorded by then.
        std::thread::sleep(WINDOW + Duration::from_millis(200) + random_below(Duration::from_millis(500)));
        server.kill();
        let killed = Instant::now();
        let receipts = load.stop();
        let lost = site.unrecorded(&receipts);
        for receipt in &lost {
            let age = killed.saturating_duration_since(receipt.sent + receipt.took);
            assert!(age < WINDOW, "received {age:?} before the kill");
        }
        unrecorded += lost.len();
        let early = receipts.iter().filter(|receipt| receipt.sent + WINDOW < killed);
        assert!(early.count() > 0);
    }
    site.start();
    site.assert_intact();
    assert!(unrecorded > 0, "no kill came between two flushes");
}

#[test]
fn g4_without_group_durability_kill_9_loses_only_records_of_the_last_flush_interval() {
    killed_between_two_flushes(2);
}

#[test]
#[ignore = "50 kills take two minutes: scripts/test --soak"]
fn soak_g4_fifty_kills_lose_only_records_of_the_last_flush_interval() {
    killed_between_two_flushes(50);
}
