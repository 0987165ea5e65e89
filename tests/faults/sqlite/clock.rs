//! The machine's clock is wrong by an hour, from the start or after a jump: a revoked token stays
//! revoked (G1).

use std::path::PathBuf;
use std::time::Duration;

use testkit::gateway::forwarded;
use testkit::load::Load;
use testkit::token::{about_token, claims};
use testkit::{Server, eventually};

use super::site::Site;

/// A token expires long before the hour is over.
const TTL: (&str, &str) = ("MINTAGE_TOKEN__TTL", "30m");

const RIGHT: &str = "+0";
const FAST: &str = "+1h";
const SLOW: &str = "-1h";

/// A clock that a test sets, also while a server uses it.
struct Clock {
    file: PathBuf,
}

impl Clock {
    fn of(site: &Site) -> Self {
        let clock = Self {
            file: site.path("clock"),
        };
        clock.set(RIGHT);
        clock
    }

    fn set(&self, offset: &str) {
        // Atomically, because the servers read the file all the time.
        let new = self.file.with_extension("new");
        std::fs::write(&new, offset).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    /// Sets the clock and waits until the server uses it.
    fn jump(&self, site: &Site, server: &Server, offset: &str) {
        let issued_at = || claims(&site.token(server))["iat"].as_i64().unwrap();
        let before = issued_at();
        self.set(offset);
        eventually("the clock has jumped", Duration::from_secs(10), || {
            ((issued_at() - before).abs() > 1800).then_some(())
        });
    }

    /// Starts a server that uses this clock as its system clock. The monotonic clock is not faked.
    fn start(&self, site: &Site) -> Server {
        let library = library();
        let mut server = site.spawn(&[
            "env",
            &format!("LD_PRELOAD={}", library.display()),
            &format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "DONT_FAKE_MONOTONIC=1",
        ]);
        server.wait_until_it_listens().expect("the server ended");
        server.wait_until_ready();
        server
    }

    fn start_at(&self, site: &Site, offset: &str) -> Server {
        self.set(offset);
        self.start(site)
    }
}

/// Debian has one folder per architecture.
fn library() -> PathBuf {
    let kinds = std::fs::read_dir("/usr/lib").unwrap();
    kinds
        .filter_map(|kind| {
            let library = kind.ok()?.path().join("faketime/libfaketimeMT.so.1");
            library.exists().then_some(library)
        })
        .next()
        .expect("libfaketime is missing: apt-get install libfaketime")
}

#[track_caller]
fn revoke(site: &Site, server: &Server, token: &str) {
    assert_eq!(site.revoke(server, token).status, 200);
}

#[track_caller]
fn stop(mut server: Server) {
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[track_caller]
fn assert_no_panic(site: &Site) {
    let logs = site.logs();
    assert!(!logs.contains("panicked"), "{logs}");
}

#[test]
fn g1_a_revoked_token_stays_revoked_through_restarts_with_the_clock_set_forward_and_back() {
    let site = Site::new(&[TTL]);
    let clock = Clock::of(&site);
    let server = clock.start(&site);
    let (revoked, other) = (site.token(&server), site.token(&server));
    let redeemed = site.one_time_token(&server);
    revoke(&site, &server, &revoked);
    assert_eq!(server.send(&forwarded("GET", "/orders").bearer(&redeemed)).status, 200);
    stop(server);
    for (offset, expired) in [
        (FAST, true),
        (RIGHT, false),
        (SLOW, false),
        (FAST, true),
        (RIGHT, false),
    ] {
        let server = clock.start_at(&site, offset);
        site.assert_inactive(&server, &revoked);
        site.assert_inactive(&server, &redeemed);
        match expired {
            true => site.assert_inactive(&server, &other),
            false => site.assert_active(&server, &other),
        }
        site.assert_active(&server, &site.token(&server));
        stop(server);
    }
    site.assert_intact();
    assert_no_panic(&site);
}

#[test]
fn g1_a_revoked_token_stays_revoked_when_the_clock_jumps() {
    let site = Site::new(&[TTL]);
    let clock = Clock::of(&site);
    let server = clock.start(&site);
    let load = Load::start(
        server.address,
        std::slice::from_ref(&site.client),
        2,
        Duration::from_millis(5),
    );
    let (early, late, other) = (site.token(&server), site.token(&server), site.token(&server));
    revoke(&site, &server, &early);
    clock.jump(&site, &server, FAST);
    for token in [&early, &late, &other] {
        site.assert_inactive(&server, token);
    }
    // By the wrong clock, this token has expired already; it is revoked all the same.
    revoke(&site, &server, &late);
    clock.jump(&site, &server, RIGHT);
    site.assert_inactive(&server, &early);
    site.assert_inactive(&server, &late);
    site.assert_active(&server, &other);
    clock.jump(&site, &server, SLOW);
    site.assert_inactive(&server, &early);
    site.assert_inactive(&server, &late);
    let receipts = load.stop();
    assert!(receipts.iter().all(|receipt| receipt.status == 200));
    stop(server);
    site.assert_all_recorded(&receipts);
    let server = clock.start_at(&site, RIGHT);
    site.assert_inactive(&server, &early);
    site.assert_inactive(&server, &late);
    assert_no_panic(&site);
}

#[test]
fn g1_a_revoked_token_stays_revoked_when_a_clock_that_was_fast_at_the_start_is_corrected() {
    let site = Site::new(&[TTL]);
    let clock = Clock::of(&site);
    let server = clock.start(&site);
    let (revoked, other) = (site.token(&server), site.token(&server));
    revoke(&site, &server, &revoked);
    drop(server);
    let server = clock.start_at(&site, FAST);
    clock.jump(&site, &server, RIGHT);
    site.assert_inactive(&server, &revoked);
    // Other tokens are active again once all revocations are loaded.
    eventually("the other token is active", Duration::from_secs(10), || {
        let introspection = server.send(&about_token("/introspect", &site.client, &other));
        (introspection.json()["active"] == true).then_some(())
    });
    site.assert_inactive(&server, &revoked);
    assert_no_panic(&site);
}

/// Expired revocations are removed from memory once a minute.
#[test]
#[ignore = "takes a minute and a half: scripts/test --soak"]
fn soak_g1_a_revoked_token_stays_revoked_when_its_revocation_was_forgotten_by_a_fast_clock() {
    let site = Site::new(&[TTL]);
    let clock = Clock::of(&site);
    let server = clock.start(&site);
    let (revoked, other) = (site.token(&server), site.token(&server));
    revoke(&site, &server, &revoked);
    clock.jump(&site, &server, FAST);
    eventually("the revocation is forgotten", Duration::from_secs(90), || {
        server.log().contains("expired revocations removed").then_some(())
    });
    clock.jump(&site, &server, RIGHT);
    for _ in 0..200 {
        site.assert_inactive(&server, &revoked);
        std::thread::sleep(Duration::from_millis(10));
    }
    eventually("the other token is active", Duration::from_secs(10), || {
        let introspection = server.send(&about_token("/introspect", &site.client, &other));
        (introspection.json()["active"] == true).then_some(())
    });
    site.assert_inactive(&server, &revoked);
}
