//! The state of the handlers: [`Shared`] is shared by all workers, [`Worker`] belongs to one
//! thread.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::Data;
use arc_swap::ArcSwap;

use super::auth::DenialLog;
use super::caller::{Caller, ForwardedFor, RequestIdSource};
use super::cors::Origins;
use crate::actors::audit_notes::AuditNotes;
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
use crate::metrics::{ConnectionCounts, Metrics, WorkerMetrics};
use crate::oauth::bounds::MAX_ADMIN_DOCUMENT;
use crate::oauth::grant::TokenPolicy;
use crate::oauth::metadata::Metadata;
use crate::oauth::token_id::TokenIdSource;
use crate::peers::Peers;
use crate::readiness::Readiness;
use crate::revocation::Revocations;
use crate::snapshot::SnapshotReader;
use crate::throttle::AuthLimits;
use crate::time::UnixMillis;

/// State of all workers.
pub struct Shared {
    /// The clock.
    pub clock: Clock,
    /// The policy of `[token]`; replaced on a reload.
    pub policy: ArcSwap<TokenPolicy>,
    /// The effective `cache.ttl`, for `/admin/cache/stats`; replaced on a reload.
    pub cache_ttl: ArcSwap<Duration>,
    /// Settings that a reload does not change.
    pub settings: HttpSettings,
    /// The operations of operators.
    pub admin: Administration,
    /// The current keys.
    pub keys: KeyStore,
    /// The forward-auth policy.
    pub routes: SnapshotReader<RouteTable>,
    /// The client caches of all workers.
    pub caches: ClientCaches,
    /// Revoked tokens and the status of clients.
    pub revocations: Revocations,
    /// The other instances, through Redis.
    pub peers: Peers,
    /// The writer of token records.
    pub writer: BatchWriterHandle,
    /// Records when each secret was last used.
    pub secret_usage: SecretUsage,
    /// Sign-ins and failed calls, for the audit log.
    pub audit_notes: AuditNotes,
    /// Verifies secrets against password hashes.
    pub password_verifier: PasswordVerifier,
    /// What the janitor has removed.
    pub janitor: JanitorStats,
    /// Whether the server is ready for traffic.
    pub readiness: Readiness,
    /// Whose `X-Forwarded-For` is believed.
    pub forwarded_for: ForwardedFor,
    /// The log of denials.
    pub denials: DenialLog,
    /// The limit on failed authentications.
    pub auth_limits: AuthLimits,
    /// The metrics of all workers.
    pub metrics: Metrics,
    /// Open and ended connections.
    pub connections: Arc<ConnectionCounts>,
}

/// Settings that a reload does not change.
pub struct HttpSettings {
    /// The maximum size of a body outside of `/admin`, in bytes.
    pub max_body: usize,
    /// The time in which a body must arrive.
    pub request_timeout: Duration,
    /// The gateways that may ask `/validate`.
    pub trusted_proxies: TrustedProxies,
    /// `Cache-Control` of JWKS and metadata.
    pub jwks_max_age: Duration,
    /// The rotation schedule of signing keys.
    pub schedule: Schedule,
    /// The metadata document.
    pub metadata: Metadata,
    /// `server.cors_origins`.
    pub cors_origins: Origins,
    /// Whether the listener of the clients serves the console too.
    pub console_is_public: bool,
    /// `cache.capacity`: clients per worker.
    pub cache_capacity: usize,
    /// Whether `/metrics` needs no token.
    pub open_metrics: bool,
    /// Whether operators' reads are in the audit log.
    pub audit_reads: bool,
}

impl HttpSettings {
    /// The maximum size of a body at `/admin`, in bytes: operators send documents that are larger
    /// than any token request.
    pub fn max_admin_body(&self) -> usize {
        self.max_body.max(MAX_ADMIN_DOCUMENT)
    }
}

/// State of one worker thread. Nothing in it but `shared` is visible to other threads.
pub struct Worker {
    /// State of all workers.
    pub shared: Arc<Shared>,
    /// The client cache of this thread.
    pub cache: ClientCacheHandle,
    /// The parsed signing keys.
    pub keys: WorkerKeys,
    /// The queue for token records.
    pub recorder: Recorder,
    /// Generates token ids.
    pub token_ids: RefCell<TokenIdSource>,
    /// Generates request ids.
    pub request_ids: RequestIdSource,
    /// The counters of this worker.
    pub metrics: WorkerMetrics,
}

impl Worker {
    /// The worker that serves a request. For handlers and the middleware only; everything below
    /// takes the worker.
    pub fn of(request: &HttpRequest) -> &Worker {
        request
            .app_data::<Data<Worker>>()
            .expect("Server::bind gives every worker's application its Worker")
    }

    /// The caller of a request.
    pub fn caller<'r>(&'r self, request: &'r HttpRequest) -> Caller<'r> {
        Caller::new(request, &self.shared.forwarded_for, &self.request_ids)
    }

    /// The current time.
    pub fn now(&self) -> UnixMillis {
        self.shared.clock.now()
    }

    /// The gateways that may ask `/validate`.
    pub fn trusted_proxies(&self) -> &TrustedProxies {
        &self.shared.settings.trusted_proxies
    }
}
