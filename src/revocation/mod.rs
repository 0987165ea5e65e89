//! Revocations, redemptions and client statuses: the state in memory, and how it is read and
//! written.

mod set;

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use crate::db::{Conn, Db, DbError, client_status, revocations};
use crate::oauth::activity::{ClientStatus, InvalidatedToken, RevocationCheck};
use crate::oauth::client::ClientId;
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;
use crate::unavailable::Unavailable;
use set::{ClientStatuses, RevocationSet, forgotten_until};

/// The revocation set and its database. Clones share one set.
#[derive(Clone)]
pub struct Revocations(Arc<Inner>);

struct Inner {
    set: RevocationSet,
    db: Db,
    /// See [`Revocations::lock_reloads`].
    reload_lock: Mutex<()>,
}

impl Revocations {
    /// Creates an empty set for this database.
    pub fn new(db: Db) -> Self {
        Self(Arc::new(Inner {
            set: RevocationSet::default(),
            db,
            reload_lock: Mutex::default(),
        }))
    }

    /// Loads everything that is in effect at `now` from the database.
    ///
    /// # Errors
    /// When the database is unavailable, or holds an invalid row.
    pub fn load(&self, conn: &mut Conn, now: UnixMillis) -> Result<(), DbError> {
        self.load_invalidated(conn, now)?;
        let read = ClientStatuses {
            global_not_before: client_status::global_not_before(conn)?,
            clients: client_status::exceptions(conn)?.into_iter().collect(),
        };
        self.0.set.apply(&read);
        Ok(())
    }

    /// Loads the invalidated tokens that have not expired at `now`, including those forgotten while
    /// the clock was fast.
    ///
    /// # Errors
    /// As [`Revocations::load`].
    pub(crate) fn load_invalidated(&self, conn: &mut Conn, now: UnixMillis) -> Result<(), DbError> {
        let since = forgotten_until(now);
        revocations::for_each(conn, since, |token| self.invalidate(token))?;
        self.0.set.set_forgotten_until(since);
        Ok(())
    }

    /// Whether tokens were forgotten that are no longer expired because the clock was set back.
    pub(crate) fn has_forgotten_unexpired(&self, now: UnixMillis) -> bool {
        self.0.set.has_forgotten_unexpired(now)
    }

    /// Marks a token as invalidated, effective immediately on all workers.
    pub fn invalidate(&self, token: InvalidatedToken) {
        self.0.set.invalidate(token);
    }

    /// Reloads the statuses of these clients from the database. Changes committed before the call
    /// are in effect when it returns. Reloads are serialized, so a stale read never overwrites a
    /// newer one.
    ///
    /// # Errors
    /// When the database is unavailable. The statuses are then unchanged.
    pub async fn reload_statuses(&self, ids: Vec<ClientId>) -> Result<(), DbError> {
        let _reading = self.lock_reloads().await;
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

    /// Serializes reloads: hold the guard while statuses are read and applied, so that a stale read
    /// never overwrites a newer one.
    pub async fn lock_reloads(&self) -> MutexGuard<'_, ()> {
        self.0.reload_lock.lock().await
    }

    /// Makes every token issued to this client before `moment` inactive. A not-before never moves
    /// back.
    pub fn set_not_before(&self, id: &ClientId, moment: UnixMillis) {
        self.0.set.set_not_before(id, moment);
    }

    /// Makes every token issued before `moment` inactive. A not-before never moves back.
    pub fn set_global_not_before(&self, moment: Option<UnixMillis>) {
        self.0.set.set_global_not_before(moment);
    }

    /// Revokes a token permanently. When this returns, the revocation is committed and in effect on
    /// every worker of this instance.
    ///
    /// # Errors
    /// [`Unavailable`] when the database did not confirm the commit.
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

    /// Redeems a one-time token; `true` for exactly one caller, across all instances and restarts.
    ///
    /// # Errors
    /// [`Unavailable`] when the database did not confirm the commit. Whether the token was redeemed
    /// is then unknown, and the caller must deny the request.
    pub async fn redeem(&self, token: InvalidatedToken, now: UnixMillis) -> Result<bool, Unavailable> {
        // Repeating the transaction never accepts a second redemption. If the first commit
        // succeeded and only its confirmation was lost, the second insert finds the row, or waits
        // for it, and returns `false`.
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

    /// The number of invalidated tokens in memory.
    pub fn known(&self) -> usize {
        self.0.set.known()
    }

    /// Forgets tokens past their retention; returns how many.
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
