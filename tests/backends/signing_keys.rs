//! The signing keys.

use std::sync::Barrier;

use mintage::aead::Aead;
use mintage::clock::Clock;
use mintage::db::changes::{self, Change};
use mintage::db::key_reencryption::{ReEncrypted, re_encrypt};
use mintage::db::signing_keys::{Rotated, StoredKeys};
use mintage::db::{Backend, DbError, signing_keys};
use mintage::keys::rotation::{Publication, Schedule, due};
use mintage::keys::trust::{Checked, Finding, Reason};
use mintage::keys::{KeyEncryptionKey, KeyRecord, StoredKey};
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
    a_first_start_with_an_encryption_key_encrypts_and_attests_once
    a_database_of_0_1_with_encrypted_keys_keeps_them
    keys_of_this_version_that_lost_all_attestations_are_not_attested_again
    an_attestation_never_becomes_a_private_key
    keys_are_re_encrypted_once
    keys_of_0_1_are_re_encrypted
    a_failed_re_encryption_changes_nothing
    a_rotation_attests_what_it_writes
    a_rotation_repairs_altered_rows
    the_wrong_encryption_key_reads_no_key
    a_plain_key_is_never_encrypted_later
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
    store.run(|conn| Ok(signing_keys::complete(conn, NOW, None, |alg| Ok(key(alg)))?.keys))
}

fn list(store: &Store) -> Vec<StoredKey> {
    store.run(|conn| signing_keys::list(conn, None)).keys
}

fn records(store: &Store) -> Vec<KeyRecord> {
    store.run(|conn| signing_keys::records(conn, None)).believed
}

fn a_new_database_has_no_keys(store: Store) {
    assert!(list(&store.migrated()).is_empty());
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
    let again = store
        .run(|conn| signing_keys::complete(conn, NOW, None, |alg| panic!("{alg} exists")))
        .keys;
    assert_eq!(algs(again), Alg::ALL);
    assert_eq!(announced(&store, 0), [(1, Change::Keys)]);
}

fn a_key_is_read_as_it_was_written(store: Store) {
    let store = store.migrated();
    complete(&store);
    for found in list(&store) {
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
        signing_keys::complete(conn, NOW, None, |alg| {
            created.borrow_mut().push(alg);
            Ok(key(alg))
        })
    });
    let keys = keys.keys;
    assert_eq!((keys.len(), created.into_inner()), (5, vec![Alg::Ps256]));
}

fn when_a_key_cannot_be_created_none_is_kept(store: Store) {
    let store = store.migrated();
    let no_rsa = |alg| match alg {
        Alg::Rs256 => Err(DbError::Query("no randomness".into())),
        _ => Ok(key(alg)),
    };
    let outcome = store.try_run(|conn| signing_keys::complete(conn, NOW, None, no_rsa));
    assert_eq!(outcome.unwrap_err(), DbError::Query("no randomness".into()));
    assert!(list(&store).is_empty());
    assert_eq!(store.run(changes::last), 0);
}

fn of_concurrent_instances_one_creates_the_keys(store: Store) {
    let store = store.migrated();
    let start = Barrier::new(4);
    let instance = || {
        store.run(|conn| {
            start.wait();
            Ok(signing_keys::complete(conn, NOW, None, |alg| Ok(key(alg)))?.keys)
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
    assert_eq!(list(&store).len(), 5);
}

fn a_key_of_an_unknown_algorithm_is_inconsistent(store: Store) {
    let store = store.migrated();
    complete(&store);
    let spoil = "UPDATE signing_keys SET alg = 'none' WHERE alg = 'HS256'";
    store.execute(spoil, spoil);
    let outcome = store.try_run(|conn| signing_keys::list(conn, None));
    assert!(matches!(outcome, Err(DbError::Inconsistent(_))), "{outcome:?}");
}

/// Creates keys whose private keys are all stored unencrypted.
fn complete_in_the_clear(store: &Store) {
    store.run(|conn| {
        signing_keys::complete(conn, NOW, None, |alg| {
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
        signing_keys::rotate(conn, &clock, &testkit::sample::operator(), created, None, |_, _| {
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
    assert_eq!(records(&store), expected);
}

fn a_published_key_retires_the_others_of_its_algorithm(store: Store) {
    let store = store.migrated();
    complete_in_the_clear(&store);
    let before = store.run(changes::last);
    let rotated = rotate(&store, 25, "new", publication(Alg::Es256, 40, 90));
    let stored = records(&store);
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
            signing_keys::rotate(conn, &clock, &testkit::sample::operator(), Vec::new(), None, |_, _| {
                Vec::new()
            })
        })
    };
    assert_eq!((look().removed.len(), store.run(changes::last)), (0, before));
    clock.advance(1);
    let removed = look().removed;
    assert_eq!((removed.len(), removed[0].alg), (1, Alg::Rs256));
    assert_eq!((list(&store).len(), store.run(changes::last)), (4, before + 1));
}

fn a_rotation_without_a_due_key_writes_nothing(store: Store) {
    let store = store.migrated();
    complete_in_the_clear(&store);
    let (before, clock) = (store.run(changes::last), Clock::mock(UnixMillis(25)));
    let created = vec![new_key("for nothing", Alg::Es256)];
    let rotated = store.run(|conn| {
        signing_keys::rotate(conn, &clock, &testkit::sample::operator(), created, None, |_, _| {
            Vec::new()
        })
    });
    assert_eq!(rotated, Rotated::nothing(records(&store)));
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
            signing_keys::rotate(
                conn,
                &clock,
                &testkit::sample::operator(),
                created,
                None,
                |keys, now| due(keys, &schedule, now).publish,
            )
        })
    };
    let published: usize = std::thread::scope(|scope| {
        let instance = &instance;
        let threads: Vec<_> = (0..4).map(|number| scope.spawn(move || instance(number))).collect();
        let rotated = threads.into_iter().map(|thread| thread.join().unwrap());
        rotated.map(|rotated| rotated.published.len()).sum()
    });
    assert_eq!((published, list(&store).len()), (5, 10));
}

fn a_publication_without_a_key_is_postponed(store: Store) {
    let store = store.migrated();
    complete_in_the_clear(&store);
    let both = |_: &[KeyRecord], _| vec![publication(Alg::EdDsa, 40, 90), publication(Alg::Es256, 40, 90)];
    let created = vec![new_key("new", Alg::Es256)];
    let clock = Clock::mock(UnixMillis(25));
    let rotated =
        store.run(|conn| signing_keys::rotate(conn, &clock, &testkit::sample::operator(), created, None, both));
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
        signing_keys::rotate(conn, &clock, &testkit::sample::operator(), vec![new], None, |_, _| {
            vec![publication(Alg::Es256, 40, 90)]
        })
    });
    assert!(matches!(outcome, Err(DbError::Inconsistent(_))), "{outcome:?}");
    assert_eq!(records(&store).len(), 5);
    assert_eq!(record(&records(&store), "kid of ES256").retires_at, None);
}

const ENCRYPTION_KEY: &[u8; 32] = b"\x9f\x03\xa7\x51\xee\x1c\x88\x42\xb6\x70\x2d\xf9\x14\xc3\x5e\x8b\
    \x07\xd2\x69\xfa\x33\x95\x4c\xe0\x7a\xbd\x11\x86\xcf\x28\x64\x3f";

fn encryption_key() -> KeyEncryptionKey {
    KeyEncryptionKey::new(ENCRYPTION_KEY)
}

fn another_encryption_key() -> KeyEncryptionKey {
    KeyEncryptionKey::new(&std::array::from_fn(|at| at as u8 ^ 0x5a))
}

/// Writes every row as version 0.1 did, which encrypts with the kid as context and does not attest.
fn as_by_0_1(store: &Store) {
    for alg in Alg::ALL {
        let kid = key(alg).kid;
        let private = Aead::gcm(ENCRYPTION_KEY).encrypt(kid.as_bytes(), PRIVATE.to_vec());
        let private: String = private.unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        let update = |private| {
            format!("UPDATE signing_keys SET attestation = NULL, private_key = {private} WHERE kid = '{kid}'")
        };
        store.execute(&update(format!("X'{private}'")), &update(format!("'\\x{private}'")));
    }
}

/// What a start with an encryption key does when every algorithm has a key.
fn start(store: &Store) -> Result<StoredKeys, DbError> {
    store.try_run(|conn| signing_keys::complete(conn, NOW, Some(&encryption_key()), |alg| panic!("{alg} exists")))
}

/// A key of every algorithm, none of which expires, encrypted and attested.
fn protected(store: Store) -> Store {
    let store = store.migrated();
    complete_in_the_clear(&store);
    execute(&store, "UPDATE signing_keys SET retires_at_ms = NULL");
    start(&store).unwrap();
    store
}

fn execute(store: &Store, statement: &str) {
    store.execute(statement, statement);
}

fn checked(store: &Store) -> Checked {
    store.run(|conn| signing_keys::records(conn, Some(&encryption_key())))
}

fn finding(kid: &str, reason: Reason) -> Finding {
    Finding {
        kid: kid.into(),
        reason,
    }
}

fn a_first_start_with_an_encryption_key_encrypts_and_attests_once(store: Store) {
    let store = store.migrated();
    complete_in_the_clear(&store);
    let before = records(&store);
    let stored = start(&store).unwrap();
    assert_eq!((stored.keys.len(), stored.findings.len()), (5, 0));
    for (key, before) in stored.keys.iter().zip(&before) {
        let private = encryption_key().decrypt(&key.kid, &key.private).unwrap();
        assert_eq!((&private[..], key.retires_at), (&PRIVATE[..], before.retires_at));
    }
    let written = || store.texts("SELECT count(DISTINCT attestation) || '' AS value FROM signing_keys");
    let change = store.run(changes::last);
    assert_eq!(written(), ["5"]);
    assert_eq!(start(&store).unwrap().keys.len(), 5);
    assert_eq!(store.run(changes::last), change);
}

fn a_database_of_0_1_with_encrypted_keys_keeps_them(store: Store) {
    let store = protected(store);
    let before = checked(&store);
    as_by_0_1(&store);
    let stored = |store: &Store| -> Vec<Vec<u8>> { list(store).iter().map(|key| key.private.to_vec()).collect() };
    let private = stored(&store);
    let outcome = store.try_run(|conn| signing_keys::records(conn, Some(&encryption_key())));
    assert!(matches!(outcome, Err(DbError::Inconsistent(_))), "{outcome:?}");
    start(&store).unwrap();
    assert_eq!(checked(&store), before);
    // Version 0.1 can still read them.
    assert_eq!(stored(&store), private);
}

fn keys_of_this_version_that_lost_all_attestations_are_not_attested_again(store: Store) {
    let store = protected(store);
    execute(
        &store,
        "UPDATE signing_keys SET attestation = NULL, activates_at_ms = 1",
    );
    let error = start(&store).unwrap_err().to_string();
    assert!(error.contains("the stored keys have no attestation"), "{error}");
    // One is enough to prove that it is no database of version 0.1.
    as_by_0_1(&store);
    let private = encryption_key().encrypt("kid of ES256", &PRIVATE).unwrap();
    let private: String = private.iter().map(|byte| format!("{byte:02x}")).collect();
    let update = |private| format!("UPDATE signing_keys SET private_key = {private} WHERE kid = 'kid of ES256'");
    store.execute(&update(format!("X'{private}'")), &update(format!("'\\x{private}'")));
    start(&store).unwrap_err();
    let attested = "SELECT kid AS value FROM signing_keys WHERE attestation IS NOT NULL";
    assert!(store.texts(attested).is_empty());
}

/// Its text can be guessed, so a row that presents it as the private key of HS256 would let anyone
/// sign.
fn an_attestation_never_becomes_a_private_key(store: Store) {
    // PostgreSQL has no text with a zero byte.
    if matches!(store.backend, Backend::Postgres) {
        return;
    }
    let store = protected(store);
    let insert = "INSERT INTO signing_keys (kid, alg, private_key, sealed, created_at_ms, activates_at_ms)
        SELECT CAST(X'6d696e74616765206b6579206174746573746174696f6e00' AS TEXT) || kid, 'HS256', attestation, 1, 1, 1
        FROM signing_keys WHERE alg = 'ES256'";
    execute(&store, insert);
    execute(&store, "DELETE FROM signing_keys WHERE kid LIKE 'kid%'");
    let outcome = store.try_run(|conn| signing_keys::complete(conn, NOW, Some(&encryption_key()), |alg| Ok(key(alg))));
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("cannot decrypt key"), "{error}");
}

fn re_encrypted(store: &Store, old: &KeyEncryptionKey, new: &KeyEncryptionKey) -> Result<ReEncrypted, DbError> {
    store.try_run(|conn| re_encrypt(conn, &Clock::mock(NOW), &testkit::sample::operator(), old, new))
}

fn keys_are_re_encrypted_once(store: Store) {
    let store = protected(store);
    execute(&store, "UPDATE signing_keys SET attestation = NULL WHERE alg = 'HS256'");
    execute(
        &store,
        "UPDATE signing_keys SET retires_at_ms = 400 WHERE alg = 'ES256'",
    );
    let (old, new) = (encryption_key(), another_encryption_key());
    let (before, change) = (checked(&store).believed, store.run(changes::last));
    let done = re_encrypted(&store, &old, &new).unwrap();
    assert_eq!(
        (done.kids.len(), done.attested.len(), done.rejected.as_slice()),
        (4, 0, &["kid of HS256".to_owned()][..])
    );
    assert_eq!(announced(&store, change), [(change + 1, Change::Keys)]);
    let events = || store.texts("SELECT action || ' ' || subject AS value FROM audit WHERE action LIKE 'key.%'");
    assert_eq!(events(), [format!("key.re_encrypt {}", done.kids.join(" "))]);
    let stored = store.run(|conn| signing_keys::list(conn, Some(&new)));
    assert_eq!(stored.keys.iter().map(KeyRecord::from).collect::<Vec<_>>(), before);
    for key in &stored.keys {
        assert_eq!(&new.decrypt(&key.kid, &key.private).unwrap()[..], PRIVATE);
        assert!(old.decrypt(&key.kid, &key.private).is_err());
    }
    start(&store).unwrap_err();
    assert_eq!(re_encrypted(&store, &old, &new), Ok(ReEncrypted::default()));
    assert_eq!((store.run(changes::last), events().len()), (change + 1, 1));
    let back = re_encrypted(&store, &new, &old).unwrap();
    assert_eq!((back.kids, checked(&store).believed), (done.kids, before));
}

fn keys_of_0_1_are_re_encrypted(store: Store) {
    let store = protected(store);
    let before = checked(&store).believed;
    for new in [encryption_key(), another_encryption_key()] {
        as_by_0_1(&store);
        let done = re_encrypted(&store, &encryption_key(), &new).unwrap();
        assert_eq!((done.kids.len(), &done.attested), (5, &done.kids));
        let details = store.texts("SELECT detail AS value FROM audit WHERE action = 'key.re_encrypt' ORDER BY id");
        let expected = serde_json::json!({ "attested": done.attested, "rejected": [] });
        assert_eq!(details.last(), Some(&expected.to_string()));
        let stored = store.run(|conn| signing_keys::list(conn, Some(&new)));
        assert_eq!(stored.keys.iter().map(KeyRecord::from).collect::<Vec<_>>(), before);
        let is_new = |key: &StoredKey| new.is_of_this_version(&key.kid, &key.private);
        assert!(stored.keys.iter().all(is_new));
    }
}

fn a_failed_re_encryption_changes_nothing(store: Store) {
    let store = store.migrated();
    let (right, wrong) = (encryption_key(), another_encryption_key());
    assert_eq!(re_encrypted(&store, &right, &wrong), Ok(ReEncrypted::default()));
    complete_in_the_clear(&store);
    let error = |old, new| re_encrypted(&store, old, new).unwrap_err().to_string();
    assert!(error(&right, &wrong).contains("the stored keys are not encrypted"));
    start(&store).unwrap();
    let change = store.run(changes::last);
    let third = KeyEncryptionKey::new(&std::array::from_fn(|at| at as u8 ^ 0xa5));
    assert!(error(&wrong, &third).contains("were not encrypted with the old key"));
    execute(
        &store,
        "UPDATE signing_keys SET private_key = (SELECT private_key FROM signing_keys WHERE alg = 'ES256')
            WHERE alg = 'PS256'",
    );
    assert!(error(&right, &wrong).contains("key kid of PS256 was altered"));
    assert_eq!((checked(&store).believed.len(), store.run(changes::last)), (5, change));
    as_by_0_1(&store);
    assert!(error(&wrong, &third).contains("were not encrypted with the old key"));
}

/// Publishes the encrypted key `new` for ES256: active from 40 on, its predecessor until 90.
fn rotate_encrypted(store: &Store) -> Rotated {
    let clock = Clock::mock(UnixMillis(25));
    let mut new = new_key("new", Alg::Es256);
    new.encrypted = true;
    store.run(|conn| {
        let decide = |_: &[KeyRecord], _| vec![publication(Alg::Es256, 40, 90)];
        signing_keys::rotate(
            conn,
            &clock,
            &testkit::sample::operator(),
            vec![new],
            Some(&encryption_key()),
            decide,
        )
    })
}

fn a_rotation_attests_what_it_writes(store: Store) {
    let store = protected(store);
    let rotated = rotate_encrypted(&store);
    let checked = checked(&store);
    assert_eq!((&checked.believed, checked.findings.len()), (&rotated.keys, 0));
    assert_eq!(record(&checked.believed, "new").activates_at, UnixMillis(40));
    assert_eq!(
        record(&checked.believed, "kid of ES256").retires_at,
        Some(UnixMillis(90))
    );
}

fn a_rotation_repairs_altered_rows(store: Store) {
    let store = protected(store);
    let before = checked(&store).believed;
    execute(
        &store,
        "UPDATE signing_keys SET alg = 'none', created_at_ms = 1, activates_at_ms = 2, retires_at_ms = 99
            WHERE alg = 'ES256'",
    );
    assert_eq!(checked(&store).findings, [finding("kid of ES256", Reason::Altered)]);
    rotate_encrypted(&store);
    let mut expected = record(&before, "kid of ES256").clone();
    expected.retires_at = Some(UnixMillis(90));
    let after = checked(&store);
    assert_eq!(
        (record(&after.believed, "kid of ES256"), after.findings),
        (&expected, Vec::new())
    );
}

fn the_wrong_encryption_key_reads_no_key(store: Store) {
    let store = protected(store);
    let wrong = another_encryption_key();
    for attested in [true, false] {
        if !attested {
            as_by_0_1(&store);
        }
        let outcome =
            store.try_run(|conn| signing_keys::complete(conn, NOW, Some(&wrong), |alg| panic!("{alg} exists")));
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("keys.encryption_key is not the one"), "{error}");
    }
    start(&store).unwrap();
    assert_eq!(checked(&store).believed.len(), 5);
}

fn a_plain_key_is_never_encrypted_later(store: Store) {
    let store = protected(store);
    store.run(|conn| {
        let decide = |_: &[KeyRecord], _| vec![publication(Alg::Es256, 40, 90)];
        let foreign = vec![new_key("foreign", Alg::Es256)];
        let clock = Clock::mock(UnixMillis(25));
        let rotated = signing_keys::rotate(conn, &clock, &testkit::sample::operator(), foreign, None, decide);
        assert!(matches!(rotated, Err(DbError::Inconsistent(_))), "{rotated:?}");
        Ok(())
    });
    execute(
        &store,
        "INSERT INTO signing_keys (kid, alg, private_key, sealed, created_at_ms, activates_at_ms)
            SELECT 'foreign', alg, private_key, sealed AND FALSE, created_at_ms, activates_at_ms
            FROM signing_keys WHERE alg = 'ES256'",
    );
    // Beside attested keys, and beside those of version 0.1.
    for attested in [true, false] {
        if !attested {
            as_by_0_1(&store);
        }
        let stored = start(&store).unwrap();
        assert_eq!(stored.findings, [finding("foreign", Reason::Plain)]);
        assert_eq!(stored.keys.len(), 5);
    }
    let plain = "SELECT kid AS value FROM signing_keys WHERE NOT sealed";
    assert_eq!(store.texts(plain), ["foreign"]);
}
