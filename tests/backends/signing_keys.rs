//! The signing keys.

use std::sync::Barrier;

use mintage::clock::Clock;
use mintage::db::changes::{self, Change};
use mintage::db::signing_keys::Rotated;
use mintage::db::{DbError, signing_keys};
use mintage::keys::rotation::{Publication, Schedule, due};
use mintage::keys::{KeyRecord, StoredKey};
use mintage::oauth::alg::Alg;
use mintage::time::UnixMillis;
use testkit::sample::NOW;
use zeroize::Zeroizing;

use crate::{Store, on_both_backends};

on_both_backends! {
    a_new_database_has_no_keys
    a_key_of_every_algorithm_is_created_once
    a_key_is_read_as_it_was_written
    only_missing_keys_are_created
    when_a_key_cannot_be_created_none_is_kept
    of_concurrent_instances_one_creates_the_keys
    a_key_of_an_unknown_algorithm_is_inconsistent
    a_key_record_holds_everything_except_the_private_key
    a_published_key_retires_the_others_of_its_algorithm
    a_key_that_retires_earlier_keeps_its_time
    an_immediate_activation_removes_the_other_keys
    a_retired_key_is_removed
    a_rotation_without_a_due_key_writes_nothing
    of_concurrent_instances_one_publishes
    a_publication_without_a_key_is_postponed
    a_key_encrypted_unlike_the_others_is_rejected
}

/// Bytes that are not text in any encoding.
const PRIVATE: [u8; 5] = [0, 0xff, 0xfe, b'\'', 0x80];

/// A key that need not sign anything.
fn key(alg: Alg) -> StoredKey {
    StoredKey {
        kid: format!("kid of {alg}"),
        alg,
        private: Zeroizing::new(PRIVATE.to_vec()),
        encrypted: alg == Alg::EdDsa,
        created_at: UnixMillis(10 + alg as i64),
        activates_at: UnixMillis(20),
        retires_at: (alg == Alg::Rs256).then_some(UnixMillis(30)),
    }
}

fn complete(store: &Store) -> Vec<StoredKey> {
    store.run(|conn| signing_keys::complete(conn, NOW, |alg| Ok(key(alg))))
}

fn a_new_database_has_no_keys(store: Store) {
    assert!(store.migrated().run(signing_keys::list).is_empty());
}

/// The entries of the change log after this number.
fn announced(store: &Store, before: i64) -> Vec<(i64, Change)> {
    let lines = store.run(|conn| changes::from(conn, before + 1, 10));
    lines.into_iter().map(|line| (line.seq, line.change)).collect()
}

fn a_key_of_every_algorithm_is_created_once(store: Store) {
    let store = store.migrated();
    let algs = |keys: Vec<StoredKey>| keys.iter().map(|key| key.alg).collect::<Vec<_>>();
    assert_eq!(algs(complete(&store)), Alg::ALL);
    let again = store.run(|conn| signing_keys::complete(conn, NOW, |alg| panic!("{alg} exists")));
    assert_eq!(algs(again), Alg::ALL);
    assert_eq!(announced(&store, 0), [(1, Change::Keys)]);
}

fn a_key_is_read_as_it_was_written(store: Store) {
    let store = store.migrated();
    complete(&store);
    for found in store.run(signing_keys::list) {
        let written = key(found.alg);
        assert_eq!((&found.kid, &found.private[..]), (&written.kid, &PRIVATE[..]));
        assert_eq!(
            (found.encrypted, found.created_at),
            (written.encrypted, written.created_at)
        );
        assert_eq!(
            (found.activates_at, found.retires_at),
            (written.activates_at, written.retires_at)
        );
    }
}

fn only_missing_keys_are_created(store: Store) {
    let store = store.migrated();
    complete(&store);
    let remove = "DELETE FROM signing_keys WHERE alg = 'PS256'";
    store.execute(remove, remove);
    let created = std::cell::RefCell::new(Vec::new());
    let keys = store.run(|conn| {
        signing_keys::complete(conn, NOW, |alg| {
            created.borrow_mut().push(alg);
            Ok(key(alg))
        })
    });
    assert_eq!((keys.len(), created.into_inner()), (5, vec![Alg::Ps256]));
}

fn when_a_key_cannot_be_created_none_is_kept(store: Store) {
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

fn of_concurrent_instances_one_creates_the_keys(store: Store) {
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

/// Creates keys whose private keys are all stored unencrypted.
fn complete_in_the_clear(store: &Store) {
    store.run(|conn| {
        signing_keys::complete(conn, NOW, |alg| {
            Ok(StoredKey {
                encrypted: false,
                ..key(alg)
            })
        })
    });
}

/// A key for a publication.
fn new_key(kid: &str, alg: Alg) -> StoredKey {
    StoredKey {
        kid: kid.into(),
        encrypted: false,
        ..key(alg)
    }
}

fn publication(alg: Alg, activates_at: i64, others_until: i64) -> Publication {
    Publication {
        alg,
        activates_at: UnixMillis(activates_at),
        others_until: UnixMillis(others_until),
    }
}

/// Publishes one ES256 key at `now`.
fn rotate(store: &Store, now: i64, kid: &str, publication: Publication) -> Rotated {
    let (clock, created) = (Clock::mock(UnixMillis(now)), vec![new_key(kid, Alg::Es256)]);
    store.run(|conn| {
        signing_keys::rotate(conn, &clock, &testkit::sample::operator(), created, |_, _| {
            vec![publication]
        })
    })
}

fn record<'a>(keys: &'a [KeyRecord], kid: &str) -> &'a KeyRecord {
    keys.iter().find(|key| key.kid == kid).unwrap()
}

fn a_key_record_holds_everything_except_the_private_key(store: Store) {
    let store = store.migrated();
    let stored = complete(&store);
    let expected: Vec<KeyRecord> = stored.iter().map(KeyRecord::from).collect();
    assert_eq!(store.run(signing_keys::records), expected);
}

fn a_published_key_retires_the_others_of_its_algorithm(store: Store) {
    let store = store.migrated();
    complete_in_the_clear(&store);
    let before = store.run(changes::last);
    let rotated = rotate(&store, 25, "new", publication(Alg::Es256, 40, 90));
    let stored = store.run(signing_keys::records);
    assert_eq!((&rotated.keys, rotated.removed.len(), stored.len()), (&stored, 0, 6));
    let new = record(&stored, "new");
    assert_eq!(
        (new.created_at, new.activates_at, new.retires_at),
        (UnixMillis(25), UnixMillis(40), None)
    );
    assert_eq!(rotated.published, std::slice::from_ref(new));
    assert_eq!(record(&stored, "kid of ES256").retires_at, Some(UnixMillis(90)));
    assert_eq!(record(&stored, "kid of EdDSA").retires_at, None);
    assert_eq!(announced(&store, before), [(before + 1, Change::Keys)]);
}

fn a_key_that_retires_earlier_keeps_its_time(store: Store) {
    let store = store.migrated();
    complete_in_the_clear(&store);
    rotate(&store, 25, "second", publication(Alg::Es256, 26, 90));
    let rotated = rotate(&store, 30, "third", publication(Alg::Es256, 31, 95));
    let end = |kid| record(&rotated.keys, kid).retires_at;
    assert_eq!(
        [end("kid of ES256"), end("second"), end("third")],
        [Some(UnixMillis(90)), Some(UnixMillis(95)), None]
    );
}

fn an_immediate_activation_removes_the_other_keys(store: Store) {
    let store = store.migrated();
    complete_in_the_clear(&store);
    rotate(&store, 25, "waits", publication(Alg::Es256, 50, 90));
    let rotated = rotate(&store, 28, "new", publication(Alg::Es256, 28, 28));
    let removed: Vec<&str> = rotated.removed.iter().map(|key| key.kid.as_str()).collect();
    assert_eq!(removed, ["kid of ES256", "waits"]);
    let left = store.texts("SELECT kid AS value FROM signing_keys WHERE alg = 'ES256'");
    assert_eq!(left, ["new"]);
}

fn a_retired_key_is_removed(store: Store) {
    let store = store.migrated();
    complete_in_the_clear(&store);
    let (before, clock) = (store.run(changes::last), Clock::mock(UnixMillis(29)));
    // The RS256 key retires at 30.
    let look = || {
        store.run(|conn| {
            signing_keys::rotate(conn, &clock, &testkit::sample::operator(), Vec::new(), |_, _| {
                Vec::new()
            })
        })
    };
    assert_eq!((look().removed.len(), store.run(changes::last)), (0, before));
    clock.advance(1);
    let removed = look().removed;
    assert_eq!((removed.len(), removed[0].alg), (1, Alg::Rs256));
    assert_eq!(
        (store.run(signing_keys::list).len(), store.run(changes::last)),
        (4, before + 1)
    );
}

fn a_rotation_without_a_due_key_writes_nothing(store: Store) {
    let store = store.migrated();
    complete_in_the_clear(&store);
    let (before, clock) = (store.run(changes::last), Clock::mock(UnixMillis(25)));
    let created = vec![new_key("for nothing", Alg::Es256)];
    let rotated =
        store.run(|conn| signing_keys::rotate(conn, &clock, &testkit::sample::operator(), created, |_, _| Vec::new()));
    assert_eq!(rotated, Rotated::nothing(store.run(signing_keys::records)));
    assert_eq!((rotated.keys.len(), store.run(changes::last)), (5, before));
}

fn of_concurrent_instances_one_publishes(store: Store) {
    let store = store.migrated();
    complete_in_the_clear(&store);
    let start = Barrier::new(4);
    let hour = std::time::Duration::from_secs(3600);
    let schedule = Schedule::new(hour, hour, hour / 4);
    let instance = |number: usize| {
        let created = |alg| new_key(&format!("{alg} of {number}"), alg);
        let created = Alg::ALL.into_iter().map(created).collect();
        store.run(|conn| {
            start.wait();
            let clock = Clock::mock(UnixMillis(25));
            signing_keys::rotate(conn, &clock, &testkit::sample::operator(), created, |keys, now| {
                due(keys, &schedule, now).publish
            })
        })
    };
    let published: usize = std::thread::scope(|scope| {
        let instance = &instance;
        let threads: Vec<_> = (0..4).map(|number| scope.spawn(move || instance(number))).collect();
        let rotated = threads.into_iter().map(|thread| thread.join().unwrap());
        rotated.map(|rotated| rotated.published.len()).sum()
    });
    assert_eq!((published, store.run(signing_keys::list).len()), (5, 10));
}

fn a_publication_without_a_key_is_postponed(store: Store) {
    let store = store.migrated();
    complete_in_the_clear(&store);
    let both = |_: &[KeyRecord], _| vec![publication(Alg::EdDsa, 40, 90), publication(Alg::Es256, 40, 90)];
    let created = vec![new_key("new", Alg::Es256)];
    let clock = Clock::mock(UnixMillis(25));
    let rotated = store.run(|conn| signing_keys::rotate(conn, &clock, &testkit::sample::operator(), created, both));
    assert_eq!(rotated.published.len(), 1);
    assert_eq!(record(&rotated.keys, "kid of EdDSA").retires_at, None);
}

fn a_key_encrypted_unlike_the_others_is_rejected(store: Store) {
    let store = store.migrated();
    complete_in_the_clear(&store);
    let mut new = new_key("new", Alg::Es256);
    new.encrypted = true;
    let clock = Clock::mock(UnixMillis(25));
    let outcome = store.try_run(|conn| {
        signing_keys::rotate(conn, &clock, &testkit::sample::operator(), vec![new], |_, _| {
            vec![publication(Alg::Es256, 40, 90)]
        })
    });
    assert!(matches!(outcome, Err(DbError::Inconsistent(_))), "{outcome:?}");
    assert_eq!(store.run(signing_keys::records).len(), 5);
    assert_eq!(
        record(&store.run(signing_keys::records), "kid of ES256").retires_at,
        None
    );
}
