//! The second level of the client cache: what peers know, and what they are not believed.

use serde_json::json;
use testkit::http::Request;
use testkit::{TestClient, eventually};

use crate::site::{PATIENCE, Shared, Site, count, token_status, with_wrong_secret};

/// Two instances, of which the second takes clients from the first, and a client that it does not know yet.
fn one_shared() -> (Site, Shared) {
    let site = Site::of(2, &[]);
    let shared = site.share();
    // In this order: it has then read the log further than the client's creation, which it would not believe before.
    site.await_trust(&site.instances[1]);
    (site, shared)
}

#[test]
fn a_cold_instance_does_not_ask_the_database_for_clients_that_its_peers_know() {
    let mut site = Site::of(1, &[]);
    let clients = site.shared_clients(20);
    site.add(&[]);
    let cold = &site.instances[1];
    site.await_trust(cold);
    let loads = || count(cold, "mintage_client_cache_loads_total");
    let before = loads();
    let hits = site.hits(cold, || {
        for client in &clients {
            assert_eq!(token_status(cold, client), 200);
            assert_eq!(token_status(cold, &with_wrong_secret(client)), 401);
        }
    });
    assert_eq!(hits + loads() - before, 20);
    // On a machine that is busy Redis may now and then not answer within 20 ms.
    assert!(hits >= 15, "{hits} of 20");
}

#[test]
fn g8_what_stands_in_redis_tells_neither_secrets_nor_clients() {
    let site = Site::of(1, &[("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE", "10")]);
    let Shared { client, key, .. } = site.share();
    assert_eq!(token_status(&site.instances[0], &with_wrong_secret(&client)), 401);
    eventually("the failure is there", PATIENCE, || {
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
fn a_value_that_somebody_moved_or_changed_authenticates_nobody() {
    let (site, mine) = one_shared();
    let victim = site.share();
    let other = &site.instances[1];
    site.await_trust(other);
    // My client, under the name of another: its secret would open that one.
    site.redis.ask(&[b"SET", victim.key.as_bytes(), &mine.value]);
    let forged = TestClient {
        id: victim.client.id.clone(),
        secret: mine.client.secret.clone(),
    };
    // And with a bit changed.
    let mut changed = mine.value.clone();
    *changed.last_mut().unwrap() ^= 1;
    site.redis.ask(&[b"SET", mine.key.as_bytes(), &changed]);
    let hits = site.hits(other, || {
        assert_eq!(token_status(other, &forged), 401);
        assert_eq!(token_status(other, &victim.client), 200);
        assert_eq!(token_status(other, &mine.client), 200);
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

/// Redis still holds the client as it was.
#[test]
fn what_an_instance_changes_itself_counts_there_with_the_next_request() {
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

/// The value is authentic and young, so only the change log can tell.
#[test]
fn what_is_older_than_the_last_change_of_a_client_is_not_used_by_whoever_was_there() {
    let (site, shared) = one_shared();
    let other = &site.instances[1];
    // It has never met the client; it only reads the log, and what it does about a later change shows how far.
    let marker = site.client();
    assert_eq!(token_status(other, &marker), 200);
    for client in [&shared.client, &marker] {
        site.instances[0].run_json(&["client", "disable", &client.id]);
    }
    eventually("it has read so far", PATIENCE, || {
        (token_status(other, &marker) == 401).then_some(())
    });
    site.redis.ask(&[b"SET", shared.key.as_bytes(), &shared.value]);
    let hits = site.hits(other, || assert_eq!(token_status(other, &shared.client), 401));
    assert_eq!(hits, 0);
}

#[test]
fn what_is_older_than_the_last_change_of_a_client_is_not_used_by_whoever_comes_later() {
    let (mut site, shared) = one_shared();
    site.instances[0].run_json(&["client", "disable", &shared.client.id]);
    site.add(&[]);
    let late = &site.instances[2];
    site.await_trust(late);
    site.redis.ask(&[b"SET", shared.key.as_bytes(), &shared.value]);
    let hits = site.hits(late, || assert_eq!(token_status(late, &shared.client), 401));
    assert_eq!(hits, 0);
}

#[test]
fn a_change_of_one_client_does_not_make_the_others_strangers() {
    let mut site = Site::of(1, &[]);
    let clients = site.shared_clients(10);
    for client in &clients[..5] {
        site.instances[0].run_json(&["client", "disable", &client.id]);
    }
    site.add(&[]);
    let late = &site.instances[1];
    site.await_trust(late);
    let hits = site.hits(late, || {
        for client in &clients[5..] {
            assert_eq!(token_status(late, client), 200);
        }
    });
    // On a machine that is busy Redis may now and then not answer within 20 ms.
    assert!(hits >= 2, "{hits} of 5");
}

#[test]
fn what_an_operator_has_thrown_away_does_not_come_back_from_redis() {
    let (site, shared) = one_shared();
    let other = &site.instances[1];
    let operator = site.instances[0].client("mintage:admin", &[]);
    let form = [("grant_type", "client_credentials"), ("scope", "mintage:admin")];
    let answer = other.send(&Request::post("/token").basic(&operator).form(&form));
    let clear = Request::post("/admin/cache/clear").bearer(&answer.access_token());
    assert_eq!(other.send(&clear).status, 204);
    let hits = site.hits(other, || assert_eq!(token_status(other, &shared.client), 200));
    assert_eq!(hits, 0);
    site.await_trust(other);
}

#[test]
fn that_there_is_no_client_is_not_shared() {
    let site = Site::of(2, &[]);
    let nobody = TestClient {
        id: "nobody".into(),
        secret: "x".into(),
    };
    site.await_trust(&site.instances[1]);
    let keys = site.redis.keys();
    for instance in &site.instances {
        let loads = || count(instance, "mintage_client_cache_loads_total");
        let before = loads();
        assert_eq!(token_status(instance, &nobody), 401);
        assert_eq!(loads(), before + 1);
    }
    assert_eq!(site.redis.keys(), keys);
}

#[test]
fn whoever_does_not_hear_announcements_does_not_believe_what_is_said_of_clients() {
    let mut site = Site::of(1, &[]);
    let clients = site.shared_clients(10);
    site.add(&[]);
    let deaf = &site.instances[1];
    site.await_trust(deaf);
    // Commands still pass, and a subscription does not.
    site.redis.say(&["ACL", "SETUSER", "default", "-subscribe"]);
    site.redis.say(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let subscribers = || site.redis.say(&["PUBSUB", "CHANNELS"]);
    eventually("nobody listens", PATIENCE, || {
        subscribers().starts_with("*0").then_some(())
    });
    // The server notices that by itself, a moment later.
    let misses = || count(deaf, "mintage_redis_cache_misses_total");
    let hits = || count(deaf, "mintage_redis_cache_hits_total");
    let mut strangers = clients.iter();
    eventually("it trusts nobody", PATIENCE, || {
        let before = misses();
        assert_eq!(token_status(deaf, strangers.next().unwrap()), 200);
        (misses() > before).then_some(())
    });
    let before = hits();
    for client in strangers.by_ref().take(5) {
        assert_eq!(token_status(deaf, client), 200);
    }
    assert_eq!(hits(), before);
    assert_eq!(count(deaf, "mintage_redis_up"), 0);
    site.redis.say(&["ACL", "SETUSER", "default", "+subscribe"]);
    site.await_trust(deaf);
}
