//! Redis stopped, hung, emptied, partitioned or slow affects latency and nothing else.

use std::time::{Duration, Instant};

use testkit::proxy::RedisProxy;
use testkit::redis::Redis;
use testkit::{Server, TestClient, eventually};

use crate::site::{POLL_TIMEOUT, Site, await_redis, count, is_active, metric, revoke, start, token, token_status};

/// How long a change may take on a busy machine: an instance whose change feed is older denies
/// requests. `soak_g2` measures that 99.9 % of the changes take at most a second.
const LIMIT: Duration = Duration::from_secs(5);

/// Asserts everything that instances guarantee to each other, against records of the test itself.
fn assert_guarantees_hold(site: &Site) {
    let [a, b] = [&site.instances[0], &site.instances[1]];
    let checker = a.client("orders:read", &["--introspection-audience", "http://127.0.0.1:8080"]);
    let clients: Vec<TestClient> = (0..8).map(|_| site.client()).collect();
    // Cached by no instance, then by one, then by both.
    for instance in [a, b, a, b] {
        for client in &clients {
            let answer = token(instance, client);
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    // A client that is disabled and enabled.
    follows(b, &clients[0], 401, || {
        drop(a.run_json(&["client", "disable", &clients[0].id]))
    });
    follows(a, &clients[0], 200, || {
        drop(b.run_json(&["client", "enable", &clients[0].id]))
    });
    // A token that is revoked.
    let revoked = token(a, &checker).access_token();
    assert!(is_active(b, &checker, &revoked));
    revoke(a, &checker, &revoked);
    assert!(!is_active(a, &checker, &revoked));
    eventually("the revocation is known", LIMIT, || {
        (!is_active(b, &checker, &revoked)).then_some(())
    });
    for instance in [a, b] {
        assert_eq!(instance.send(&testkit::http::Request::get("/readyz")).status, 200);
    }
}

/// The status of token requests becomes `status` within `LIMIT` of the change, and stays.
fn follows(instance: &Server, client: &TestClient, status: u16, change: impl FnOnce()) {
    change();
    eventually("the change is in effect", LIMIT, || {
        (token_status(instance, client) == status).then_some(())
    });
    let changed = Instant::now();
    while changed.elapsed() < Duration::from_millis(1200) {
        assert_eq!(token_status(instance, client), status, "the change was undone");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn await_no_redis(site: &Site) {
    for instance in &site.instances {
        eventually("the instance has noticed", POLL_TIMEOUT, || {
            (metric(instance, "mintage_redis_up") == Some(0.0)).then_some(())
        });
    }
}

/// Both instances are connected again: they receive each other's announcements.
fn assert_reconnected(site: &Site) {
    site.instances.iter().for_each(await_redis);
    let received = || -> Vec<u64> {
        let of = |instance| count(instance, "mintage_redis_received_total");
        site.instances.iter().map(of).collect()
    };
    let before = received();
    eventually("the instances receive each other's announcements", POLL_TIMEOUT, || {
        let client = site.client();
        assert_eq!(token_status(&site.instances[0], &client), 200);
        received()
            .iter()
            .zip(&before)
            .all(|(now, before)| now > before)
            .then_some(())
    });
}

#[test]
fn guarantees_hold_while_redis_is_stopped() {
    let site = Site::of(2, &[]);
    assert_guarantees_hold(&site);
    site.redis.stop();
    assert_guarantees_hold(&site);
    await_no_redis(&site);
    assert_guarantees_hold(&site);
    site.redis.start_again();
    assert_guarantees_hold(&site);
    assert_reconnected(&site);
}

#[test]
fn guarantees_hold_while_redis_hangs() {
    let site = Site::of(2, &[]);
    site.redis.hang();
    assert_guarantees_hold(&site);
    await_no_redis(&site);
    assert_guarantees_hold(&site);
    site.redis.resume();
    assert_guarantees_hold(&site);
    assert_reconnected(&site);
}

#[test]
fn guarantees_hold_after_redis_was_emptied() {
    let site = Site::of(2, &[]);
    let clients = site.shared_clients(5);
    let other = &site.instances[1];
    site.await_peer_cache(other);
    site.redis.say(&["FLUSHALL"]);
    let hits = site.hits(other, || {
        for client in &clients {
            assert_eq!(token_status(other, client), 200);
        }
    });
    assert_eq!(hits, 0);
    assert_guarantees_hold(&site);
}

#[test]
fn guarantees_hold_while_one_instance_cannot_reach_redis() {
    let mut site = Site::of(1, &[]);
    let proxy = RedisProxy::before(site.redis.address());
    site.add_through(&proxy.url(), &[("RUST_LOG", "mintage=debug")]);
    site.await_peer_cache(&site.instances[1]);
    let shared = site.shared_clients(3);
    proxy.swallow();
    assert_guarantees_hold(&site);
    eventually("the instance has noticed", POLL_TIMEOUT, || {
        (metric(&site.instances[1], "mintage_redis_up") == Some(0.0)).then_some(())
    });
    eventually(
        "the instance has noticed that announcements are missing",
        POLL_TIMEOUT,
        || {
            site.instances[1]
                .log()
                .contains("redis subscription lost")
                .then_some(())
        },
    );
    // The instance does not receive this change's announcement; afterwards, it must not use values
    // that are older than the change.
    site.instances[0].run_json(&["client", "disable", &shared[0].id]);
    proxy.pass();
    assert_guarantees_hold(&site);
    assert_eq!(token_status(&site.instances[1], &shared[0]), 401);
    assert_reconnected(&site);
}

#[test]
fn a_slow_redis_is_not_waited_for() {
    let mut site = Site::on(Redis::start());
    let proxy = RedisProxy::before(site.redis.address());
    site.add_through(&proxy.url(), &[]);
    site.add_through(&proxy.url(), &[]);
    proxy.delay(Duration::from_millis(40));
    assert_guarantees_hold(&site);
    // Announcements still arrive, only later; lookups of clients stop after a few timeouts.
    assert_reconnected(&site);
    let cold = &site.instances[1];
    let (misses, errors) = ("mintage_redis_cache_misses_total", "mintage_redis_errors_total");
    let before = [count(cold, misses), count(cold, errors)];
    let clients: Vec<TestClient> = (0..30).map(|_| site.client()).collect();
    let began = Instant::now();
    for client in &clients {
        assert_eq!(token_status(cold, client), 200);
    }
    let asked = count(cold, errors) - before[1];
    assert!(count(cold, misses) - before[0] >= 30);
    // No response arrives within 20 ms, so a hit would mean that the instance has waited longer.
    assert_eq!(count(cold, "mintage_redis_cache_hits_total"), 0);
    // Three until the circuit breaker opens, then one per second.
    assert!(asked <= 3 + began.elapsed().as_secs() + 1, "{asked} lookups timed out");
}

#[test]
fn a_start_does_not_wait_for_a_redis_that_is_away() {
    let mut site = Site::on(Redis::start());
    site.redis.stop();
    for _ in 0..2 {
        site.instances.push(start(&site.database, &site.redis.url(), &[]));
    }
    assert_guarantees_hold(&site);
    site.redis.start_again();
    assert_reconnected(&site);
}

#[test]
fn g8_the_password_of_redis_is_in_no_log() {
    let mut site = Site::on(Redis::with(&["--requirepass", "hunter2hunter2"]));
    let with_password = |password: &str| format!("redis://:{password}@{}", site.redis.address());
    let (right, wrong) = (with_password("hunter2hunter2"), with_password("hunter2hunter3"));
    site.add_through(&right, &[("RUST_LOG", "trace")]);
    let denied = start(&site.database, &wrong, &[("RUST_LOG", "trace")]);
    eventually("the denial is logged", POLL_TIMEOUT, || {
        denied.log().contains("redis unavailable").then_some(())
    });
    assert_eq!(metric(&denied, "mintage_redis_up"), Some(0.0));
    site.redis.stop();
    await_no_redis(&site);
    assert_eq!(token_status(&denied, &site.client()), 200);
    for log in [denied.log(), site.instances[0].log()] {
        assert!(log.contains("redis") && !log.contains("hunter2"), "{log}");
    }
}

/// The rights that `docs/redis.md` lists for the user of Redis.
fn documented_rights() -> Vec<&'static str> {
    let documented = include_str!("../../docs/redis.md");
    let (_, rest) = documented.split_once("`+ping ").unwrap();
    let (rights, _) = rest.split_once('`').unwrap();
    ["+ping"].into_iter().chain(rights.split(' ')).collect()
}

#[test]
fn the_documented_redis_rights_are_sufficient() {
    let mut site = Site::on(Redis::start());
    let user = ["ACL", "SETUSER", "mintage", "on", ">open-sesame"];
    let created = site.redis.say(&[&user[..], &documented_rights()].concat());
    assert_eq!(created, "+OK\r\n");
    let url = format!("redis://mintage:open-sesame@{}/3", site.redis.address());
    site.add_through(&url, &[("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE", "10")]);
    let instance = &site.instances[0];
    let client = site.client();
    let wrong = crate::site::with_wrong_secret(&client);
    assert_eq!(
        [token_status(instance, &client), token_status(instance, &wrong)],
        [200, 401]
    );
    eventually("every kind of command was sent", POLL_TIMEOUT, || {
        let stored = site.redis.say(&["INFO", "keyspace"]).contains("db3:keys=3");
        let received = count(instance, "mintage_redis_received_total") > 0;
        (stored && received).then_some(())
    });
    assert_eq!(site.redis.say(&["ACL", "LOG"]), "*0\r\n");
}
