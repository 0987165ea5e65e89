//! Failed authentications, counted over all instances.

use testkit::{Server, TestClient, eventually};

use crate::site::{PATIENCE, Site, count, token_status, with_wrong_secret};

/// Four failures a minute, so one more each fifteen seconds: a test is over before that matters, on a busy machine too.
const LIMIT: [(&str, &str); 1] = [("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE", "4")];

/// Fails this often; each time it must have been looked at.
fn fail(instance: &Server, client: &TestClient, times: usize) {
    for _ in 0..times {
        assert_eq!(token_status(instance, &with_wrong_secret(client)), 401);
    }
}

fn await_limited(instance: &Server, client: &TestClient) {
    eventually("it is limited", PATIENCE, || {
        (token_status(instance, client) == 429).then_some(())
    });
}

#[test]
fn p17_failures_count_over_all_instances() {
    let site = Site::of(2, &LIMIT);
    let client = site.client();
    fail(&site.instances[0], &client, 2);
    eventually("they are told", PATIENCE, || {
        (site.redis.keys().len() >= 2).then_some(())
    });
    assert_eq!(token_status(&site.instances[1], &client), 200);
    fail(&site.instances[1], &client, 1);
    // The fourth of all is the second here.
    let last = token_status(&site.instances[1], &with_wrong_secret(&client));
    assert!([401, 429].contains(&last), "{last}");
    await_limited(&site.instances[1], &client);
    assert!(site.instances[1].log().contains("limit=client_ip"));
    // The first instance learns it with the next failure there, which is one more than the limit.
    assert_eq!(token_status(&site.instances[0], &with_wrong_secret(&client)), 401);
    await_limited(&site.instances[0], &client);
    // Nobody else is limited.
    assert_eq!(token_status(&site.instances[0], &site.client()), 200);
}

#[test]
fn p17_what_an_instance_has_counted_itself_counts_whatever_redis_forgets() {
    let site = Site::of(1, &LIMIT);
    let client = site.client();
    fail(&site.instances[0], &client, 4);
    assert_eq!(token_status(&site.instances[0], &client), 429);
    site.redis.say(&["FLUSHALL"]);
    assert_eq!(token_status(&site.instances[0], &client), 429);
}

#[test]
fn p17_without_redis_each_instance_counts_for_itself() {
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
fn p17_a_counter_that_somebody_has_written_limits_nobody_for_longer_than_a_minute() {
    let site = Site::of(1, &LIMIT);
    let client = site.client();
    fail(&site.instances[0], &client, 1);
    let keys = eventually("they are told", PATIENCE, || {
        Some(site.redis.keys()).filter(|keys| keys.len() >= 2)
    });
    for key in &keys {
        for written in ["not a number", "99999999999999999999", "-5", "nan", "inf"] {
            site.redis.say(&["SET", key, written]);
            site.redis.say(&["GET", key]);
        }
        site.redis.say(&["SET", key, "99999999999999999999"]);
    }
    let told = count(&site.instances[0], "mintage_redis_errors_total");
    fail(&site.instances[0], &client, 1);
    await_limited(&site.instances[0], &client);
    for key in site.redis.keys().iter().filter(|key| key.contains(":failures:")) {
        let ttl: i64 = site.redis.say(&["PTTL", key])[1..].trim().parse().unwrap();
        assert!((1..=60_000).contains(&ttl), "{ttl}");
    }
    assert_eq!(count(&site.instances[0], "mintage_redis_errors_total"), told);
}
