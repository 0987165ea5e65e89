//! KeyRotator: publishes keys ahead of time, removes retired ones, and publishes once for any
//! number of instances.

use std::time::Duration;

use actix::Actor;
use mintage::actors::key_rotator::KeyRotator;
use mintage::cluster::keys::Rotation;
use mintage::db::{Conn, signing_keys};
use mintage::keys::rotation::{Activation, Schedule};
use mintage::keys::{KeyEncryptionKey, KeyRecord, KeyRing, KeyStore, SigningKey};
use mintage::oauth::alg::Alg;
use mintage::time::UnixMillis;
use testkit::sample::NOW;
use testkit::sqlite::Sqlite;
use testkit::time::Time;

use crate::{migrated, open};

const SECOND: Duration = Duration::from_secs(1);

/// A new key is activated every minute, and published 20 s before.
fn schedule() -> Schedule {
    Schedule::new(60 * SECOND, 20 * SECOND, SECOND)
}

/// A database with a key for every algorithm, created now.
struct Subject {
    time: Time,
    sqlite: Sqlite,
}

fn subject() -> Subject {
    let sqlite = migrated();
    let generate = |alg| Ok(SigningKey::generate(alg, NOW, None).unwrap());
    open(&sqlite)
        .run_here(|conn| signing_keys::complete(conn, NOW, None, generate))
        .unwrap();
    Subject {
        time: Time::paused(),
        sqlite,
    }
}

impl Subject {
    /// The state of one instance: its keys as stored now, and their rotation.
    fn instance(&self) -> (KeyStore, Rotation) {
        let db = open(&self.sqlite);
        let stored = db.run_here(|conn| signing_keys::list(conn, None)).unwrap();
        let keys = KeyStore::default();
        keys.set(KeyRing::new(&stored.keys, None, self.time.clock.now()).unwrap());
        let rotation = Rotation::new(db, self.time.clock.clone(), keys.clone(), None, schedule());
        (keys, rotation)
    }

    fn stored(&self) -> Vec<KeyRecord> {
        let records = |conn: &mut Conn| signing_keys::records(conn, None);
        open(&self.sqlite).run_here(records).unwrap().believed
    }

    /// Advances the clock by a time in which no timer is due, then lets the rotator check once
    /// more.
    async fn checks_after(&self, time: Duration) {
        self.time.clock.advance(time.as_millis() as i64);
        self.time.passes(1200).await;
    }
}

fn waiting(keys: &[KeyRecord], now: UnixMillis) -> usize {
    keys.iter().filter(|key| key.activates_at > now).count()
}

#[actix::test]
async fn p50_the_next_keys_are_published_ahead_and_activate_by_the_clock() {
    let subject = subject();
    let (keys, rotation) = subject.instance();
    KeyRotator::new(rotation).start();
    let signer = |alg| {
        keys.ring()
            .unwrap()
            .signer(alg, subject.time.clock.now())
            .unwrap()
            .kid
            .clone()
    };
    let first = Alg::ALL.map(signer);
    subject.checks_after(38 * SECOND).await;
    assert_eq!(subject.stored().len(), 5);
    subject.checks_after(SECOND).await;
    assert_eq!(waiting(&subject.stored(), subject.time.clock.now()), 5);
    assert_eq!(keys.ring().unwrap().keys().len(), 10);
    assert_eq!(Alg::ALL.map(signer), first);
    subject.time.clock.advance(21_000);
    assert!(Alg::ALL.map(signer).iter().zip(&first).all(|(new, old)| new != old));
}

#[actix::test]
async fn of_two_instances_one_publishes_and_both_have_the_keys() {
    let subject = subject();
    let ((ours, first), (theirs, second)) = (subject.instance(), subject.instance());
    KeyRotator::new(first).start();
    KeyRotator::new(second).start();
    subject.checks_after(40 * SECOND).await;
    subject.checks_after(SECOND).await;
    assert_eq!(subject.stored().len(), 10);
    for keys in [ours, theirs] {
        assert_eq!(keys.ring().unwrap().keys().len(), 10);
    }
}

#[actix::test]
async fn a_key_is_removed_when_its_last_token_has_expired() {
    let subject = subject();
    let (keys, rotation) = subject.instance();
    let rotated = rotation
        .rotate(testkit::sample::operator(), vec![Alg::Es256], Activation::Scheduled)
        .await
        .unwrap();
    let end = rotated.keys.iter().find_map(|key| key.retires_at).unwrap();
    assert_eq!(end.0, NOW.0 + 20_000 + 31 * 24 * 3_600_000);
    let old = |keys: &KeyStore| {
        keys.ring()
            .unwrap()
            .keys()
            .iter()
            .filter(|key| key.retires_at.is_some())
            .count()
    };
    assert_eq!(old(&keys), 1);
    KeyRotator::new(rotation).start();
    subject.time.clock.advance(end.since(NOW));
    subject.time.passes(1200).await;
    assert!(!subject.stored().iter().any(|key| key.retires_at == Some(end)));
    assert!(
        !keys
            .ring()
            .unwrap()
            .keys()
            .iter()
            .any(|key| key.retires_at == Some(end))
    );
}

#[actix::test]
async fn two_concurrent_rotations_publish_one_key() {
    let subject = subject();
    let (_, rotation) = subject.instance();
    let ask = || rotation.rotate(testkit::sample::operator(), vec![Alg::Hs256], Activation::Scheduled);
    let (first, second) = tokio::join!(ask(), ask());
    assert_eq!(first.unwrap().published.len() + second.unwrap().published.len(), 1);
    assert_eq!(subject.stored().len(), 6);
}

#[actix::test]
async fn new_keys_are_encrypted_if_the_others_are() {
    let subject = subject();
    let key_encryption_key = std::sync::Arc::new(KeyEncryptionKey::new(&[7; 32]));
    let db = open(&subject.sqlite);
    db.run_here(|conn| signing_keys::complete(conn, NOW, Some(&key_encryption_key), |alg| panic!("{alg} exists")))
        .unwrap();
    let (clock, keys) = (subject.time.clock.clone(), KeyStore::default());
    let rotation = Rotation::new(
        db.clone(),
        clock.clone(),
        keys.clone(),
        Some(key_encryption_key.clone()),
        schedule(),
    );
    rotation
        .rotate(testkit::sample::operator(), vec![Alg::EdDsa], Activation::Scheduled)
        .await
        .unwrap();
    assert!(subject.stored().iter().all(|key| key.encrypted));
    assert_eq!(keys.ring().unwrap().keys().len(), 6);
    // An instance without the encryption key must not publish keys that the others cannot read.
    let blind = Rotation::new(db, clock, KeyStore::default(), None, schedule());
    assert!(
        blind
            .rotate(testkit::sample::operator(), vec![Alg::Es256], Activation::Scheduled)
            .await
            .is_err()
    );
    assert_eq!(subject.stored().len(), 6);
}
