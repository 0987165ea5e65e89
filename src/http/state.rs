//! What the handlers work with: [`Shared`] by all workers, and a [`Worker`] for each thread.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::Data;
use arc_swap::ArcSwap;

use super::auth::DenialLog;
use super::caller::{Caller, RequestIdSource};
use crate::actors::batch_writer::{BatchWriterHandle, Recorder};
use crate::actors::client_cache::{ClientCacheHandle, ClientCaches};
use crate::actors::janitor::JanitorStats;
use crate::actors::secret_usage::SecretUsage;
use crate::admin::Administration;
use crate::clients::password_verifier::PasswordVerifier;
use crate::clock::Clock;
use crate::config::TrustedProxies;
use crate::gateway::route_table::RouteTable;
use crate::keys::rotation::Schedule;
use crate::keys::{KeyStore, WorkerKeys};
use crate::metrics::{Metrics, WorkerMetrics};
use crate::oauth::grant::TokenPolicy;
use crate::oauth::token_id::TokenIdSource;
use crate::peers::Peers;
use crate::readiness::Readiness;
use crate::revocation::Revocations;
use crate::snapshot::SnapshotReader;
use crate::throttle::AuthLimits;
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
    /// What operators can do.
    pub admin: Administration,
    /// The current keys.
    pub keys: KeyStore,
    /// The forward-auth policy.
    pub routes: SnapshotReader<RouteTable>,
    /// The client caches of all workers.
    pub caches: ClientCaches,
    /// What has been taken back.
    pub revocations: Revocations,
    /// The instances that it hears of through Redis.
    pub peers: Peers,
    /// The writer of token records.
    pub writer: BatchWriterHandle,
    /// When secrets were last used.
    pub secret_usage: SecretUsage,
    /// Verifies secrets that are kept by a slow hash.
    pub password_verifier: PasswordVerifier,
    /// What the janitor has done.
    pub janitor: JanitorStats,
    /// Whether to send traffic here.
    pub readiness: Readiness,
    /// The log of denied credentials.
    pub denials: DenialLog,
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
            .expect("Server::bind gives every worker's application its Worker")
    }

    /// The caller of a request.
    pub fn caller<'r>(&'r self, request: &'r HttpRequest) -> Caller<'r> {
        Caller::new(request, self.trusted_proxies(), &self.request_ids)
    }

    /// The current time.
    pub fn now(&self) -> UnixMillis {
        self.shared.clock.now()
    }

    /// The proxies that are believed about who sent a request.
    pub fn trusted_proxies(&self) -> &TrustedProxies {
        &self.shared.settings.trusted_proxies
    }
}
