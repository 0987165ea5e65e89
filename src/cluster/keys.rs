//! The signing keys of all instances: [`Rotation`] publishes and removes them, [`reload`] reads what others have done.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::api::audit::Principal;
use crate::clock::Clock;
use crate::db::signing_keys::{self, Rotated};
use crate::db::{Conn, Db, DbError};
use crate::keys::rotation::{self, Activation, Publication, Schedule};
use crate::keys::{KeyEncryptionKey, KeyRecord, KeyStore, SigningKey, StoredKey};
use crate::oauth::alg::Alg;
use crate::time::UnixMillis;

/// The doing: makes keys off the workers, publishes and removes them in one transaction, and takes the result over.
#[derive(Clone)]
pub struct Rotation {
    db: Db,
    clock: Clock,
    keys: KeyStore,
    seal: Option<Arc<KeyEncryptionKey>>,
    schedule: Schedule,
    /// Held while keys are made and published: two who do it at once on one instance would make keys for nothing.
    turn: Arc<Mutex<()>>,
}

impl Rotation {
    /// For the keys in `keys`, which are loaded by somebody else at the start.
    pub fn new(db: Db, clock: Clock, keys: KeyStore, seal: Option<Arc<KeyEncryptionKey>>, schedule: Schedule) -> Self {
        Self {
            db,
            clock,
            keys,
            seal,
            schedule,
            turn: Arc::default(),
        }
    }

    /// Publishes a new key for each of `algs`, except where one waits already; returns when this instance has them.
    ///
    /// # Errors
    /// When no key can be made, or the database refuses or cannot be reached.
    pub async fn rotate(&self, by: Principal, algs: Vec<Alg>, takeover: Activation) -> Result<Rotated, DbError> {
        let schedule = self.schedule;
        self.publish(by, move |keys, now| {
            rotation::requested(keys, &algs, takeover, &schedule, now)
        })
        .await
    }

    /// Does what time has brought about.
    pub(crate) async fn look(&self) -> Result<(), DbError> {
        let schedule = self.schedule;
        // None before the start has loaded the keys.
        let due = self
            .keys
            .ring()
            .map(|ring| rotation::due(ring.records(), &schedule, self.clock.now()));
        if due.is_none_or(|due| due.is_empty()) {
            return Ok(());
        }
        let by = Principal {
            actor: "mintage".into(),
            source: "keys.rotate_every".into(),
        };
        self.publish(by, move |keys, now| rotation::due(keys, &schedule, now).publish)
            .await?;
        Ok(())
    }

    /// Publishes what `decide` says, and removes what is over.
    async fn publish(
        &self,
        by: Principal,
        decide: impl Fn(&[KeyRecord], UnixMillis) -> Vec<Publication> + Send + 'static,
    ) -> Result<Rotated, DbError> {
        let _turn = self.turn.lock().await;
        // Another instance may have done it already; then it would be a pity to make RSA keys for nothing.
        let keys = self.db.run_repeatable(signing_keys::records).await?;
        let now = self.clock.now();
        let algs: Vec<Alg> = decide(&keys, now).iter().map(|publication| publication.alg).collect();
        let rotated = match algs.is_empty() && !keys.iter().any(|key| key.is_expired(now)) {
            true => Rotated::nothing(keys),
            false => {
                let made = self.make(algs).await?;
                let clock = self.clock.clone();
                let work = move |conn: &mut Conn| signing_keys::rotate(conn, &clock, &by, made, decide);
                self.db.run(work).await?
            }
        };
        report(&rotated);
        reload(&self.db, &self.clock, &self.keys, self.seal.as_deref()).await?;
        self.db.catch_up().await?;
        Ok(rotated)
    }

    /// Makes keys on a thread where nobody waits for anything else.
    async fn make(&self, algs: Vec<Alg>) -> Result<Vec<StoredKey>, DbError> {
        let (now, seal) = (self.clock.now(), self.seal.clone());
        let make = move || {
            let make = |alg| SigningKey::generate(alg, now, seal.as_deref());
            algs.into_iter().map(make).collect::<Result<Vec<_>, _>>()
        };
        let made = tokio::task::spawn_blocking(make).await;
        made.map_err(|stopped| DbError::Unavailable(stopped.to_string()))?
            .map_err(|error| DbError::Query(error.to_string()))
    }
}

/// Says what was done to the keys.
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

/// Reads the keys again; returns when they count for every worker.
///
/// # Errors
/// When the database cannot be reached.
pub(crate) async fn reload(
    db: &Db,
    clock: &Clock,
    keys: &KeyStore,
    seal: Option<&KeyEncryptionKey>,
) -> Result<(), DbError> {
    let reading = keys.ticket();
    let stored = db.run_repeatable(signing_keys::list).await?;
    // The old ring still works; a key that cannot be read must not take the others down.
    if let Err(error) = keys.apply(reading, &stored, seal, clock.now()) {
        log::error!(error:%; "signing keys not reloaded");
    }
    Ok(())
}
