//! The signing keys of all instances: [`Rotation`] publishes and removes them, `reload` reads
//! what other instances have done.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::api::audit::Principal;
use crate::clock::Clock;
use crate::db::signing_keys::{self, Rotated};
use crate::db::{Conn, Db, DbError};
use crate::keys::rotation::{self, Activation, Publication, Schedule};
use crate::keys::trust::Checked;
use crate::keys::{KeyEncryptionKey, KeyRecord, KeyStore, SigningKey, StoredKey};
use crate::oauth::alg::Alg;
use crate::time::UnixMillis;

/// Rotates keys: generates them off the workers, publishes and removes keys in one transaction, and
/// applies the result.
#[derive(Clone)]
pub struct Rotation {
    db: Db,
    clock: Clock,
    keys: KeyStore,
    key_encryption_key: Option<Arc<KeyEncryptionKey>>,
    schedule: Schedule,
    /// Held while keys are generated and published. Two concurrent rotations of one instance would
    /// otherwise generate keys for nothing.
    lock: Arc<Mutex<()>>,
}

impl Rotation {
    /// Creates a rotation for `keys`, which must have been loaded by the start.
    pub fn new(
        db: Db,
        clock: Clock,
        keys: KeyStore,
        key_encryption_key: Option<Arc<KeyEncryptionKey>>,
        schedule: Schedule,
    ) -> Self {
        Self {
            db,
            clock,
            keys,
            key_encryption_key,
            schedule,
            lock: Arc::default(),
        }
    }

    /// Publishes a new key for each of `algs` that has no scheduled key; returns when this instance
    /// has the keys.
    ///
    /// # Errors
    /// When a key cannot be generated, or the database rejects the change or is unavailable.
    pub async fn rotate(&self, by: Principal, algs: Vec<Alg>, activation: Activation) -> Result<Rotated, DbError> {
        let schedule = self.schedule;
        self.publish(by, move |keys, now| {
            rotation::requested(keys, &algs, activation, &schedule, now)
        })
        .await
    }

    /// The records of all keys, with those that are not believed. May read from a replica.
    ///
    /// # Errors
    /// When the database is unavailable, or no row is believed.
    pub async fn list(&self) -> Result<Checked, DbError> {
        let encryption_key = self.key_encryption_key.clone();
        self.db
            .read(move |conn| signing_keys::records(conn, encryption_key.as_deref()))
            .await
    }

    /// Publishes and removes the keys that are due.
    pub(crate) async fn rotate_if_due(&self) -> Result<(), DbError> {
        let schedule = self.schedule;
        // `None` before the start has loaded the keys.
        let due = self
            .keys
            .ring()
            .map(|ring| rotation::due(ring.records(), &schedule, self.clock.now()));
        if due.is_none_or(|due| due.is_empty()) {
            return Ok(());
        }
        let by = Principal::server("keys.rotate_every");
        self.publish(by, move |keys, now| rotation::due(keys, &schedule, now).publish)
            .await?;
        Ok(())
    }

    /// Publishes the keys that `decide` returns, and removes retired keys whose tokens have
    /// expired.
    async fn publish(
        &self,
        by: Principal,
        decide: impl Fn(&[KeyRecord], UnixMillis) -> Vec<Publication> + Send + 'static,
    ) -> Result<Rotated, DbError> {
        let _lock = self.lock.lock().await;
        // Read before keys are generated: another instance may have published them already, and RSA
        // keys are expensive.
        let encryption_key = self.key_encryption_key.clone();
        let read = move |conn: &mut Conn| signing_keys::records(conn, encryption_key.as_deref());
        let keys = self.db.run_repeatable(read).await?.believed;
        let now = self.clock.now();
        let algs: Vec<Alg> = decide(&keys, now).iter().map(|publication| publication.alg).collect();
        let rotated = match algs.is_empty() && !keys.iter().any(|key| key.is_expired(now)) {
            true => Rotated::nothing(keys),
            false => {
                let generated = self.generate(algs).await?;
                let (clock, encryption_key) = (self.clock.clone(), self.key_encryption_key.clone());
                let work = move |conn: &mut Conn| {
                    signing_keys::rotate(conn, &clock, &by, generated, encryption_key.as_deref(), decide)
                };
                self.db.run(work).await?
            }
        };
        report(&rotated);
        reload(&self.db, &self.clock, &self.keys, self.key_encryption_key.as_ref()).await?;
        self.db.catch_up().await?;
        Ok(rotated)
    }

    /// Generates keys on a blocking thread.
    async fn generate(&self, algs: Vec<Alg>) -> Result<Vec<StoredKey>, DbError> {
        let (now, key_encryption_key) = (self.clock.now(), self.key_encryption_key.clone());
        let generate = move || {
            let generate = |alg| SigningKey::generate(alg, now, key_encryption_key.as_deref());
            algs.into_iter().map(generate).collect::<Result<Vec<_>, _>>()
        };
        let generated = tokio::task::spawn_blocking(generate).await;
        generated
            .map_err(DbError::stopped)?
            .map_err(|error| DbError::Query(error.to_string()))
    }
}

/// Logs the keys that were published and removed.
fn report(rotated: &Rotated) {
    for key in &rotated.published {
        log::info!(
            alg:% = key.alg, kid:% = key.kid, activates_at:% = key.activates_at;
            "signing key published"
        );
    }
    for key in &rotated.removed {
        log::info!(alg:% = key.alg, kid:% = key.kid; "signing key removed");
    }
}

/// Reloads the keys; returns when they are in effect for every worker.
///
/// # Errors
/// When the database is unavailable.
pub(crate) async fn reload(
    db: &Db,
    clock: &Clock,
    keys: &KeyStore,
    key_encryption_key: Option<&Arc<KeyEncryptionKey>>,
) -> Result<(), DbError> {
    let reading = keys.ticket();
    let encryption_key = key_encryption_key.cloned();
    let read = move |conn: &mut Conn| signing_keys::list(conn, encryption_key.as_deref());
    // The old ring still works. A row that cannot be read must not disable the others, nor stop the
    // change feed.
    let stored = match db.run_repeatable(read).await {
        Err(error @ DbError::Inconsistent(_)) => {
            log::error!(error:%; "signing keys not reloaded");
            return Ok(());
        }
        read => read?,
    };
    let key_encryption_key = key_encryption_key.map(|key| &**key);
    if let Err(error) = keys.apply(reading, &stored.keys, key_encryption_key, clock.now()) {
        log::error!(error:%; "signing keys not reloaded");
    }
    keys.report(stored.findings);
    Ok(())
}
