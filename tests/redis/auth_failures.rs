//! Failed authentications, counted across all instances.

use testkit::{Server, TestClient, eventually};

use crate::site::{POLL_TIMEOUT, Site, count, token_status, with_wrong_secret};

/// Four failures a minute, so one more is allowed every fifteen seconds: a test ends before, even
/// on a busy machine.
const LIMIT: [(&str, &str); 1] = [("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE", "4")];

/// Fails `times` times; each attempt must be verified, not limited.
fn fail(instance: &Server, client: &TestClient, times: usize) {
    for _ in 0..times {
        assert_eq!(token_status(instance, &with_wrong_secret(client)), 401);
    }
}

fn await_limited(instance: &Server, client: &TestClient) {
    eventually("the client is limited", POLL_TIMEOUT, || {
        (token_status(instance, client) == 429).then_some(())
    });
}

#[test]
fn p17_failures_are_counted_across_all_instances() {
    let site = Site::of(2, &LIMIT);
    let client = site.client();
    fail(&site.instances[0], &client, 2);
    eventually("the failures are in Redis", POLL_TIMEOUT, || {
        (site.redis.keys().len() >= 2).then_some(())
    });
    assert_eq!(token_status(&site.instances[1], &client), 200);
    fail(&site.instances[1], &client, 1);
    // The fourth failure overall is the second one here.
    let last = token_status(&site.instances[1], &with_wrong_secret(&client));
    assert!([401, 429].contains(&last), "{last}");
    await_limited(&site.instances[1], &client);
    assert!(site.instances[1].log().contains("limit=client_ip"));
    // The first instance learns of the others with its next failure, which exceeds the limit by
    // one.
    assert_eq!(token_status(&site.instances[0], &with_wrong_secret(&client)), 401);
    await_limited(&site.instances[0], &client);
    // No other client is limited.
    assert_eq!(token_status(&site.instances[0], &site.client()), 200);
}

#[test]
fn p17_an_instances_own_count_survives_the_loss_of_redis_data() {
    let site = Site::of(1, &LIMIT);
    let client = site.client();
    fail(&site.instances[0], &client, 4);
    assert_eq!(token_status(&site.instances[0], &client), 429);
    site.redis.say(&["FLUSHALL"]);
    assert_eq!(token_status(&site.instances[0], &client), 429);
}

#[test]
fn p17_without_redis_each_instance_counts_its_own_failures() {
    let site = Site::of(2, &LIMIT);
    let client = site.client();
    site.redis.hang();
    fail(&site.instances[0], &client, 4);
    assert_eq!(token_status(&site.instances[0], &client), 429);
    assert_eq!(token_status(&site.instances[1], &client), 200);
    fail(&site.instances[1], &client, 4);
    assert_eq!(token_status(&site.instances[1], &client), 429);
    site.redis.resume();
}

#[test]
fn p17_a_forged_counter_limits_a_client_for_at_most_one_minute() {
    let site = Site::of(1, &LIMIT);
    let client = site.client();
    fail(&site.instances[0], &client, 1);
    let keys = eventually("the failures are in Redis", POLL_TIMEOUT, || {
        Some(site.redis.keys()).filter(|keys| keys.len() >= 2)
    });
    for key in &keys {
        for forged in ["not a number", "99999999999999999999", "-5", "nan", "inf"] {
            site.redis.say(&["SET", key, forged]);
            site.redis.say(&["GET", key]);
        }
        site.redis.say(&["SET", key, "99999999999999999999"]);
    }
    let errors = count(&site.instances[0], "mintage_redis_errors_total");
    fail(&site.instances[0], &client, 1);
    await_limited(&site.instances[0], &client);
    for key in site.redis.keys().iter().filter(|key| key.contains(":failures:")) {
        let ttl: i64 = site.redis.say(&["PTTL", key])[1..].trim().parse().unwrap();
        assert!((1..=60_000).contains(&ttl), "{ttl}");
    }
    assert_eq!(count(&site.instances[0], "mintage_redis_errors_total"), errors);
}
