//! A revoked token stays revoked (G1) and a redeemed token stays redeemed (G5), through kills, late
//! records and cleanup.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use testkit::gateway::forwarded;
use testkit::http::Connection;
use testkit::token::jti;
use testkit::{Server, eventually};

use super::site::{GROUP, Site};

/// No automatic flush happens during a test.
const NO_FLUSH: (&str, &str) = ("MINTAGE_WRITER__FLUSH_INTERVAL", "1h");

#[track_caller]
fn revoke(site: &Site, server: &Server, token: &str) {
    assert_eq!(site.revoke(server, token).status, 200);
}

#[test]
fn g1_a_revoked_token_stays_revoked_through_kill_9() {
    for durability in [NO_FLUSH, GROUP] {
        let site = Site::new(&[durability]);
        let mut server = site.start();
        let (revoked, other) = (site.token(&server), site.token(&server));
        revoke(&site, &server, &revoked);
        server.kill();
        let server = site.start();
        site.assert_inactive(&server, &revoked);
        site.assert_active(&server, &other);
    }
}

#[test]
fn g1_a_record_written_after_its_token_was_revoked_does_not_reactivate_the_token() {
    let site = Site::new(&[]);
    let server = site.start();
    // The writer keeps the record, however long the revocation takes.
    site.sql("CREATE TRIGGER wait BEFORE INSERT ON tokens BEGIN SELECT RAISE(ABORT, 'not yet'); END");
    let token = site.token(&server);
    revoke(&site, &server, &token);
    assert!(!site.recorded().contains(&jti(&token)), "the record is still pending");
    site.sql("DROP TRIGGER wait");
    eventually("the record is written", Duration::from_secs(10), || {
        site.recorded().contains(&jti(&token)).then_some(())
    });
    site.assert_inactive(&server, &token);
    drop(server);
    site.assert_inactive(&site.start(), &token);
}

#[test]
fn g1_a_graceful_stop_flushes_the_record_and_keeps_the_revocation() {
    let site = Site::new(&[NO_FLUSH]);
    let mut server = site.start();
    let token = site.token(&server);
    revoke(&site, &server, &token);
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    assert!(site.recorded().contains(&jti(&token)));
    site.assert_inactive(&site.start(), &token);
}

#[test]
fn g1_a_revoked_token_stays_revoked_when_its_record_and_the_change_log_are_removed() {
    let site = Site::new(&[GROUP]);
    let server = site.start();
    let (revoked, other) = (site.token(&server), site.token(&server));
    revoke(&site, &server, &revoked);
    site.sql("DELETE FROM tokens; DELETE FROM changes");
    site.assert_inactive(&server, &revoked);
    drop(server);
    let server = site.start();
    site.assert_inactive(&server, &revoked);
    site.assert_active(&server, &other);
}

#[test]
fn g1_an_acknowledged_revocation_is_in_effect_and_an_unacknowledged_one_may_be() {
    let site = Site::new(&[("MINTAGE_DATABASE__QUERY_TIMEOUT", "400ms")]);
    let mut server = site.start();
    let token = site.token(&server);
    let lock = site.lock();
    let answer = site.revoke(&server, &token);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    drop(lock);
    eventually("the token can be revoked", Duration::from_secs(10), || {
        (site.revoke(&server, &token).status == 200).then_some(())
    });
    site.assert_inactive(&server, &token);
    server.kill();
    site.assert_inactive(&site.start(), &token);
}

/// Redeems each token once in turn until the server is gone; returns the indexes of those that were
/// accepted. Adds them to `count`.
fn redeem_until_gone(server: SocketAddr, tokens: &[String], count: &AtomicUsize) -> Vec<usize> {
    let Some(mut connection) = Connection::try_open(server) else {
        return Vec::new();
    };
    let mut accepted = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match connection.try_ask(&forwarded("GET", "/orders").bearer(token)) {
            Some(answer) if answer.status == 200 => {
                accepted.push(index);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Some(_) => {}
            None => break,
        }
    }
    accepted
}

fn redeemed_across_kills(rounds: usize) {
    const TOKENS: usize = 80;
    const USERS: usize = 4;
    let site = Site::new(&[("MINTAGE_TOKEN__ONE_TIME_TTL", "1h")]);
    let mut cut_short = 0;
    for round in 0..rounds {
        let mut server = site.start();
        let tokens: Vec<String> = (0..TOKENS).map(|_| site.one_time_token(&server)).collect();
        let (address, count) = (server.address, AtomicUsize::new(0));
        let before: Vec<usize> = std::thread::scope(|scope| {
            let users: Vec<_> = (0..USERS)
                .map(|_| scope.spawn(|| redeem_until_gone(address, &tokens, &count)))
                .collect();
            // A different instant in each round: by redemptions and not by time, because the disk
            // decides how many of them fit into a time.
            eventually("some tokens are redeemed", Duration::from_secs(30), || {
                (count.load(Ordering::Relaxed) > round % 8 * (TOKENS / 10)).then_some(())
            });
            server.kill();
            users.into_iter().flat_map(|user| user.join().unwrap()).collect()
        });
        let restarted = site.start();
        let after = redeem_until_gone(restarted.address, &tokens, &count);
        for index in 0..TOKENS {
            let redemptions = before
                .iter()
                .chain(&after)
                .filter(|redeemed| **redeemed == index)
                .count();
            assert!(redemptions <= 1, "redeemed {redemptions} times");
        }
        cut_short += usize::from(before.len() < TOKENS && !before.is_empty());
    }
    assert!(cut_short > 0, "no kill came between two redemptions");
}

#[test]
fn g5_a_one_time_token_is_redeemed_at_most_once_through_kills() {
    redeemed_across_kills(4);
}

#[test]
#[ignore = "a hundred kills take a minute: scripts/test --soak"]
fn soak_g5_one_time_tokens_are_redeemed_at_most_once_through_a_hundred_kills() {
    redeemed_across_kills(100);
}

#[test]
fn g5_a_redeemed_token_stays_redeemed_through_kill_9() {
    let site = Site::new(&[NO_FLUSH]);
    let mut server = site.start();
    let token = site.one_time_token(&server);
    assert_eq!(server.send(&forwarded("GET", "/orders").bearer(&token)).status, 200);
    server.kill();
    site.assert_inactive(&site.start(), &token);
}
