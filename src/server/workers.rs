//! The HTTP applications behind the listeners, and the [`Worker`] of each of their threads.

use std::cell::OnceCell;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::web::{self, Data};
use actix_web::{App, HttpServer};

use crate::actors::client_cache::{ClientCache, ClientCacheHandle};
use crate::breaker::BreakerState;
use crate::clients::loader::{self, Loader, SecondLevel};
use crate::clients::peer_cache::PeerCache;
use crate::config::{self, Config};
use crate::db::Db;
use crate::http::{Middleware, Shared, Worker, routes};
use crate::keys::WorkerKeys;

/// Serves on one socket with this many workers: the public routes, the admin routes, or both.
///
/// # Errors
/// When the socket is not usable.
pub(super) fn serve(
    config: &Config,
    db: &Db,
    shared: &Arc<Shared>,
    listener: TcpListener,
    workers: usize,
    public: bool,
    admin: bool,
) -> std::io::Result<Server> {
    let (db, shared, cache) = (db.clone(), shared.clone(), config.cache.clone());
    // The factory runs on the worker's own thread, once per socket.
    let server = HttpServer::new(move || {
        App::new()
            .app_data(worker_of_this_thread(&db, &shared, &cache))
            .wrap(Middleware)
            .configure(|config| {
                if public {
                    routes::public_routes(config, &shared.metrics);
                }
                if admin {
                    routes::admin_routes(config, &shared.metrics, !public);
                }
            })
            .default_service(web::to(routes::not_found))
    });
    let server = server
        .workers(workers)
        .keep_alive(config.server.keep_alive.0)
        .client_request_timeout(config.server.request_timeout.0)
        .shutdown_timeout(config.server.shutdown_timeout.0.as_secs().max(1))
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
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
