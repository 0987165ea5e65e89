//! Revocations and redemptions, and whether clients are enabled: what is in memory, and how it is read and written.

mod set;

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use crate::db::{Conn, Db, DbError, client_status, revocations};
use crate::oauth::activity::{ClientStatus, InvalidatedToken, RevocationCheck};
use crate::oauth::client::ClientId;
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;
use crate::unavailable::Unavailable;
use set::{ClientStatuses, RevocationSet, forgotten_at};

/// The set and its database; a clone is the same set.
#[derive(Clone)]
pub struct Revocations(Arc<Inner>);

struct Inner {
    set: RevocationSet,
    db: Db,
    /// See [`Revocations::reading`].
    reading: Mutex<()>,
}

impl Revocations {
    /// An empty set, of what this database holds.
    pub fn new(db: Db) -> Self {
        Self(Arc::new(Inner {
            set: RevocationSet::default(),
            db,
            reading: Mutex::default(),
        }))
    }

    /// Reads all that counts at `now` from the database.
    ///
    /// # Errors
    /// When the database cannot be reached, or holds what it should not.
    pub fn load(&self, conn: &mut Conn, now: UnixMillis) -> Result<(), DbError> {
        self.load_invalidated(conn, now)?;
        let read = ClientStatuses {
            global_not_before: client_status::global_not_before(conn)?,
            clients: client_status::exceptions(conn)?.into_iter().collect(),
        };
        self.0.set.apply(&read);
        Ok(())
    }

    /// Reads the tokens that count at `now`, also those that had been forgotten by a clock that was fast.
    ///
    /// # Errors
    /// As [`Revocations::load`].
    pub(crate) fn load_invalidated(&self, conn: &mut Conn, now: UnixMillis) -> Result<(), DbError> {
        let since = forgotten_at(now);
        revocations::for_each(conn, since, |token| self.invalidate(token))?;
        self.0.set.starts_after(since);
        Ok(())
    }

    /// Whether tokens have been forgotten that count again, because the clock was set back.
    pub(crate) fn has_forgotten_too_much(&self, now: UnixMillis) -> bool {
        self.0.set.has_forgotten_too_much(now)
    }

    /// From now on this token is not active, on any worker.
    pub fn invalidate(&self, token: InvalidatedToken) {
        self.0.set.invalidate(token);
    }

    /// From now on these clients stand as the database has it. What was written before this is called is taken over when it
    /// returns, and nothing that is older comes after it.
    ///
    /// # Errors
    /// When the database cannot be reached; they stand as before then.
    pub async fn reload_statuses(&self, ids: Vec<ClientId>) -> Result<(), DbError> {
        let _reading = self.reading().await;
        let statuses = self
            .0
            .db
            .run_repeatable(move |conn| {
                let statuses = client_status::of_clients(conn, &ids)?;
                Ok(ids.iter().cloned().zip(statuses).collect::<Vec<_>>())
            })
            .await?;
        self.0.set.set_statuses(&statuses);
        Ok(())
    }

    /// To be held while statuses are read and applied: of two who do so, who has read earlier must not speak later.
    pub async fn reading(&self) -> MutexGuard<'_, ()> {
        self.0.reading.lock().await
    }

    /// From now on nothing issued to this client before this moment is active; it never goes back in time.
    pub fn set_not_before(&self, id: &ClientId, moment: UnixMillis) {
        self.0.set.set_not_before(id, moment);
    }

    /// From now on nothing issued before this moment is active; it never goes back in time either.
    pub fn set_global_not_before(&self, moment: Option<UnixMillis>) {
        self.0.set.set_global_not_before(moment);
    }

    /// Revokes a token, for good: when this returns, the database and every worker of this instance know it.
    ///
    /// # Errors
    /// [`Unavailable`] when the database did not say that it is written.
    pub async fn revoke(&self, token: InvalidatedToken, now: UnixMillis) -> Result<(), Unavailable> {
        self.0
            .db
            .run_repeatable(move |conn| revocations::revoke(conn, token, now))
            .await
            .map_err(report)?;
        self.invalidate(token);
        self.0.db.has_written();
        Ok(())
    }

    /// Redeems a one-time token; `true` for the one caller, over all instances and restarts, who did it.
    ///
    /// # Errors
    /// [`Unavailable`] when the database did not say: nobody knows then whether it was used, and the answer must be no.
    pub async fn redeem(&self, token: InvalidatedToken, now: UnixMillis) -> Result<bool, Unavailable> {
        // Done twice it accepts no second use: if the first commit counted and only its answer was lost, the second insert
        // finds the row, or waits until it is there, and the answer is no.
        let redeemed = self
            .0
            .db
            .run_repeatable(move |conn| revocations::redeem(conn, token, now))
            .await
            .map_err(report)?;
        self.invalidate(token);
        if redeemed {
            self.0.db.has_written();
        }
        Ok(redeemed)
    }

    /// How many tokens are known to be invalidated.
    pub fn known(&self) -> usize {
        self.0.set.known()
    }

    /// Forgets tokens that have been expired long enough; answers how many.
    pub fn forget_expired(&self, now: UnixMillis) -> usize {
        self.0.set.forget_expired(now)
    }
}

impl RevocationCheck for Revocations {
    fn is_invalidated(&self, jti: &TokenId) -> bool {
        self.0.set.is_invalidated(jti)
    }

    fn remembers(&self, expires_at: i64) -> bool {
        self.0.set.remembers(expires_at)
    }

    fn client_status(&self, client_id: &str) -> ClientStatus {
        self.0.set.client_status(client_id)
    }
}

fn report(error: DbError) -> Unavailable {
    log::warn!(error:%; "revocation not written");
    Unavailable
}
