//! What the handlers work with: [`Shared`] by all workers, and a [`Worker`] for each thread.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::Data;
use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::limits::AuthLimits;
use super::refusals::RefusalLog;
use super::request_id::RequestIdSource;
use crate::actors::batch_writer::{BatchWriterHandle, Recorder};
use crate::actors::change_feed::LastAnswer;
use crate::actors::client_cache::ClientCacheHandle;
use crate::actors::client_caches::ClientCaches;
use crate::actors::janitor::JanitorStats;
use crate::actors::key_rotator::Rotation;
use crate::actors::revocation_cache::Revocations;
use crate::actors::route_store::RouteStore;
use crate::actors::secret_uses::SecretUses;
use crate::actors::slow_secrets::SlowSecrets;
use crate::breaker::BreakerState;
use crate::clock::Clock;
use crate::config::TrustedProxies;
use crate::db::Db;
use crate::keys::rotation::Schedule;
use crate::keys::{KeyStore, WorkerKeys};
use crate::metrics::{Metrics, WorkerMetrics};
use crate::oauth::grant::TokenPolicy;
use crate::oauth::token_id::TokenIdSource;
use crate::siblings::Siblings;
use crate::time::UnixMillis;

/// What all workers share.
pub struct Shared {
    /// The clock.
    pub clock: Clock,
    /// What `[token]` says; replaced on a reload.
    pub policy: ArcSwap<TokenPolicy>,
    /// `cache.ttl` as it counts now, for `/admin/cache/stats`; replaced on a reload.
    pub cache_ttl: ArcSwap<Duration>,
    /// The limits of `[server]` and what the documents say.
    pub settings: HttpSettings,
    /// The database; for `/admin` and `/readyz` only.
    pub db: Db,
    /// The current keys.
    pub keys: KeyStore,
    /// What changes them.
    pub rotation: Rotation,
    /// The forward-auth policy.
    pub routes: RouteStore,
    /// The client caches of all workers.
    pub caches: ClientCaches,
    /// What has been taken back.
    pub revocations: Revocations,
    /// The instances that it hears of through Redis.
    pub siblings: Siblings,
    /// The writer of token records.
    pub writer: BatchWriterHandle,
    /// When secrets were last used.
    pub secret_uses: SecretUses,
    /// Verifies secrets that are kept by a slow hash.
    pub slow_secrets: SlowSecrets,
    /// What the janitor has done.
    pub janitor: JanitorStats,
    /// Whether to send traffic here.
    pub readiness: Readiness,
    /// The log of refused credentials.
    pub refusals: RefusalLog,
    /// The limit on them.
    pub auth_limits: AuthLimits,
    /// What the workers count.
    pub metrics: Metrics,
}

/// Settings that a running server does not change.
pub struct HttpSettings {
    /// The largest body, in bytes.
    pub max_body: usize,
    /// How long a body may take to arrive.
    pub request_timeout: Duration,
    /// The peers that are believed about who sent a request.
    pub trusted_proxies: TrustedProxies,
    /// `Cache-Control` of JWKS and metadata.
    pub jwks_max_age: Duration,
    /// When keys change.
    pub schedule: Schedule,
    /// The metadata document, as JSON.
    pub metadata: String,
    /// What `/admin/cache/stats` says of the settings: clients for each worker.
    pub cache_capacity: usize,
}

/// Whether an orchestrator should send traffic here, and why not.
#[derive(Debug)]
pub struct Readiness {
    began: Instant,
    started: AtomicBool,
    draining: AtomicBool,
    /// Up to when all changes are known.
    pub last_answer: LastAnswer,
}

/// With a change log older than this, whether a token is active can only be guessed (G2).
const FEED_LAG: Duration = Duration::from_secs(5);

/// The feed polls four times a second, and a poll takes less than `database.query_timeout` as long as the database answers:
/// even so the last one that is done began less than this ago. A server that is not ready must say so within 5 s.
const SILENCE: Duration = Duration::from_secs(4);

/// So long after its beginning, a server that lacks what it loads at the start lets a request wait for it: nginx and others
/// that do not ask `/readyz` send traffic here as soon as it listens. If it takes longer, the database is away.
const WARM_UP: Duration = Duration::from_secs(3);

/// Between two looks whether the start is over.
const WARM_UP_LOOK: Duration = Duration::from_millis(5);

impl Default for Readiness {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            started: AtomicBool::default(),
            draining: AtomicBool::default(),
            last_answer: LastAnswer::default(),
        }
    }
}

impl Readiness {
    /// Keys are loaded and caches warm.
    pub fn started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// For a request that lacks something: whether all is loaded now, after waiting for that if the server has just begun.
    pub async fn warmed_up(&self) -> bool {
        while !self.started.load(Ordering::Acquire) {
            if self.began.elapsed() > WARM_UP {
                return false;
            }
            tokio::time::sleep(WARM_UP_LOOK).await;
        }
        true
    }

    /// The server stops: from now on every answer closes its connection.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the server stops.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether the revocations that others made are known, up to a few seconds ago. It is one load: the feed has its first
    /// answer when all has been read that it goes on from.
    pub fn knows_revocations(&self) -> bool {
        self.last_answer.age().is_some_and(|age| age <= FEED_LAG)
    }

    /// `None` when ready, otherwise the reason.
    pub fn obstacle(&self, breaker: BreakerState) -> Option<&'static str> {
        if self.is_draining() {
            return Some("the server is stopping");
        }
        if !self.started.load(Ordering::Acquire) {
            return Some("the server is starting: keys and clients are not loaded yet");
        }
        let silent = self.last_answer.age().is_none_or(|age| age > SILENCE);
        if breaker == BreakerState::Open || silent {
            return Some("the database does not answer");
        }
        None
    }
}

/// What one worker thread has of its own; nothing in it is shared or locked.
pub struct Worker {
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// The client cache of this thread.
    pub cache: ClientCacheHandle,
    /// The keys, parsed.
    pub keys: WorkerKeys,
    /// Where its records go.
    pub recorder: Recorder,
    /// Makes token ids.
    pub token_ids: RefCell<TokenIdSource>,
    /// Makes request ids.
    pub request_ids: RequestIdSource,
    /// What it counts.
    pub metrics: WorkerMetrics,
}

impl Worker {
    /// The worker that serves a request.
    pub fn of(request: &HttpRequest) -> &Worker {
        request
            .app_data::<Data<Worker>>()
            .expect("App::build gives every worker's application its Worker")
    }

    /// The time now.
    pub fn now(&self) -> UnixMillis {
        self.shared.clock.now()
    }
}
