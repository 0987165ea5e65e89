//! The signing keys.

use std::sync::Barrier;

use mintage::db::changes::{self, Change};
use mintage::db::{DbError, signing_keys};
use mintage::keys::StoredKey;
use mintage::oauth::alg::Alg;
use mintage::oauth::time::UnixMillis;
use zeroize::Zeroizing;

use crate::sample::NOW;
use crate::{Store, on_both_backends};

on_both_backends! {
    a_new_database_has_none
    a_key_of_every_algorithm_is_made_once
    a_key_comes_back_as_it_was_written
    only_what_is_missing_is_made
    when_a_key_cannot_be_made_none_is_kept
    of_several_instances_at_once_one_makes_the_keys
    a_key_of_an_unknown_algorithm_is_inconsistent
}

/// Bytes that are no text in any encoding.
const PRIVATE: [u8; 5] = [0, 0xff, 0xfe, b'\'', 0x80];

/// A key that need not sign anything.
fn key(alg: Alg) -> StoredKey {
    StoredKey {
        kid: format!("kid of {alg}"),
        alg,
        private: Zeroizing::new(PRIVATE.to_vec()),
        sealed: alg == Alg::EdDsa,
        created_at: UnixMillis(10 + alg as i64),
        activates_at: UnixMillis(20),
        retires_at: (alg == Alg::Rs256).then_some(UnixMillis(30)),
    }
}

fn complete(store: &Store) -> Vec<StoredKey> {
    store.run(|conn| signing_keys::complete(conn, NOW, |alg| Ok(key(alg))))
}

fn a_new_database_has_none(store: Store) {
    assert!(store.migrated().run(signing_keys::list).is_empty());
}

fn a_key_of_every_algorithm_is_made_once(store: Store) {
    let store = store.migrated();
    let algs = |keys: Vec<StoredKey>| keys.iter().map(|key| key.alg).collect::<Vec<_>>();
    assert_eq!(algs(complete(&store)), Alg::ALL);
    let again = store.run(|conn| signing_keys::complete(conn, NOW, |alg| panic!("{alg} is there")));
    assert_eq!(algs(again), Alg::ALL);
    assert_eq!(store.run(|conn| changes::after(conn, 0, 10)), [(1, Change::Keys)]);
}

fn a_key_comes_back_as_it_was_written(store: Store) {
    let store = store.migrated();
    complete(&store);
    for found in store.run(signing_keys::list) {
        let written = key(found.alg);
        assert_eq!((&found.kid, &found.private[..]), (&written.kid, &PRIVATE[..]));
        assert_eq!((found.sealed, found.created_at), (written.sealed, written.created_at));
        assert_eq!(
            (found.activates_at, found.retires_at),
            (written.activates_at, written.retires_at)
        );
    }
}

fn only_what_is_missing_is_made(store: Store) {
    let store = store.migrated();
    complete(&store);
    let remove = "DELETE FROM signing_keys WHERE alg = 'PS256'";
    store.execute(remove, remove);
    let made = std::cell::RefCell::new(Vec::new());
    let keys = store.run(|conn| {
        signing_keys::complete(conn, NOW, |alg| {
            made.borrow_mut().push(alg);
            Ok(key(alg))
        })
    });
    assert_eq!((keys.len(), made.into_inner()), (5, vec![Alg::Ps256]));
}

fn when_a_key_cannot_be_made_none_is_kept(store: Store) {
    let store = store.migrated();
    let no_rsa = |alg| match alg {
        Alg::Rs256 => Err(DbError::Query("no randomness".into())),
        _ => Ok(key(alg)),
    };
    let outcome = store.try_run(|conn| signing_keys::complete(conn, NOW, no_rsa));
    assert_eq!(outcome.unwrap_err(), DbError::Query("no randomness".into()));
    assert!(store.run(signing_keys::list).is_empty());
    assert_eq!(store.run(changes::last), 0);
}

fn of_several_instances_at_once_one_makes_the_keys(store: Store) {
    let store = store.migrated();
    let start = Barrier::new(4);
    let instance = || {
        store.run(|conn| {
            start.wait();
            signing_keys::complete(conn, NOW, |alg| Ok(key(alg)))
        })
    };
    let kept = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(instance)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap().len())
            .collect::<Vec<_>>()
    });
    assert_eq!(kept, [5; 4]);
    assert_eq!(store.run(signing_keys::list).len(), 5);
}

fn a_key_of_an_unknown_algorithm_is_inconsistent(store: Store) {
    let store = store.migrated();
    complete(&store);
    let spoil = "UPDATE signing_keys SET alg = 'none' WHERE alg = 'HS256'";
    store.execute(spoil, spoil);
    let outcome = store.try_run(signing_keys::list);
    assert!(matches!(outcome, Err(DbError::Inconsistent(_))), "{outcome:?}");
}
