//! [`LocalState`]: the state of this instance that the change feed keeps current, and how it
//! applies a page of the log.

use std::sync::Arc;

use crate::actors::client_cache::ClientCaches;
use crate::clock::Clock;
use crate::cluster::cursor::Cursor;
use crate::cluster::feed_lag::FeedLag;
use crate::cluster::{keys, routes};
use crate::db::changes::{self, Change, Line};
use crate::db::{Db, DbError, client_status};
use crate::gateway::route_table::RouteTable;
use crate::keys::{KeyEncryptionKey, KeyStore};
use crate::oauth::client::ClientId;
use crate::peers::Peers;
use crate::revocation::Revocations;
use crate::snapshot::Snapshot;

/// The state to which the feed applies changes.
#[derive(Clone)]
pub struct LocalState {
    /// The client caches of all workers.
    pub caches: ClientCaches,
    /// The revocations in effect.
    pub revocations: Revocations,
    /// The key ring.
    pub keys: KeyStore,
    /// The forward-auth policy.
    pub routes: Snapshot<RouteTable>,
    /// The key that encrypts private keys at rest.
    pub key_encryption_key: Option<Arc<KeyEncryptionKey>>,
    /// Up to which moment the log has been applied.
    pub feed_lag: FeedLag,
}

impl LocalState {
    /// Reloads everything because the log is not the one read so far; returns a cursor at its end.
    pub(super) async fn resync_with_other_log(
        &self,
        db: &Db,
        clock: &Clock,
        peers: &Peers,
        seen: &Cursor,
    ) -> Result<Cursor, DbError> {
        // It lacks the last entry read: it is another database, or one that lost commits.
        log::error!("change log diverged");
        // Before anything else is read, as at the start.
        let last = db.run_repeatable(changes::last).await?;
        db.knows_change_of_another_log(last);
        self.caches.freshness().begin_in_another_log(last);
        peers.begin_in_another_log(last);
        self.reload_all(db, clock).await?;
        Ok(seen.in_another_log(last))
    }

    /// Reloads the whole state, because lines of the log that this instance has not read may have
    /// been removed.
    pub(super) async fn reload_all(&self, db: &Db, clock: &Clock) -> Result<(), DbError> {
        log::warn!("full state reload started");
        let (revocations, now) = (self.revocations.clone(), clock.now());
        let reading = self.revocations.lock_reloads().await;
        let database = db.clone();
        // Not `Db::run`: reading a million revocations takes longer than the query timeout.
        let work = move || database.run_here(|conn| revocations.load(conn, now));
        let read = tokio::task::spawn_blocking(work).await;
        read.map_err(DbError::stopped)??;
        drop(reading);
        let anything = Line {
            seq: 0,
            at: clock.now(),
            change: Change::Unknown,
        };
        self.apply(db, clock, &[anything]).await
    }

    /// Applies a page of the log. Applying it twice is harmless: each change reloads the present
    /// state.
    pub(super) async fn apply(&self, db: &Db, clock: &Clock, page: &[Line]) -> Result<(), DbError> {
        let mut clients: Vec<ClientId> = Vec::new();
        let (mut global_not_before, mut keys, mut routes, mut unknown) = (false, false, false, false);
        for line in page {
            match &line.change {
                Change::Client(id) if clients.contains(id) => {}
                Change::Client(id) => clients.push(id.clone()),
                Change::InvalidatedToken(token) => self.revocations.invalidate(*token),
                Change::GlobalNotBefore => global_not_before = true,
                Change::Keys => keys = true,
                Change::Routes => routes = true,
                Change::Unknown => unknown = true,
            }
        }
        if !clients.is_empty() {
            self.revocations.reload_statuses(clients.clone()).await?;
        }
        for id in &clients {
            self.caches.forget(id).await;
        }
        if global_not_before {
            self.revocations
                .set_global_not_before(db.run_repeatable(client_status::global_not_before).await?);
        }
        if unknown {
            self.caches.clear().await;
        }
        if keys || unknown {
            keys::reload(db, clock, &self.keys, self.key_encryption_key.as_ref()).await?;
        }
        if routes || unknown {
            self.reload_routes(db).await?;
        }
        Ok(())
    }

    async fn reload_routes(&self, db: &Db) -> Result<(), DbError> {
        match routes::reload(db, &self.routes).await {
            // The old routes stay in effect. Dropping only the unreadable route could let more
            // requests pass than either table.
            Err(error @ DbError::Inconsistent(_)) => {
                log::error!(error:%; "routes not reloaded");
                Ok(())
            }
            reloaded => reloaded,
        }
    }
}
