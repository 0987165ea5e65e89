//! The second level of the client cache: clients that peers have loaded, and which of them are not
//! trusted.

use serde_json::json;
use testkit::http::Request;
use testkit::{TestClient, eventually};

use crate::site::{POLL_TIMEOUT, Shared, Site, count, token_status, with_wrong_secret};

/// Two instances, of which the second takes clients from the first, and a client that it has not
/// cached.
fn one_shared() -> (Site, Shared) {
    let site = Site::of(2, &[]);
    let shared = site.share();
    // In this order: the second instance uses the shared value only after it has read the change
    // log past the client's creation.
    site.await_peer_cache(&site.instances[1]);
    (site, shared)
}

#[test]
fn a_cold_instance_takes_clients_from_peers_instead_of_the_database() {
    let mut site = Site::of(1, &[]);
    let clients = site.shared_clients(20);
    site.add(&[]);
    let cold = &site.instances[1];
    site.await_peer_cache(cold);
    let loads = || count(cold, "mintage_client_cache_loads_total");
    let before = loads();
    let hits = site.hits(cold, || {
        for client in &clients {
            assert_eq!(token_status(cold, client), 200);
            assert_eq!(token_status(cold, &with_wrong_secret(client)), 401);
        }
    });
    assert_eq!(hits + loads() - before, 20);
    // On a busy machine, Redis may sometimes not answer within 20 ms.
    assert!(hits >= 15, "{hits} of 20");
}

#[test]
fn g8_redis_holds_no_readable_secrets_or_clients() {
    let site = Site::of(1, &[("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE", "10")]);
    let Shared { client, key, .. } = site.share();
    assert_eq!(token_status(&site.instances[0], &with_wrong_secret(&client)), 401);
    eventually("the failure is recorded", POLL_TIMEOUT, || {
        (site.redis.keys().len() >= 3).then_some(())
    });
    let all: Vec<u8> = site
        .redis
        .keys()
        .into_iter()
        .flat_map(|key| [key.clone().into_bytes(), site.redis.value(&key).unwrap()].concat())
        .collect();
    for secret in [
        &client.id,
        &client.secret,
        "sha256",
        "orders:read",
        "enabled",
        "127.0.0.1",
    ] {
        let found = all.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret}");
    }
    let ttl: i64 = site.redis.say(&["PTTL", &key])[1..].trim().parse().unwrap();
    assert!((1..=600_000).contains(&ttl), "{ttl}");
}

#[test]
fn a_moved_or_modified_value_authenticates_no_one() {
    let (site, own) = one_shared();
    let victim = site.share();
    let other = &site.instances[1];
    site.await_peer_cache(other);
    // The attacker's own client under the key of another one: its secret would authenticate as the
    // victim.
    site.redis.ask(&[b"SET", victim.key.as_bytes(), &own.value]);
    let forged = TestClient {
        id: victim.client.id.clone(),
        secret: own.client.secret.clone(),
    };
    // And with one bit changed.
    let mut modified = own.value.clone();
    *modified.last_mut().unwrap() ^= 1;
    site.redis.ask(&[b"SET", own.key.as_bytes(), &modified]);
    let hits = site.hits(other, || {
        assert_eq!(token_status(other, &forged), 401);
        assert_eq!(token_status(other, &victim.client), 200);
        assert_eq!(token_status(other, &own.client), 200);
    });
    assert_eq!(hits, 0);
}

#[test]
fn a_value_of_another_version_is_a_miss() {
    let (site, mut shared) = one_shared();
    shared.value[0] += 1;
    site.redis.ask(&[b"SET", shared.key.as_bytes(), &shared.value]);
    let other = &site.instances[1];
    let hits = site.hits(other, || assert_eq!(token_status(other, &shared.client), 200));
    assert_eq!(hits, 0);
}

/// Redis still holds the old value.
#[test]
fn a_change_on_an_instance_is_in_effect_there_with_the_next_request() {
    let (site, Shared { client, .. }) = one_shared();
    let instance = &site.instances[1];
    let operator = instance.client("mintage:admin", &[]);
    let form = [("grant_type", "client_credentials"), ("scope", "mintage:admin")];
    let operator = instance.send(&Request::post("/token").basic(&operator).form(&form));
    let path = format!("/admin/clients/{}", client.id);
    for enabled in [false, true].repeat(5) {
        let change = Request::new("PATCH", &path).json(&json!({"enabled": enabled}));
        let answer = instance.send(&change.bearer(&operator.access_token()));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(token_status(instance, &client), if enabled { 200 } else { 401 });
    }
}

/// The value is authentic and recent, so only the change log shows that it is outdated.
#[test]
fn a_value_older_than_the_clients_last_change_is_not_used_by_a_running_instance() {
    let (site, shared) = one_shared();
    let other = &site.instances[1];
    // The instance has not cached the client. When the change of the marker is in effect, the
    // instance has read the change of the client too.
    let marker = site.client();
    assert_eq!(token_status(other, &marker), 200);
    for client in [&shared.client, &marker] {
        site.instances[0].run_json(&["client", "disable", &client.id]);
    }
    eventually("the instance has read the change", POLL_TIMEOUT, || {
        (token_status(other, &marker) == 401).then_some(())
    });
    site.redis.ask(&[b"SET", shared.key.as_bytes(), &shared.value]);
    let hits = site.hits(other, || assert_eq!(token_status(other, &shared.client), 401));
    assert_eq!(hits, 0);
}

#[test]
fn a_value_older_than_the_clients_last_change_is_not_used_by_a_new_instance() {
    let (mut site, shared) = one_shared();
    site.instances[0].run_json(&["client", "disable", &shared.client.id]);
    site.add(&[]);
    let late = &site.instances[2];
    site.await_peer_cache(late);
    site.redis.ask(&[b"SET", shared.key.as_bytes(), &shared.value]);
    let hits = site.hits(late, || assert_eq!(token_status(late, &shared.client), 401));
    assert_eq!(hits, 0);
}

#[test]
fn a_change_of_one_client_does_not_invalidate_other_clients_in_redis() {
    let mut site = Site::of(1, &[]);
    let clients = site.shared_clients(10);
    for client in &clients[..5] {
        site.instances[0].run_json(&["client", "disable", &client.id]);
    }
    site.add(&[]);
    let late = &site.instances[1];
    site.await_peer_cache(late);
    let hits = site.hits(late, || {
        for client in &clients[5..] {
            assert_eq!(token_status(late, client), 200);
        }
    });
    // On a busy machine, Redis may sometimes not answer within 20 ms.
    assert!(hits >= 2, "{hits} of 5");
}

#[test]
fn after_a_cache_clear_older_values_in_redis_are_not_used() {
    let (site, shared) = one_shared();
    let other = &site.instances[1];
    let operator = site.instances[0].client("mintage:admin", &[]);
    let form = [("grant_type", "client_credentials"), ("scope", "mintage:admin")];
    let answer = other.send(&Request::post("/token").basic(&operator).form(&form));
    let clear = Request::post("/admin/cache/clear").bearer(&answer.access_token());
    assert_eq!(other.send(&clear).status, 204);
    let hits = site.hits(other, || assert_eq!(token_status(other, &shared.client), 200));
    assert_eq!(hits, 0);
    site.await_peer_cache(other);
}

#[test]
fn the_absence_of_a_client_is_not_shared() {
    let site = Site::of(2, &[]);
    let unknown = TestClient {
        id: "unknown".into(),
        secret: "x".into(),
    };
    site.await_peer_cache(&site.instances[1]);
    let keys = site.redis.keys();
    for instance in &site.instances {
        let loads = || count(instance, "mintage_client_cache_loads_total");
        let before = loads();
        assert_eq!(token_status(instance, &unknown), 401);
        assert_eq!(loads(), before + 1);
    }
    assert_eq!(site.redis.keys(), keys);
}

#[test]
fn an_instance_without_a_subscription_does_not_use_the_peer_cache() {
    let mut site = Site::of(1, &[]);
    let clients = site.shared_clients(10);
    site.add(&[]);
    let unsubscribed = &site.instances[1];
    site.await_peer_cache(unsubscribed);
    // Commands are still allowed, a subscription is not.
    site.redis.say(&["ACL", "SETUSER", "default", "-subscribe"]);
    site.redis.say(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let subscribers = || site.redis.say(&["PUBSUB", "CHANNELS"]);
    eventually("no instance is subscribed", POLL_TIMEOUT, || {
        subscribers().starts_with("*0").then_some(())
    });
    // The server notices a moment later.
    eventually("the instance knows that it is not subscribed", POLL_TIMEOUT, || {
        (count(unsubscribed, "mintage_redis_up") == 0).then_some(())
    });
    let misses = || count(unsubscribed, "mintage_redis_cache_misses_total");
    let before = misses();
    let hits = site.hits(unsubscribed, || {
        for client in &clients {
            assert_eq!(token_status(unsubscribed, client), 200);
        }
    });
    assert_eq!((hits, misses() - before), (0, 10));
    assert_eq!(count(unsubscribed, "mintage_redis_up"), 0);
    site.redis.say(&["ACL", "SETUSER", "default", "+subscribe"]);
    site.await_peer_cache(unsubscribed);
}
