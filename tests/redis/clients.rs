//! The second level of the client cache: what siblings know, and what they are not believed.

use crate::server::{TestClient, eventually};
use crate::site::{PATIENCE, Site, count, token_status, with_wrong_secret};

/// A site whose first instance has shared a client, with the name of the key under which it stands and the value.
fn one_shared() -> (Site, TestClient, String, Vec<u8>) {
    let site = Site::of(2, &[]);
    let client = site.shared_clients(1).remove(0);
    let key = site.redis.keys().remove(0);
    let value = site.redis.value(&key).unwrap();
    (site, client, key, value)
}

#[test]
fn a_cold_instance_does_not_ask_the_database_for_clients_that_its_siblings_know() {
    let mut site = Site::of(1, &[]);
    let clients = site.shared_clients(20);
    site.add(&[]);
    let cold = &site.instances[1];
    for client in &clients {
        assert_eq!(token_status(cold, client), 200);
        assert_eq!(token_status(cold, &with_wrong_secret(client)), 401);
    }
    let hits = count(cold, "mintage_redis_cache_hits_total");
    let loads = count(cold, "mintage_client_cache_loads_total");
    assert_eq!(hits + loads, 20);
    // On a machine that is busy Redis may now and then not answer within 20 ms.
    assert!(hits >= 15, "{hits} of 20");
}

#[test]
fn g8_what_stands_in_redis_tells_neither_secrets_nor_clients() {
    let (site, client, key, value) = one_shared();
    let shown = site.instances[0].run(&["client", "show", &client.id]);
    assert_eq!(token_status(&site.instances[0], &with_wrong_secret(&client)), 401);
    eventually("the value is there", PATIENCE, || site.redis.value(&key));
    let all: Vec<u8> = site
        .redis
        .keys()
        .into_iter()
        .flat_map(|key| [key.clone().into_bytes(), site.redis.value(&key).unwrap_or_default()].concat())
        .chain(value)
        .collect();
    let name = shown["name"].as_str().unwrap();
    assert_eq!(name, "n");
    for secret in [&client.id, &client.secret, "sha256", "orders:read", "enabled"] {
        assert!(
            !all.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "{secret}"
        );
    }
    let ttl: i64 = site.redis.say(&["PTTL", &key])[1..].trim().parse().unwrap();
    assert!((1..=600_000).contains(&ttl), "{ttl}");
}

#[test]
fn a_value_that_somebody_changed_or_moved_authenticates_nobody() {
    let site = Site::of(2, &[]);
    let mine = site.shared_clients(1).remove(0);
    let my_key = site.redis.keys().remove(0);
    let victim = site.shared_clients(1).remove(0);
    let their_key = site.redis.keys().into_iter().find(|key| *key != my_key).unwrap();
    // My client, under the name of another: its secret would open that one.
    let value = site.redis.value(&my_key).unwrap();
    site.redis.ask(&[b"SET", their_key.as_bytes(), &value]);
    let forged = TestClient {
        id: victim.id.clone(),
        secret: mine.secret.clone(),
    };
    assert_eq!(token_status(&site.instances[1], &forged), 401);
    assert_eq!(token_status(&site.instances[1], &victim), 200);
    // And any byte of my own changed is a miss.
    let mut changed = value.clone();
    *changed.last_mut().unwrap() ^= 1;
    site.redis.ask(&[b"SET", my_key.as_bytes(), &changed]);
    assert_eq!(token_status(&site.instances[1], &mine), 200);
    assert_eq!(count(&site.instances[1], "mintage_redis_cache_hits_total"), 0);
}

#[test]
fn a_value_of_another_version_is_a_miss() {
    let (site, client, key, mut value) = one_shared();
    value[0] += 1;
    site.redis.ask(&[b"SET", key.as_bytes(), &value]);
    assert_eq!(token_status(&site.instances[1], &client), 200);
    assert_eq!(count(&site.instances[1], "mintage_redis_cache_hits_total"), 0);
    assert_eq!(count(&site.instances[1], "mintage_client_cache_loads_total"), 1);
}

/// The value is authentic and young, so only the change log can tell.
#[test]
fn what_is_older_than_the_last_change_of_a_client_is_not_used_by_whoever_was_there() {
    let (site, client, key, value) = one_shared();
    // It has never met the client; it only reads the log.
    let await_heard = |times| {
        let heard = || count(&site.instances[1], "mintage_client_cache_invalidations_total");
        eventually("it has heard", PATIENCE, || (heard() >= times).then_some(()));
    };
    await_heard(1);
    site.instances[0].run(&["client", "disable", &client.id]);
    await_heard(2);
    site.redis.ask(&[b"SET", key.as_bytes(), &value]);
    assert_eq!(token_status(&site.instances[1], &client), 401);
    assert_eq!(count(&site.instances[1], "mintage_redis_cache_hits_total"), 0);
}

#[test]
fn what_is_older_than_the_last_change_of_a_client_is_not_used_by_whoever_comes_later() {
    let (mut site, client, key, value) = one_shared();
    site.instances[0].run(&["client", "disable", &client.id]);
    site.redis.ask(&[b"SET", key.as_bytes(), &value]);
    site.add(&[]);
    assert_eq!(token_status(&site.instances[2], &client), 401);
    assert_eq!(count(&site.instances[2], "mintage_redis_cache_hits_total"), 0);
}

#[test]
fn a_change_of_one_client_does_not_make_the_others_strangers() {
    let mut site = Site::of(1, &[]);
    let clients = site.shared_clients(10);
    for client in &clients[..5] {
        site.instances[0].run(&["client", "disable", &client.id]);
    }
    site.add(&[]);
    let late = &site.instances[1];
    for client in &clients[5..] {
        assert_eq!(token_status(late, client), 200);
    }
    assert!(count(late, "mintage_redis_cache_hits_total") >= 3);
}

#[test]
fn that_there_is_no_client_is_not_shared() {
    let site = Site::of(2, &[]);
    let nobody = TestClient {
        id: "nobody".into(),
        secret: "x".into(),
    };
    for instance in &site.instances {
        assert_eq!(token_status(instance, &nobody), 401);
        assert_eq!(count(instance, "mintage_client_cache_loads_total"), 1);
    }
    assert_eq!(site.redis.keys(), Vec::<String>::new());
}

#[test]
fn whoever_does_not_hear_announcements_does_not_believe_what_is_said_of_clients() {
    let mut site = Site::of(1, &[]);
    let clients = site.shared_clients(10);
    site.add(&[]);
    let deaf = &site.instances[1];
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
    assert_eq!(count(deaf, "mintage_redis_up"), 1);
    site.redis.say(&["ACL", "SETUSER", "default", "+subscribe"]);
    // One that it does not know yet each time.
    eventually("it trusts again", PATIENCE, || {
        let more = site.shared_clients(1).remove(0);
        assert_eq!(token_status(deaf, &more), 200);
        (hits() > before).then_some(())
    });
}
