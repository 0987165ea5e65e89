//! The server: [`Server::bind`] takes a configuration and binds its listeners, [`Server::run`]
//! serves until a stop signal.
//!
//! This is the only place that wires the modules together, in one straight function.

mod bootstrap;
mod connections;
mod drain_filter;
mod lifecycle;
mod listener;
mod reload;
pub mod signals;
mod startup;
mod workers;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix::Arbiter;
use actix_web::dev::Server as HttpServer;
use actix_web::http::header::HeaderValue;
use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::actors::batch_writer::BatchWriterHandle;
use crate::actors::change_feed::LocalState;
use crate::actors::client_cache::ClientCaches;
use crate::actors::janitor::JanitorStats;
use crate::admin::Administration;
use crate::clients::password_verifier::PasswordVerifier;
use crate::clock::Clock;
use crate::cluster::keys::Rotation;
use crate::config::{Config, Sources};
use crate::db::Db;
use crate::http::{DenialLog, ForwardedFor, HttpSettings, Shared};
use crate::keys::rotation::Schedule;
use crate::keys::{KeyEncryptionKey, KeyStore};
use crate::metrics::{ConnectionCounts, Metrics};
use crate::oauth::metadata::Metadata;
use crate::peers::Peers;
use crate::readiness::Readiness;
use crate::records::flush::table_sink;
use crate::revocation::Revocations;
use crate::snapshot::Snapshot;
use crate::systemd::Notifier;
use crate::throttle::AuthLimits;
use connections::Limits;
use drain_filter::DrainFilter;
use lifecycle::Running;
use reload::token_policy;
use signals::Signals;
use startup::Startup;
use workers::Listener;

pub use connections::{CONNECTION_BUFFERS, MAX_HELD};
pub use lifecycle::ServerError;

/// A server with bound listeners that does not serve yet.
pub struct Server {
    config: Config,
    sources: Sources,
    clock: Clock,
    public: TcpListener,
    admin: Option<TcpListener>,
    key_encryption_key: Option<Arc<KeyEncryptionKey>>,
    peers: Peers,
    notifier: Notifier,
    password_permits: Arc<Semaphore>,
}

impl Server {
    /// Binds the listeners, so that a port in use is detected before anything else is done.
    ///
    /// # Errors
    /// When an address cannot be bound, or the encryption key or the URL of Redis is invalid.
    pub fn bind(config: Config, sources: Sources, clock: Clock) -> Result<Self, ServerError> {
        let key_encryption_key = config
            .encryption_key()
            .map_err(|error| ServerError(error.to_string()))?;
        let peers = Peers::at(&config.redis.url, key_encryption_key.clone())
            .map_err(|_| ServerError("redis.url cannot be used: redis://[USER:PASSWORD@]HOST[:PORT][/DB]".into()))?;
        let admin_listen = &config.server.admin_listen;
        Ok(Self {
            public: listen("server.listen", &config.server.listen)?,
            admin: (!admin_listen.is_empty())
                .then(|| listen("server.admin_listen", admin_listen))
                .transpose()?,
            key_encryption_key: key_encryption_key.map(|key| Arc::new(KeyEncryptionKey::new(&key))),
            peers,
            config,
            sources,
            clock,
            notifier: Notifier::default(),
            password_permits: PasswordVerifier::permits(),
        })
    }

    /// Notifies a service manager when the server is ready and when it stops.
    pub fn with_notifier(self, notifier: Notifier) -> Self {
        Self { notifier, ..self }
    }

    /// The permits for verifications of password hashes. A test that takes them all makes every
    /// other verification wait.
    #[doc(hidden)]
    pub fn password_permits(&self) -> Arc<Semaphore> {
        self.password_permits.clone()
    }

    /// The address of the public listener, with the actual port if port 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.public.local_addr().expect("a bound listener has an address")
    }

    /// The address of the admin listener, if `/admin` has its own.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until a stop signal, then stops in order. `when_ready` is called once.
    ///
    /// # Errors
    /// When the start failed permanently, the writer died, or records were lost during the stop.
    pub async fn run(self, signals: Signals, when_ready: impl FnOnce()) -> Result<(), ServerError> {
        let config = self.config;
        let workers = match config.server.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let admin_workers = usize::from(self.admin.is_some());
        // Before anything opens files.
        let files = connections::raise_file_limit();
        let connections = Arc::<ConnectionCounts>::default();
        let public_limits = Limits::of_public(&config, files, workers + admin_workers, &connections);
        let admin_limits = Limits::of_admin(&config, &connections);
        let db = Db::open(&config.database);
        let writer_arbiter = Arbiter::new();
        let (writer, writer_exit) = {
            let db = db.clone();
            let queues = workers + admin_workers;
            BatchWriterHandle::start(
                &writer_arbiter.handle(),
                &config.writer,
                self.clock.clone(),
                queues,
                || table_sink(db),
            )
        };
        let keys = KeyStore::default();
        let rotation = Rotation::new(
            db.clone(),
            self.clock.clone(),
            keys.clone(),
            self.key_encryption_key.clone(),
            key_schedule(&config),
        );
        let revocations = Revocations::new(db.clone());
        let caches = ClientCaches::default();
        let routes = Snapshot::default();
        let shared = Arc::new(Shared {
            clock: self.clock.clone(),
            policy: ArcSwap::from_pointee(token_policy(&config)),
            cache_ttl: ArcSwap::from_pointee(config.cache.ttl.0),
            settings: http_settings(&config),
            admin: Administration::new(
                db.clone(),
                self.clock.clone(),
                revocations.clone(),
                caches.clone(),
                routes.clone(),
                rotation.clone(),
            ),
            keys,
            routes: routes.reader(),
            caches,
            revocations,
            peers: self.peers.clone(),
            writer: writer.clone(),
            secret_usage: Default::default(),
            audit_notes: Default::default(),
            password_verifier: PasswordVerifier::new(db.clone(), self.password_permits),
            janitor: JanitorStats::default(),
            readiness: Readiness::new(db.breaker_view()),
            forwarded_for: ForwardedFor::new(
                config.server.client_ip_proxies.clone(),
                config.server.trusted_proxies.clone(),
            ),
            denials: DenialLog::new(self.clock.now()),
            auth_limits: AuthLimits::new(config.limits.auth_failures_per_minute),
            metrics: Metrics::default(),
            connections,
        });
        let public_serves_admin = self.admin.is_none();
        let cannot_serve = |error: std::io::Error| ServerError(format!("cannot serve: {error}"));
        let drain_filter = DrainFilter::of([&self.public].into_iter().chain(&self.admin)).map_err(cannot_serve)?;
        let serve = |listener| workers::serve(&config, &db, &shared, listener).map_err(cannot_serve);
        let mut servers = vec![serve(Listener {
            socket: self.public,
            workers,
            public: true,
            admin: public_serves_admin,
            limits: public_limits,
        })?];
        if let Some(socket) = self.admin {
            servers.push(serve(Listener {
                socket,
                workers: 1,
                public: false,
                admin: true,
                limits: admin_limits,
            })?);
        }
        let handles = servers.iter().map(HttpServer::handle).collect();
        for server in servers {
            actix_web::rt::spawn(server);
        }
        shared.secret_usage.clone().start(db.clone());
        shared.audit_notes.clone().start(db.clone(), self.clock.clone());
        let startup = Startup {
            db: db.clone(),
            clock: self.clock,
            local: LocalState {
                caches: shared.caches.clone(),
                revocations: shared.revocations.clone(),
                keys: shared.keys.clone(),
                routes,
                key_encryption_key: self.key_encryption_key,
                feed_lag: shared.readiness.feed_lag.clone(),
            },
            janitor: (config.janitor.clone(), shared.janitor.clone()),
            rotation,
            peers: self.peers,
            cache_ttl: config.cache.ttl.0,
            auto_migrate: config.database.auto_migrate,
            bootstrap: config.bootstrap.clone(),
            waits: shared.readiness.start_waits.clone(),
            warm: if config.cache.enabled { config.cache.warm } else { 0 },
            workers: workers + admin_workers,
        };
        let running = Running {
            config,
            sources: self.sources,
            db,
            shared,
            servers: handles,
            notifier: self.notifier,
        };
        let ended = running
            .run(startup.run(), writer_exit, drain_filter, signals, when_ready)
            .await;
        writer.stop().await;
        writer_arbiter.stop();
        ended
    }
}

fn listen(key: &str, address: &str) -> Result<TcpListener, ServerError> {
    let cannot = |error: std::io::Error| {
        let hint = match error.kind() {
            ErrorKind::AddrInUse => "stop the program that uses it, or set another port",
            ErrorKind::AddrNotAvailable => "set an address of this machine, or 0.0.0.0 for all of them",
            ErrorKind::PermissionDenied => "set a port from 1024 on, or allow this one to the program",
            _ => "set another address and port",
        };
        let variable = format!("MINTAGE_{}", key.to_uppercase().replace('.', "__"));
        let example = "as in 127.0.0.1:8090";
        ServerError(format!(
            "cannot listen on {address} ({key}): {error}: {hint} ({variable}, {example})"
        ))
    };
    let address: SocketAddr = address
        .parse()
        .map_err(|_| ServerError(format!("{key} must be an address and a port")))?;
    listener::listen(address).map_err(cannot)
}

fn key_schedule(config: &Config) -> Schedule {
    let keys = &config.keys;
    Schedule::new(keys.rotate_every.0, keys.publish_before.0, keys.jwks_max_age.0)
}

fn http_settings(config: &Config) -> HttpSettings {
    let origin = |origin: &str| HeaderValue::try_from(origin).expect("the configuration has been validated");
    HttpSettings {
        max_body: config.server.max_body.0,
        request_timeout: config.server.request_timeout.0,
        trusted_proxies: config.server.trusted_proxies.clone(),
        jwks_max_age: config.keys.jwks_max_age.0,
        schedule: key_schedule(config),
        metadata: Metadata::new(&config.server.issuer),
        cors_origins: config.server.cors_origins.iter().map(origin).collect(),
        console_is_public: config.server.admin_listen.is_empty(),
        cache_capacity: config.cache.capacity,
        audit_reads: config.audit.reads,
        // With an admin listener, /metrics is served only there.
        open_metrics: config.server.open_metrics || !config.server.admin_listen.is_empty(),
    }
}
