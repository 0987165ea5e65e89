//! The HTTP applications behind the listeners, and the [`Worker`] of each of their threads.

use std::cell::OnceCell;
use std::future::ready;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{Extensions, HttpService, KeepAlive, Protocol};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::App;
use actix_web::dev::{AppConfig, Server, fn_service};
use actix_web::web::{self, Data};
use tokio::net::TcpStream;

use super::connections::{GuardedStream, Limits, WorkerConnections};
use crate::actors::client_cache::{ClientCache, ClientCacheHandle};
use crate::breaker::BreakerState;
use crate::clients::loader::{self, Loader, SecondLevel};
use crate::clients::peer_cache::PeerCache;
use crate::config::{self, Config};
use crate::db::Db;
use crate::http::connection::Deadlines;
use crate::http::{Middleware, Shared, Worker, routes};
use crate::keys::WorkerKeys;

/// How long a connection may take to close after a response to a body of known length that was not
/// read.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A listener and what it serves.
pub(super) struct Listener {
    pub socket: TcpListener,
    pub workers: usize,
    /// Whether it serves the public routes.
    pub public: bool,
    /// Whether it serves the admin routes.
    pub admin: bool,
    pub limits: Arc<Limits>,
}

/// Serves on one listener.
///
/// # Errors
/// When the socket is not usable.
pub(super) fn serve(config: &Config, db: &Db, shared: &Arc<Shared>, listener: Listener) -> std::io::Result<Server> {
    let Listener {
        socket,
        workers,
        public,
        admin,
        limits,
    } = listener;
    let (db, shared, cache) = (db.clone(), shared.clone(), config.cache.clone());
    let address = socket.local_addr()?;
    let deadlines = Deadlines {
        request: config.server.request_timeout.0,
        idle: config.server.keep_alive.0,
    };
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(limits.max_per_worker(workers))
        .shutdown_timeout(config.server.shutdown_timeout.0.as_secs().max(1))
        .disable_signals();
    let stopping = server.graceful_shutdown_signal();
    // The factory runs on the worker's own thread, once per socket.
    let factory = move || {
        let shared = &shared;
        let app = App::new()
            .app_data(worker_of_this_thread(&db, shared, &cache))
            .wrap(Middleware)
            .configure(|config| {
                if public {
                    routes::public_routes(config, shared);
                }
                if admin {
                    routes::admin_routes(config, shared, !public);
                }
            })
            .default_service(web::to(routes::not_found));
        let app = app.into_factory().map_err(|error| error.error_response());
        // Only for generated URLs, of which there are none.
        let app = map_config(app, |_: ()| AppConfig::default());
        let connections = WorkerConnections::new(deadlines, limits.clone());
        actix_web::rt::spawn(connections.clone().sweep());
        actix_web::rt::spawn(connections.clone().take_turns());
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            // The guarded streams have the deadlines.
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .local_addr(address)
            .on_connect_ext(|stream: &GuardedStream<TcpStream>, data: &mut Extensions| {
                data.insert(stream.connection().clone());
            })
            .finish(app);
        fn_service(move |stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            let stream = GuardedStream::accept(stream, peer.map(|peer| peer.ip()), &connections);
            let accepted = stream.map(|stream| (stream, Protocol::Http1, peer));
            // The error is not logged: the limits count and log rejections.
            ready(accepted.ok_or(DispatchError::DisconnectTimeout))
        })
        .and_then(http)
    };
    Ok(server.listen("mintage", socket, factory)?.run())
}

thread_local! {
    static WORKER: OnceCell<Data<Worker>> = const { OnceCell::new() };
}

fn worker_of_this_thread(db: &Db, shared: &Arc<Shared>, cache: &config::Cache) -> Data<Worker> {
    WORKER.with(|worker| worker.get_or_init(|| Data::new(new_worker(db, shared, cache))).clone())
}

fn new_worker(db: &Db, shared: &Arc<Shared>, cache: &config::Cache) -> Worker {
    let breaker = db.breaker_view();
    let second_level = (cache.enabled && shared.peers.are_configured()).then(|| second_level(db, shared));
    let load = match &second_level {
        Some((_, load)) => load.clone(),
        None => loader::from_database(db),
    };
    let outage_known = Rc::new(move || breaker.state() != BreakerState::Closed);
    let cache = ClientCache::new(cache, load, outage_known).with_second_level(second_level.map(|(find, _)| find));
    let cache = ClientCacheHandle::start(cache);
    shared.caches.add(cache.clone());
    Worker {
        shared: shared.clone(),
        cache,
        keys: WorkerKeys::new(shared.keys.clone()),
        recorder: shared.writer.recorder(db.clone()),
        token_ids: Default::default(),
        request_ids: Default::default(),
        metrics: shared.metrics.worker(),
    }
}

/// The two sources of clients among peers: a lookup in Redis, and a loader that shares what it
/// reads from the database.
fn second_level(db: &Db, shared: &Arc<Shared>) -> (SecondLevel, Loader) {
    let peers = PeerCache::new(
        shared.peers.clone(),
        shared.caches.freshness().clone(),
        shared.clock.clone(),
    );
    let of = shared.clone();
    let ttl = move || **of.cache_ttl.load();
    let load = loader::from_database_and_share(db, peers.clone(), shared.clock.clone(), ttl.clone());
    (loader::from_peers(peers, ttl), load)
}
