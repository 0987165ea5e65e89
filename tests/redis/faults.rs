//! Redis stopped, hung, emptied, partitioned or slow changes the speed of things and nothing else.

use std::time::{Duration, Instant};

use testkit::proxy::RedisProxy;
use testkit::redis::Redis;
use testkit::{Server, TestClient, eventually};

use crate::site::{PATIENCE, Site, await_redis, count, is_active, metric, revoke, start, token, token_status};

/// Everything that instances owe each other, with records of the test's own: what it does not find within a second, or at
/// all, is a fault.
fn assert_all_is_well(site: &Site) {
    let [a, b] = [&site.instances[0], &site.instances[1]];
    let checker = a.client("orders:read", &["--introspection-audience", "http://127.0.0.1:8080"]);
    let clients: Vec<TestClient> = (0..8).map(|_| site.client()).collect();
    // Known to nobody, then to one, then to both.
    for instance in [a, b, a, b] {
        for client in &clients {
            let answer = token(instance, client);
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    // A client that is disabled, with a request under way all the time.
    follows(b, &clients[0], 401, || {
        drop(a.run_json(&["client", "disable", &clients[0].id]))
    });
    follows(a, &clients[0], 200, || {
        drop(b.run_json(&["client", "enable", &clients[0].id]))
    });
    // A token that is taken back.
    let taken = token(a, &checker).access_token();
    assert!(is_active(b, &checker, &taken));
    revoke(a, &checker, &taken);
    assert!(!is_active(a, &checker, &taken));
    eventually("the revocation is known", Duration::from_secs(1), || {
        (!is_active(b, &checker, &taken)).then_some(())
    });
    for instance in [a, b] {
        assert_eq!(instance.send(&testkit::http::Request::get("/readyz")).status, 200);
    }
}

/// The answers to requests for a token become `status` within a second of the change, and stay so.
fn follows(instance: &Server, client: &TestClient, status: u16, change: impl FnOnce()) {
    change();
    let changed = Instant::now();
    eventually("it follows", Duration::from_secs(1), || {
        (token_status(instance, client) == status).then_some(())
    });
    while changed.elapsed() < Duration::from_millis(1200) {
        assert_eq!(token_status(instance, client), status, "taken back");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn await_no_redis(site: &Site) {
    for instance in &site.instances {
        eventually("it has noticed", PATIENCE, || {
            (metric(instance, "mintage_redis_up") == Some(0.0)).then_some(())
        });
    }
}

/// Both have found it again: they hear what they announce.
fn assert_quick_again(site: &Site) {
    site.instances.iter().for_each(await_redis);
    let heard = || -> Vec<u64> {
        let of = |instance| count(instance, "mintage_redis_received_total");
        site.instances.iter().map(of).collect()
    };
    let before = heard();
    eventually("they hear each other", PATIENCE, || {
        let client = site.client();
        assert_eq!(token_status(&site.instances[0], &client), 200);
        heard()
            .iter()
            .zip(&before)
            .all(|(now, before)| now > before)
            .then_some(())
    });
}

#[test]
fn a_redis_that_is_stopped_is_not_missed() {
    let site = Site::of(2, &[]);
    assert_all_is_well(&site);
    site.redis.stop();
    assert_all_is_well(&site);
    await_no_redis(&site);
    assert_all_is_well(&site);
    site.redis.start_again();
    assert_all_is_well(&site);
    assert_quick_again(&site);
}

#[test]
fn a_redis_that_hangs_is_not_missed() {
    let site = Site::of(2, &[]);
    site.redis.hang();
    assert_all_is_well(&site);
    await_no_redis(&site);
    assert_all_is_well(&site);
    site.redis.resume();
    assert_all_is_well(&site);
    assert_quick_again(&site);
}

#[test]
fn a_redis_that_is_emptied_is_not_missed() {
    let site = Site::of(2, &[]);
    let clients = site.shared_clients(5);
    let other = &site.instances[1];
    site.await_trust(other);
    site.redis.say(&["FLUSHALL"]);
    let hits = site.hits(other, || {
        for client in &clients {
            assert_eq!(token_status(other, client), 200);
        }
    });
    assert_eq!(hits, 0);
    assert_all_is_well(&site);
}

#[test]
fn a_redis_that_one_instance_cannot_reach_is_not_missed() {
    let mut site = Site::of(1, &[]);
    let proxy = RedisProxy::before(site.redis.address());
    site.add_through(&proxy.url(), &[("RUST_LOG", "mintage=debug")]);
    site.await_trust(&site.instances[1]);
    let shared = site.shared_clients(3);
    proxy.swallow();
    assert_all_is_well(&site);
    eventually("it has noticed", PATIENCE, || {
        (metric(&site.instances[1], "mintage_redis_up") == Some(0.0)).then_some(())
    });
    eventually("it knows that it does not hear everything", PATIENCE, || {
        site.instances[1]
            .log()
            .contains("redis subscription lost")
            .then_some(())
    });
    // What changes meanwhile it does not hear; what peers say when it is back must not be from before.
    site.instances[0].run_json(&["client", "disable", &shared[0].id]);
    proxy.pass();
    assert_all_is_well(&site);
    assert_eq!(token_status(&site.instances[1], &shared[0]), 401);
    assert_quick_again(&site);
}

#[test]
fn a_redis_that_is_slow_is_not_waited_for() {
    let mut site = Site::on(Redis::start());
    let proxy = RedisProxy::before(site.redis.address());
    site.add_through(&proxy.url(), &[]);
    site.add_through(&proxy.url(), &[]);
    proxy.delay(Duration::from_millis(40));
    assert_all_is_well(&site);
    // It still tells what is new, only later; of clients nobody is asked after a few tries.
    assert_quick_again(&site);
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
    // Nothing comes within 20 ms, so whoever takes something from there has waited.
    assert_eq!(count(cold, "mintage_redis_cache_hits_total"), 0);
    // Three to find out, then one a second.
    assert!(asked <= 3 + began.elapsed().as_secs() + 1, "{asked} were asked in vain");
}

#[test]
fn a_redis_that_is_not_there_at_the_start_is_not_waited_for() {
    let mut site = Site::on(Redis::start());
    site.redis.stop();
    for _ in 0..2 {
        site.instances.push(start(&site.database, &site.redis.url(), &[]));
    }
    assert_all_is_well(&site);
    site.redis.start_again();
    assert_quick_again(&site);
}

#[test]
fn g8_the_password_of_redis_is_in_no_log() {
    let mut site = Site::on(Redis::with(&["--requirepass", "hunter2hunter2"]));
    let with_password = |password: &str| format!("redis://:{password}@{}", site.redis.address());
    let (right, wrong) = (with_password("hunter2hunter2"), with_password("hunter2hunter3"));
    site.add_through(&right, &[("RUST_LOG", "trace")]);
    let refused = start(&site.database, &wrong, &[("RUST_LOG", "trace")]);
    eventually("it says that it is refused", PATIENCE, || {
        refused.log().contains("redis unavailable").then_some(())
    });
    assert_eq!(metric(&refused, "mintage_redis_up"), Some(0.0));
    site.redis.stop();
    await_no_redis(&site);
    assert_eq!(token_status(&refused, &site.client()), 200);
    for log in [refused.log(), site.instances[0].log()] {
        assert!(log.contains("redis") && !log.contains("hunter2"), "{log}");
    }
}

/// What `docs/redis.md` says a user of Redis needs.
fn documented_rights() -> Vec<&'static str> {
    let documented = include_str!("../../docs/redis.md");
    let (_, rest) = documented.split_once("`+ping ").unwrap();
    let (rights, _) = rest.split_once('`').unwrap();
    ["+ping"].into_iter().chain(rights.split(' ')).collect()
}

#[test]
fn the_rights_that_are_documented_are_enough() {
    let mut site = Site::on(Redis::start());
    let user = ["ACL", "SETUSER", "mintage", "on", ">open-sesame"];
    let made = site.redis.say(&[&user[..], &documented_rights()].concat());
    assert_eq!(made, "+OK\r\n");
    let url = format!("redis://mintage:open-sesame@{}/3", site.redis.address());
    site.add_through(&url, &[("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE", "10")]);
    let instance = &site.instances[0];
    let client = site.client();
    let wrong = crate::site::with_wrong_secret(&client);
    assert_eq!(
        [token_status(instance, &client), token_status(instance, &wrong)],
        [200, 401]
    );
    eventually("it has told all that there is to tell", PATIENCE, || {
        let told = site.redis.say(&["INFO", "keyspace"]).contains("db3:keys=3");
        let heard = count(instance, "mintage_redis_received_total") > 0;
        (told && heard).then_some(())
    });
    assert_eq!(site.redis.say(&["ACL", "LOG"]), "*0\r\n");
}
