//! Startup: what must be done before the server is ready: schema, keys, warm caches, the change feed.
//!
//! A database that is down means "not ready yet" and is tried again; a key that cannot be read ends the process.

use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use zeroize::Zeroizing;

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
use crate::db::{Conn, Db, DbError, changes, clients, deployment, migrations, partitions, routes, signing_keys};
use crate::gateway::route_table::RouteTable;
use crate::keys::{KeyEncryptionKey, KeyError, KeyRing, SigningKey, StoredKey};
use crate::peers::Peers;
use crate::revocation::Revocations;
use crate::time::UnixMillis;

/// Time between two tries while the database is down.
const RETRY: Duration = Duration::from_millis(500);

/// How often it is looked whether all workers are up, which takes them milliseconds.
const WORKER_CHECK: Duration = Duration::from_millis(2);

/// Lines of the change log carry the time of whoever wrote them; a minute, in milliseconds. Were it less than clocks differ,
/// more would be asked of the database, and nothing else.
const CLOCKS_DIFFER: i64 = 60_000;

/// Checks before the caches are warmed all the same; a worker that comes later warms itself by its requests.
const WORKER_CHECKS: u32 = 2500;

/// What the start needs to know.
pub struct Startup {
    /// The database.
    pub db: Db,
    /// The clock.
    pub clock: Clock,
    /// What the change feed keeps current.
    pub local: LocalState,
    /// How to remove what has expired, and where to count it.
    pub janitor: (config::Janitor, JanitorStats),
    /// What changes the signing keys.
    pub rotation: Rotation,
    /// The instances to hear of through Redis.
    pub peers: Peers,
    /// `cache.ttl`: how far back in the change log to look for clients that changed.
    pub cache_ttl: Duration,
    /// Whether to bring the schema up to date.
    pub auto_migrate: bool,
    /// How many clients to load.
    pub warm: usize,
    /// How many client caches there will be.
    pub workers: usize,
}

/// Why a start cannot succeed, however often it is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FatalStartupError {
    /// A key cannot be read.
    Key(KeyError),
    /// The database refuses, or holds what it should not.
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

/// What was read from the database before anything is served.
struct Prepared {
    ring: KeyRing,
    seen: i64,
    /// What peers go by; not read without Redis.
    deployment: Option<(Zeroizing<[u8; 32]>, RecentChanges)>,
    routes: RouteTable,
    clients: Vec<Arc<crate::oauth::client::Client>>,
    read_at: UnixMillis,
}

impl Startup {
    /// Does it, as often as it takes.
    ///
    /// # Errors
    /// [`FatalStartupError`] when trying again would not help.
    pub async fn run(self) -> Result<(), FatalStartupError> {
        let mut failures = 0;
        let prepared = loop {
            match self.prepare().await {
                Ok(prepared) => break prepared?,
                Err(error) if failures == 0 => log::error!(error:%; "startup attempt failed"),
                Err(error) => log::debug!(error:%; "startup attempt failed"),
            }
            failures += 1;
            tokio::time::sleep(RETRY).await;
        };
        let local = &self.local;
        if let Some((secret, recent)) = &prepared.deployment {
            // Before any of it can be asked for.
            local.caches.freshness().begin(prepared.seen, recent);
            self.peers.join(secret, prepared.seen);
        }
        local.keys.set(prepared.ring);
        local.routes.set(prepared.routes);
        self.wait_for_workers(&local.caches).await;
        let (warmed, revocations) = (prepared.clients.len(), local.revocations.known());
        local.caches.warm(prepared.clients, prepared.read_at).await;
        RevocationSweeper::new(local.revocations.clone(), self.db.clone(), self.clock.clone()).start();
        KeyRotator::new(self.rotation).start();
        let (settings, stats) = self.janitor;
        Janitor::new(self.db.clone(), self.clock.clone(), &settings, stats).start();
        let feed = ChangeFeed::new(self.db, self.clock, self.local, prepared.seen)
            .among(self.peers)
            .start();
        // What others have written since `prepare` began, which may have taken long. If the database is away again, the
        // feed finds out when it is back, and until then the server is not ready.
        let _ = feed.send(PollNow).await;
        log::info!(clients_warmed = warmed, revocations; "server ready");
        Ok(())
    }

    /// The outer error is an outage; the inner one is a fatal error.
    async fn prepare(&self) -> Result<Result<Prepared, FatalStartupError>, DbError> {
        let (db, clock, seal) = (self.db.clone(), self.clock.clone(), self.local.seal.clone());
        let revocations = self.local.revocations.clone();
        let (auto_migrate, warm) = (self.auto_migrate, self.warm);
        let shared_for = self.peers.are_configured().then_some(self.cache_ttl);
        // Not Db::run: making RSA keys and migrating may take longer than a query may.
        let work = move || {
            db.run_here(|conn| {
                Ok(prepare(
                    conn,
                    &clock,
                    seal.as_deref(),
                    &revocations,
                    auto_migrate,
                    warm,
                    shared_for,
                ))
            })
        };
        let prepared = tokio::task::spawn_blocking(work).await;
        match prepared.map_err(|stopped| DbError::Unavailable(stopped.to_string()))?? {
            Err(FatalStartupError::Db(error)) if error.is_unavailable() => Err(error),
            other => Ok(other),
        }
    }

    async fn wait_for_workers(&self, caches: &ClientCaches) {
        for _ in 0..WORKER_CHECKS {
            if caches.count() >= self.workers {
                return;
            }
            tokio::time::sleep(WORKER_CHECK).await;
        }
    }
}

fn prepare(
    conn: &mut Conn,
    clock: &Clock,
    seal: Option<&KeyEncryptionKey>,
    revocations: &Revocations,
    auto_migrate: bool,
    warm: usize,
    shared_for: Option<Duration>,
) -> Result<Prepared, FatalStartupError> {
    migrations::ensure_current(conn, auto_migrate).map_err(FatalStartupError::Db)?;
    // Before the first record is written, or it would fall into none; which it may, if somebody is in the way.
    if let Err(error) = partitions::create_ahead(conn, clock.now().seconds()) {
        log::warn!(error:%; "partitions not created");
    }
    let ring = load_keys(conn, clock.now(), seal)?;
    // Before anything else is read: a change in between is then seen by the feed, and not lost.
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
    let mut clients = clients::find_many(conn, &ids).map_err(FatalStartupError::Db)?;
    clients.sort_by_key(|client| ids.iter().position(|id| *id == client.id.as_str()));
    Ok(Prepared {
        ring,
        seen,
        deployment,
        routes,
        clients: clients.into_iter().map(Arc::new).collect(),
        read_at,
    })
}

/// The secret, and which clients have changed within the age that a shared one may have.
fn deployment(
    conn: &mut Conn,
    now: UnixMillis,
    ttl: Duration,
) -> Result<(Zeroizing<[u8; 32]>, RecentChanges), DbError> {
    let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    let since = UnixMillis(now.0.saturating_sub(ttl.saturating_add(CLOCKS_DIFFER)));
    let recent = changes::recent(conn, since, MAX_CLIENTS as i64)?;
    Ok((deployment::secret(conn, now)?, recent))
}

/// The key ring, with a key for every algorithm: those that are missing are made.
///
/// # Errors
/// When a key cannot be read or made, or the database refuses.
fn load_keys(conn: &mut Conn, now: UnixMillis, seal: Option<&KeyEncryptionKey>) -> Result<KeyRing, FatalStartupError> {
    let make = |alg| {
        log::info!(alg:%; "signing key created");
        SigningKey::generate(alg, now, seal).map_err(|error| DbError::Query(error.to_string()))
    };
    let mut stored = signing_keys::complete(conn, now, make).map_err(FatalStartupError::Db)?;
    if let Some(seal) = seal.filter(|_| stored.iter().any(|key| !key.encrypted)) {
        let encrypt = |key: &StoredKey| {
            log::info!(kid:% = key.kid; "signing key encrypted");
            seal.encrypt(&key.kid, &key.private)
                .map_err(|error| DbError::Query(error.to_string()))
        };
        signing_keys::encrypt_all(conn, now, encrypt).map_err(FatalStartupError::Db)?;
        stored = signing_keys::list(conn).map_err(FatalStartupError::Db)?;
    }
    KeyRing::new(&stored, seal, now).map_err(FatalStartupError::Key)
}
