//! The application: [`App::build`] takes a configuration and its listeners, [`App::run`] serves until told to stop.
//!
//! This is the only place that wires the rooms together, in one straight function.

use std::cell::OnceCell;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use actix_web::dev::{Server, ServerHandle};
use actix_web::web::Data;
use actix_web::{App as WebApp, HttpServer, web};
use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout_at};

use crate::actors::batch_writer::{BatchWriterHandle, table_sink};
use crate::actors::change_feed::Listeners;
use crate::actors::client_cache::{ClientCache, ClientCacheHandle, Lifetimes, Loader, SecondLevel};
use crate::actors::client_caches::ClientCaches;
use crate::actors::janitor::JanitorStats;
use crate::actors::key_rotator::Rotation;
use crate::actors::revocation_cache::Revocations;
use crate::actors::shared_clients::SharedClients;
use crate::actors::slow_secrets::SlowSecrets;
use crate::breaker::BreakerState;
use crate::clock::Clock;
use crate::config::{Config, Sources};
use crate::db::{Conn, Db, changes, clients};
use crate::http::{self, AuthLimits, Envelope, HttpSettings, Readiness, RefusalLog, Shared, Worker};
use crate::keys::rotation::Schedule;
use crate::keys::{KeySeal, KeyStore, WorkerKeys};
use crate::listener::{self, LastCall};
use crate::metrics::Metrics;
use crate::oauth::grant::TokenPolicy;
use crate::oauth::metadata::Metadata;
use crate::shutdown::{Signal, Signals};
use crate::siblings::Siblings;
use crate::startup::Startup;
use crate::systemd::Notifier;

/// The server cannot start, or did not stop as it should; the text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppError(pub String);

impl std::fmt::Display for AppError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AppError {}

/// A server that has its listeners and does not serve yet.
pub struct App {
    config: Config,
    sources: Sources,
    clock: Clock,
    public: TcpListener,
    admin: Option<TcpListener>,
    seal: Option<Arc<KeySeal>>,
    siblings: Siblings,
    notifier: Notifier,
}

/// The last part of `server.drain_delay`, in which nobody can begin to connect any more: what has been begun passes through
/// the acceptor and comes to its worker, with its first request.
const LAST_CALL: Duration = Duration::from_millis(100);

impl App {
    /// Takes the listeners, so that a port in use is known before anything else is done.
    ///
    /// # Errors
    /// When an address cannot be bound, or the encryption key is not one, or the URL of Redis.
    pub fn build(config: Config, sources: Sources, clock: Clock) -> Result<Self, AppError> {
        let seal = config.encryption_key().map_err(|error| AppError(error.to_string()))?;
        let siblings = Siblings::at(&config.redis.url, seal.clone())
            .map_err(|_| AppError("redis.url cannot be used: redis://[USER:PASSWORD@]HOST[:PORT][/DB]".into()))?;
        let admin_listen = &config.server.admin_listen;
        Ok(Self {
            public: listen("server.listen", &config.server.listen)?,
            admin: (!admin_listen.is_empty())
                .then(|| listen("server.admin_listen", admin_listen))
                .transpose()?,
            seal: seal.map(|key| Arc::new(KeySeal::new(&key))),
            siblings,
            config,
            sources,
            clock,
            notifier: Notifier::default(),
        })
    }

    /// Tells a service manager when it is ready and when it stops.
    pub fn notifying(self, notifier: Notifier) -> Self {
        Self { notifier, ..self }
    }

    /// Where the server listens: with the port that it got, if it asked for any.
    pub fn address(&self) -> SocketAddr {
        self.public.local_addr().expect("a bound listener has an address")
    }

    /// Where `/admin` listens, if that is on its own.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until a signal says stop, and then stops in order. `when_ready` is called once.
    ///
    /// # Errors
    /// When the start is hopeless, the writer died, or records were lost at the end.
    pub async fn run(self, mut signals: Signals, when_ready: impl FnOnce()) -> Result<(), AppError> {
        let config = self.config;
        let workers = match config.server.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let admin_workers = usize::from(self.admin.is_some());
        let db = Db::open(&config.database);
        let writer_arbiter = Arbiter::new();
        let (writer, mut writer_death) = {
            let db = db.clone();
            let lanes = workers + admin_workers;
            BatchWriterHandle::start(
                &writer_arbiter.handle(),
                &config.writer,
                self.clock.clone(),
                lanes,
                || table_sink(db),
            )
        };
        let keys = KeyStore::default();
        let rotation = Rotation::new(
            db.clone(),
            self.clock.clone(),
            keys.clone(),
            self.seal.clone(),
            key_schedule(&config),
        );
        let shared = Arc::new(Shared {
            clock: self.clock.clone(),
            policy: ArcSwap::from_pointee(token_policy(&config)),
            cache_ttl: ArcSwap::from_pointee(config.cache.ttl.0),
            settings: http_settings(&config),
            db: db.clone(),
            keys,
            rotation: rotation.clone(),
            routes: Default::default(),
            caches: ClientCaches::default(),
            revocations: Revocations::default(),
            siblings: self.siblings.clone(),
            writer: writer.clone(),
            secret_uses: Default::default(),
            slow_secrets: SlowSecrets::new(db.clone()),
            janitor: JanitorStats::default(),
            readiness: Readiness::default(),
            refusals: RefusalLog::default(),
            auth_limits: AuthLimits::new(config.limits.auth_failures_per_minute),
            metrics: Metrics::default(),
        });
        let public_serves_admin = self.admin.is_none();
        let last_call = LastCall::of([&self.public].into_iter().chain(&self.admin))
            .map_err(|error| AppError(format!("cannot serve: {error}")))?;
        let mut servers = vec![serve(
            &config,
            &shared,
            self.public,
            workers,
            true,
            public_serves_admin,
        )?];
        if let Some(listener) = self.admin {
            servers.push(serve(&config, &shared, listener, 1, false, true)?);
        }
        let handles: Vec<ServerHandle> = servers.iter().map(Server::handle).collect();
        for server in servers {
            actix_web::rt::spawn(server);
        }
        shared.secret_uses.clone().start(db.clone());
        let startup = Startup {
            db: db.clone(),
            clock: self.clock,
            listeners: Listeners {
                caches: shared.caches.clone(),
                revocations: shared.revocations.clone(),
                keys: shared.keys.clone(),
                routes: shared.routes.clone(),
                seal: self.seal,
                last_answer: shared.readiness.last_answer.clone(),
            },
            janitor: (config.janitor.clone(), shared.janitor.clone()),
            rotation,
            siblings: self.siblings,
            cache_ttl: config.cache.ttl.0,
            auto_migrate: config.database.auto_migrate,
            warm: if config.cache.enabled { config.cache.warm } else { 0 },
            workers: workers + admin_workers,
        };
        let mut startup = std::pin::pin!(startup.run());
        let mut when_ready = Some(when_ready);
        let mut alive = std::pin::pin!(self.notifier.keep_alive());
        let mut running = Running {
            config,
            sources: self.sources,
            shared,
        };
        let failure = loop {
            tokio::select! {
                started = &mut startup, if when_ready.is_some() => match started {
                    Ok(()) => {
                        running.shared.readiness.started();
                        self.notifier.ready();
                        if let Some(when_ready) = when_ready.take() {
                            when_ready();
                        }
                    }
                    Err(hopeless) => break Some(AppError(hopeless.to_string())),
                },
                signal = signals.next() => match signal {
                    Signal::Stop => break None,
                    Signal::Reload if when_ready.is_some() => running.reload().await,
                    Signal::Reload => {
                        self.notifier.reloading();
                        running.reload().await;
                        self.notifier.ready();
                    }
                },
                never = &mut alive => match never {},
                Ok(()) = &mut writer_death => break Some(AppError("the writer of token records died".into())),
            }
        };
        if let Some(failure) = &failure {
            log::error!("stopping: {failure}");
        }
        self.notifier.stopping();
        let stopped = tokio::select! {
            stopped = running.stop(&handles, last_call) => stopped,
            Signal::Stop = signals.next() => Err(lost(&writer, "asked twice to stop")),
            never = &mut alive => match never {},
        };
        writer.stop().await;
        writer_arbiter.stop();
        failure.map_or(stopped, Err)
    }
}

/// What is left to look after while the server runs.
struct Running {
    config: Config,
    sources: Sources,
    shared: Arc<Shared>,
}

impl Running {
    /// SIGHUP: takes over what can change while it runs, and says what cannot.
    async fn reload(&mut self) {
        let fresh = match self.sources.load() {
            Ok(fresh) => fresh,
            Err(error) => return log::error!("configuration not reloaded: {error}"),
        };
        for key in self.config.differences(&fresh) {
            match RELOADABLE.iter().any(|reloadable| key.starts_with(reloadable)) {
                true => log::info!("configuration reloaded key={key}"),
                false => log::warn!("configuration not reloaded, this needs a restart key={key}"),
            }
        }
        let config = &mut self.config;
        if config.limits.auth_failures_per_minute != fresh.limits.auth_failures_per_minute {
            self.shared.auth_limits.set(fresh.limits.auth_failures_per_minute);
        }
        config.limits = fresh.limits;
        config.token = fresh.token;
        config.cache.ttl = fresh.cache.ttl;
        config.cache.negative_ttl = fresh.cache.negative_ttl;
        config.cache.stale_if_error = fresh.cache.stale_if_error;
        config.writer.flush_interval = fresh.writer.flush_interval;
        config.writer.max_batch = fresh.writer.max_batch;
        self.shared.policy.store(Arc::new(token_policy(config)));
        self.shared.cache_ttl.store(Arc::new(config.cache.ttl.0));
        self.shared.caches.tune(Lifetimes::from(&config.cache)).await;
        self.shared.writer.tune(&config.writer).await;
        log::info!("configuration read again");
    }

    /// Not ready, take leave, drain HTTP, flush the records: in that order, within `server.shutdown_timeout`.
    ///
    /// actix closes idle kept-alive connections when it stops, also those on which a request has just been sent. So first
    /// every answer says that its connection closes, and clients send no more on it; those that are idle have
    /// `server.drain_delay` to be closed by whoever is at their other end.
    async fn stop(&self, servers: &[ServerHandle], last_call: LastCall) -> Result<(), AppError> {
        let deadline = Instant::now() + self.config.server.shutdown_timeout.0;
        log::info!("stopping pending={}", self.shared.writer.pending());
        self.shared.readiness.drain();
        tokio::time::sleep(self.config.server.drain_delay.0.saturating_sub(LAST_CALL)).await;
        last_call.make();
        tokio::time::sleep(LAST_CALL).await;
        drop(last_call);
        for server in servers {
            // Bounded by actix's own shutdown timeout as well; what is not done by then is cut off.
            let _ = timeout_at(deadline, server.stop(true)).await;
        }
        // When draining took all the time, the records still get a moment of their own.
        let flush_deadline = deadline.max(Instant::now() + Duration::from_secs(1));
        let flushed = timeout_at(flush_deadline, self.shared.writer.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) || self.shared.writer.pending() > 0 {
            return Err(lost(&self.shared.writer, "server.shutdown_timeout is over"));
        }
        if let Err(error) = self.shared.secret_uses.write(&self.shared.db).await {
            log::warn!("the last uses of secrets are not written: {error}");
        }
        if let Err(error) = self.shared.db.settle().await {
            log::warn!("the WAL file stays: {error}");
        }
        log::info!("stopped");
        Ok(())
    }
}

/// The stop was cut short: what still waits in the writer is lost, and that is said.
fn lost(writer: &BatchWriterHandle, why: &str) -> AppError {
    let count = writer.pending();
    log::error!("token records lost count={count}");
    AppError(format!("stopped early, {why}: {count} token records lost"))
}

/// What [`Running::reload`] takes over; every other key needs a restart.
const RELOADABLE: [&str; 7] = [
    "token.",
    "cache.ttl",
    "cache.negative_ttl",
    "cache.stale_if_error",
    "writer.flush_interval",
    "writer.max_batch",
    "limits.auth_failures_per_minute",
];

fn listen(key: &str, address: &str) -> Result<TcpListener, AppError> {
    let cannot = |error: std::io::Error| AppError(format!("cannot listen on {address} ({key}): {error}"));
    let address: SocketAddr = address
        .parse()
        .map_err(|_| AppError(format!("{key} is no address: {address}")))?;
    listener::listen(address).map_err(cannot)
}

fn serve(
    config: &Config,
    shared: &Arc<Shared>,
    listener: TcpListener,
    workers: usize,
    public: bool,
    admin: bool,
) -> Result<Server, AppError> {
    let (shared, cache) = (shared.clone(), config.cache.clone());
    // The factory runs on the worker's own thread, once for each socket.
    let server = HttpServer::new(move || {
        WebApp::new()
            .app_data(worker_of_this_thread(&shared, &cache))
            .wrap(Envelope)
            .configure(|routes| {
                if public {
                    http::public_routes(routes, &shared.metrics);
                }
                if admin {
                    http::admin_routes(routes, &shared.metrics, !public);
                }
            })
            .default_service(web::to(http::not_found))
    });
    let server = server
        .workers(workers)
        .keep_alive(config.server.keep_alive.0)
        .client_request_timeout(config.server.request_timeout.0)
        .shutdown_timeout(config.server.shutdown_timeout.0.as_secs().max(1))
        .disable_signals()
        .listen(listener)
        .map_err(|error| AppError(format!("cannot serve: {error}")))?;
    Ok(server.run())
}

thread_local! {
    static WORKER: OnceCell<Data<Worker>> = const { OnceCell::new() };
}

fn worker_of_this_thread(shared: &Arc<Shared>, cache: &crate::config::Cache) -> Data<Worker> {
    WORKER.with(|worker| worker.get_or_init(|| Data::new(new_worker(shared, cache))).clone())
}

fn new_worker(shared: &Arc<Shared>, cache: &crate::config::Cache) -> Worker {
    let breaker = shared.db.clone();
    let second_level = (cache.enabled && shared.siblings.are_configured()).then(|| second_level(shared));
    let load = match &second_level {
        Some((_, load)) => load.clone(),
        None => loader(shared),
    };
    let outage_known = Rc::new(move || breaker.breaker_state() != BreakerState::Closed);
    let cache = ClientCache::new(cache, load, outage_known).before_the_database(second_level.map(|(find, _)| find));
    let cache = ClientCacheHandle::start(cache);
    shared.caches.add(cache.clone());
    Worker {
        shared: shared.clone(),
        cache,
        keys: WorkerKeys::new(shared.keys.clone()),
        recorder: shared.writer.recorder(shared.db.clone()),
        token_ids: Default::default(),
        request_ids: Default::default(),
        metrics: shared.metrics.worker(),
    }
}

fn loader(shared: &Shared) -> Loader {
    let db = shared.db.clone();
    Rc::new(move |id| {
        let db = db.clone();
        Box::pin(async move { db.read(move |conn| clients::find(conn, &id)).await })
    })
}

/// Asks siblings for a client; and loads one as [`loader`] does, and tells siblings of it.
fn second_level(shared: &Arc<Shared>) -> (SecondLevel, Loader) {
    let siblings = SharedClients::new(
        shared.siblings.clone(),
        shared.caches.seen().clone(),
        shared.clock.clone(),
    );
    let (asked, of) = (siblings.clone(), shared.clone());
    let find: SecondLevel = Rc::new(move |id| {
        let (siblings, ttl) = (asked.clone(), **of.cache_ttl.load());
        Box::pin(async move { siblings.find(&id, ttl).await })
    });
    let of = shared.clone();
    let load: Loader = Rc::new(move |id| {
        let (siblings, db, ttl) = (siblings.clone(), of.db.clone(), **of.cache_ttl.load());
        let loaded_at = of.clock.now();
        Box::pin(async move {
            // The number first: what is read after it has every change up to it.
            let read = move |conn: &mut Conn| Ok((changes::last(conn)?, clients::find(conn, &id)?));
            let (number, client) = db.read(read).await?;
            if let Some(client) = &client {
                siblings.share(client, number, loaded_at, ttl);
            }
            Ok(client)
        })
    });
    (find, load)
}

fn token_policy(config: &Config) -> TokenPolicy {
    TokenPolicy {
        issuer: config.server.issuer.as_str().into(),
        audience: config.default_audience().into(),
        ttl_seconds: config.token.ttl.as_seconds(),
        one_time_ttl_seconds: config.token.one_time_ttl.as_seconds(),
        alg: config.token.alg.parse().expect("the configuration has been validated"),
    }
}

fn key_schedule(config: &Config) -> Schedule {
    let keys = &config.keys;
    Schedule::new(keys.rotate_every.0, keys.publish_before.0, keys.jwks_max_age.0)
}

fn http_settings(config: &Config) -> HttpSettings {
    let metadata = Metadata::new(&config.server.issuer);
    HttpSettings {
        max_body: config.server.max_body.0,
        request_timeout: config.server.request_timeout.0,
        trusted_proxies: config.server.trusted_proxies.clone(),
        jwks_max_age: config.keys.jwks_max_age.0,
        schedule: key_schedule(config),
        metadata: serde_json::to_string(&metadata).expect("the metadata is made of strings"),
        cache_capacity: config.cache.capacity,
    }
}
