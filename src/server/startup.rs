//! Startup: everything that happens before the server is ready: schema, keys, warm caches, the
//! change feed.
//!
//! While the database is unavailable, the server is not ready and retries. A key that cannot be
//! read ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::Actor;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::bootstrap;
use crate::actors::change_feed::{ChangeFeed, LocalState, PollNow};
use crate::actors::client_cache::ClientCaches;
use crate::actors::janitor::{Janitor, JanitorStats};
use crate::actors::key_rotator::KeyRotator;
use crate::actors::revocation_sweeper::RevocationSweeper;
use crate::clock::Clock;
use crate::cluster::freshness::MAX_CLIENTS;
use crate::cluster::keys::Rotation;
use crate::config;
use crate::db::changes::RecentChanges;
use crate::db::{Conn, Db, DbError, audit, changes, clients, deployment, migrations, partitions, routes, signing_keys};
use crate::gateway::route_table::RouteTable;
use crate::keys::trust::Finding;
use crate::keys::{KeyEncryptionKey, KeyError, KeyRing, SigningKey};
use crate::peers::Peers;
use crate::revocation::Revocations;
use crate::time::UnixMillis;

/// The time between two attempts while the database is unavailable.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The time between two lines about attempts that fail.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The time between two checks whether all workers are up, which takes them milliseconds.
const WORKER_CHECK_INTERVAL: Duration = Duration::from_millis(2);

/// The assumed clock skew in milliseconds: a minute. Lines of the change log carry the time of the
/// instance that wrote them. With a larger skew, fewer clients from peers are usable and more are
/// loaded from the database; nothing else changes.
const MAX_CLOCK_SKEW: i64 = 60_000;

/// The number of checks before the caches are warmed anyway. A worker that starts later fills its
/// cache with its requests.
const MAX_WORKER_CHECKS: u32 = 2500;

/// What the start needs.
pub struct Startup {
    /// The database.
    pub db: Db,
    /// The clock.
    pub clock: Clock,
    /// The state that the change feed keeps current.
    pub local: LocalState,
    /// The settings of the janitor, and its counters.
    pub janitor: (config::Janitor, JanitorStats),
    /// Publishes and removes signing keys.
    pub rotation: Rotation,
    /// The peers to exchange messages with through Redis.
    pub peers: Peers,
    /// `cache.ttl`: how far back to read changed clients from the change log.
    pub cache_ttl: Duration,
    /// Whether to migrate the schema.
    pub auto_migrate: bool,
    /// The first operator.
    pub bootstrap: config::Bootstrap,
    /// Set while the start waits for the database, for `/readyz`.
    pub waits: Arc<AtomicBool>,
    /// How many clients to load into the caches.
    pub warm: usize,
    /// The number of client caches to wait for.
    pub workers: usize,
}

/// Why the start failed permanently: a retry would not help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FatalStartupError {
    /// A key cannot be read.
    Key(KeyError),
    /// The database rejects an operation, or holds an invalid row.
    Db(DbError),
}

impl std::fmt::Display for FatalStartupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(error) => error.fmt(f),
            Self::Db(error) => error.fmt(f),
        }
    }
}

/// What the start reads from the database.
struct Prepared {
    ring: KeyRing,
    findings: Vec<Finding>,
    seen: i64,
    /// What is needed to exchange messages with peers; `None` without Redis.
    deployment: Option<(Zeroizing<[u8; 32]>, RecentChanges)>,
    routes: RouteTable,
    clients: Vec<Arc<crate::oauth::client::Client>>,
    read_at: UnixMillis,
}

impl Startup {
    /// Prepares the server, with retries while the database is unavailable.
    ///
    /// # Errors
    /// [`FatalStartupError`] when a retry would not help.
    pub async fn run(self) -> Result<(), FatalStartupError> {
        let mut logged: Option<Instant> = None;
        let prepared = loop {
            match self.prepare().await {
                Ok(prepared) => break prepared?,
                Err(error) if logged.is_none_or(|last| last.elapsed() >= LOG_INTERVAL) => {
                    log::error!(error:%; "startup attempt failed");
                    logged = Some(Instant::now());
                }
                Err(error) => log::debug!(error:%; "startup attempt failed"),
            }
            self.waits.store(true, Ordering::Relaxed);
            tokio::time::sleep(RETRY_INTERVAL).await;
        };
        let local = &self.local;
        if let Some((secret, recent)) = &prepared.deployment {
            // Before any worker can look a client up among peers.
            local.caches.freshness().begin(prepared.seen, recent);
            self.peers.join(secret, prepared.seen);
        }
        local.keys.set(prepared.ring);
        local.keys.report(prepared.findings);
        // Once: a new route has a path that requests can have.
        for route in prepared
            .routes
            .routes()
            .iter()
            .filter(|route| route.path.never_matches())
        {
            log::warn!(id:% = route.id, path:% = route.path; "route never matches");
        }
        local.routes.set(prepared.routes);
        self.wait_for_workers(&local.caches).await;
        let (warmed, revocations) = (prepared.clients.len(), local.revocations.known());
        local.caches.warm(prepared.clients, prepared.read_at).await;
        RevocationSweeper::new(local.revocations.clone(), self.db.clone(), self.clock.clone()).start();
        KeyRotator::new(self.rotation).start();
        let (settings, stats) = self.janitor;
        Janitor::new(self.db.clone(), self.clock.clone(), &settings, stats).start();
        let feed = ChangeFeed::new(self.db, self.clock, self.local, prepared.seen)
            .with_peers(self.peers)
            .start();
        // Applies what others have written since `prepare` began, which may have taken long. If the
        // database has become unavailable, the feed polls until it is back, and the server is not
        // ready before that.
        let _ = feed.send(PollNow).await;
        log::info!(clients_warmed = warmed, revocations; "server ready");
        Ok(())
    }

    /// The outer error is an outage; the inner one is a fatal error.
    async fn prepare(&self) -> Result<Result<Prepared, FatalStartupError>, DbError> {
        let (db, clock, key_encryption_key) = (
            self.db.clone(),
            self.clock.clone(),
            self.local.key_encryption_key.clone(),
        );
        let revocations = self.local.revocations.clone();
        let (auto_migrate, warm, bootstrap) = (self.auto_migrate, self.warm, self.bootstrap.clone());
        let shared_for = self.peers.are_configured().then_some(self.cache_ttl);
        // Not `Db::run`: generating RSA keys and migrating may take longer than the query timeout.
        let waits = self.waits.clone();
        let work = move || {
            db.run_here(|conn| {
                waits.store(false, Ordering::Relaxed);
                db.check_sessions(conn)?;
                if let Err(error) = prepare_database(conn, clock.now(), auto_migrate, &bootstrap) {
                    return Ok(Err(FatalStartupError::Db(error)));
                }
                Ok(prepare(
                    conn,
                    &clock,
                    key_encryption_key.as_deref(),
                    &revocations,
                    warm,
                    shared_for,
                ))
            })
        };
        let prepared = tokio::task::spawn_blocking(work).await;
        match prepared.map_err(DbError::stopped)? {
            Ok(Err(FatalStartupError::Db(error))) | Err(error) if error.is_unavailable() => Err(error),
            Ok(done) => Ok(done),
            Err(error) => Ok(Err(FatalStartupError::Db(error))),
        }
    }

    async fn wait_for_workers(&self, caches: &ClientCaches) {
        for _ in 0..MAX_WORKER_CHECKS {
            if caches.count() >= self.workers {
                return;
            }
            tokio::time::sleep(WORKER_CHECK_INTERVAL).await;
        }
    }
}

/// Brings the schema, the audit log and the first operator into the database.
fn prepare_database(
    conn: &mut Conn,
    now: UnixMillis,
    auto_migrate: bool,
    bootstrap: &config::Bootstrap,
) -> Result<(), DbError> {
    migrations::ensure_current(conn, auto_migrate)?;
    audit::begin(conn, now)?;
    bootstrap::run(conn, bootstrap, now)
}

fn prepare(
    conn: &mut Conn,
    clock: &Clock,
    key_encryption_key: Option<&KeyEncryptionKey>,
    revocations: &Revocations,
    warm: usize,
    shared_for: Option<Duration>,
) -> Result<Prepared, FatalStartupError> {
    // Before the first record is written, so that its partition exists. A failure is not fatal: a
    // long-running reader can block the creation.
    if let Err(error) = partitions::create_ahead(conn, clock.now().seconds()) {
        log::warn!(error:%; "partitions not created");
    }
    let (ring, findings) = load_keys(conn, clock.now(), key_encryption_key)?;
    // Before anything else is read: the feed then sees every change made in between.
    let seen = changes::last(conn).map_err(FatalStartupError::Db)?;
    let deployment = shared_for
        .map(|ttl| deployment(conn, clock.now(), ttl))
        .transpose()
        .map_err(FatalStartupError::Db)?;
    revocations.load(conn, clock.now()).map_err(FatalStartupError::Db)?;
    let routes = routes::table(conn).map_err(FatalStartupError::Db)?;
    let read_at = clock.now();
    let recent = clients::recently_used(conn, warm).map_err(FatalStartupError::Db)?;
    let ids: Vec<&str> = recent.iter().rev().map(String::as_str).collect();
    let mut clients = clients::load_many(conn, &ids).map_err(FatalStartupError::Db)?;
    clients.sort_by_key(|client| ids.iter().position(|id| *id == client.id.as_str()));
    Ok(Prepared {
        ring,
        findings,
        seen,
        deployment,
        routes,
        clients: clients.into_iter().map(Arc::new).collect(),
        read_at,
    })
}

/// The deployment's secret, and the clients that have changed within the maximum age of a shared
/// client.
fn deployment(
    conn: &mut Conn,
    now: UnixMillis,
    ttl: Duration,
) -> Result<(Zeroizing<[u8; 32]>, RecentChanges), DbError> {
    let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    let since = UnixMillis(now.0.saturating_sub(ttl.saturating_add(MAX_CLOCK_SKEW)));
    let recent = changes::recent(conn, since, MAX_CLIENTS as i64)?;
    Ok((deployment::secret(conn, now)?, recent))
}

/// Loads the key ring with the findings about the stored keys, and generates a key for every
/// algorithm that has none.
///
/// # Errors
/// When a key cannot be read or generated, or the database rejects an operation.
fn load_keys(
    conn: &mut Conn,
    now: UnixMillis,
    key_encryption_key: Option<&KeyEncryptionKey>,
) -> Result<(KeyRing, Vec<Finding>), FatalStartupError> {
    let generate = |alg| {
        log::info!(alg:%; "signing key created");
        SigningKey::generate(alg, now, key_encryption_key).map_err(|error| DbError::Query(error.to_string()))
    };
    let stored = signing_keys::complete(conn, now, key_encryption_key, generate).map_err(FatalStartupError::Db)?;
    let ring = KeyRing::new(&stored.keys, key_encryption_key, now).map_err(FatalStartupError::Key)?;
    Ok((ring, stored.findings))
}
