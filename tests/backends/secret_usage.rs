//! Several instances that update the same secrets concurrently: last use, hash and expiry.

use std::sync::Barrier;

use mintage::db::{clients, secrets};
use mintage::oauth::client::Client;
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::secret_hash::SecretHash;
use mintage::oauth::stored_secret::StoredSecret;
use mintage::time::UnixMillis;
use testkit::sample::{NOW, client};

use crate::{Store, on_both_backends};

on_both_backends! {
    instances_that_update_the_same_secrets_do_not_deadlock
    a_secret_may_be_revoked_while_its_hash_is_replaced
}

/// Each instance writes the secrets in a different order.
fn instances_that_update_the_same_secrets_do_not_deadlock(store: Store) {
    const SECRETS: usize = 300;
    let store = store.migrated();
    let known: Vec<StoredSecret> = (0..SECRETS)
        .map(|_| StoredSecret::new(&ClientSecret::generate(), NOW))
        .collect();
    let mut ids: Vec<String> = known.iter().map(|secret| secret.id.to_string()).collect();
    let known = Client {
        secrets: known,
        ..client("a")
    };
    store.run(|conn| clients::insert(conn, &known));
    ids.sort();
    for round in 1..=5 {
        let together = Barrier::new(2);
        let write = |ids: &[String], moment| {
            let uses: Vec<_> = ids.iter().map(|id| (id.clone(), moment)).collect();
            together.wait();
            store.try_run(|conn| secrets::used(conn, &uses))
        };
        let (one, other) = (ids.clone(), ids.iter().rev().cloned().collect::<Vec<_>>());
        std::thread::scope(|scope| {
            let one = scope.spawn(|| write(&one, UnixMillis(NOW.0 + 10 * round)));
            assert_eq!(write(&other, UnixMillis(NOW.0 + 10 * round + 1)), Ok(()));
            assert_eq!(one.join().unwrap(), Ok(()));
        });
    }
    let last: i64 = store.number("SELECT min(last_used_at_ms) AS value FROM secrets");
    assert_eq!(last, NOW.0 + 51);
}

/// Both take the lock of the change log before they touch the row; otherwise they could deadlock.
fn a_secret_may_be_revoked_while_its_hash_is_replaced(store: Store) {
    let store = store.migrated();
    let known: Vec<StoredSecret> = (0..200)
        .map(|_| StoredSecret::new(&ClientSecret::generate(), NOW))
        .collect();
    let owner = Client {
        secrets: known.clone(),
        ..client("a")
    };
    store.run(|conn| clients::insert(conn, &owner));
    let together = Barrier::new(2);
    for secret in &known {
        std::thread::scope(|scope| {
            let replaced = scope.spawn(|| {
                let to = SecretHash::of(&ClientSecret::generate());
                together.wait();
                store.try_run(|conn| secrets::rehash(conn, &owner.id, &secret.id, &secret.hash, &to, NOW))
            });
            together.wait();
            let revoked = store.try_run(|conn| secrets::revoke(conn, &owner.id, &secret.id, NOW));
            assert_eq!(revoked, Ok(true));
            assert!(replaced.join().unwrap().is_ok());
        });
    }
}
