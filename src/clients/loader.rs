//! The two sources of a client that a worker's cache lacks: its peers and the database.
//!
//! Both are closures, so that the tests of the cache can count and delay loads.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::peer_cache::PeerCache;
use crate::clock::Clock;
use crate::db::{Conn, Db, DbError, changes, clients};
use crate::oauth::client::{Client, ClientId};
use crate::time::UnixMillis;

/// Loads a client from the database, within the query timeout.
pub type Loader = Rc<dyn Fn(ClientId) -> LocalBoxFuture<'static, Result<Option<Client>, DbError>>>;

/// Looks a client up among peers, within a short timeout. Returns the client and when it was read
/// from the database; on `None` the caller reads the database.
pub type SecondLevel = Rc<dyn Fn(ClientId) -> LocalBoxFuture<'static, Option<(Client, UnixMillis)>>>;

/// Loads clients from the database. For an instance without peers.
pub fn from_database(db: &Db) -> Loader {
    let db = db.clone();
    Rc::new(move |id| {
        let db = db.clone();
        Box::pin(async move { db.read(move |conn| clients::load(conn, &id)).await })
    })
}

/// Looks clients up among peers and returns those younger than `ttl()`.
pub fn from_peers(peers: PeerCache, ttl: impl Fn() -> Duration + 'static) -> SecondLevel {
    Rc::new(move |id| {
        let (peers, ttl) = (peers.clone(), ttl());
        Box::pin(async move { peers.find(&id, ttl).await })
    })
}

/// Loads clients from the database and shares them with peers for `ttl()`.
pub fn from_database_and_share(
    db: &Db,
    peers: PeerCache,
    clock: Clock,
    ttl: impl Fn() -> Duration + 'static,
) -> Loader {
    let db = db.clone();
    Rc::new(move |id| {
        let (peers, db, ttl) = (peers.clone(), db.clone(), ttl());
        let loaded_at = clock.now();
        Box::pin(async move {
            // The number is read first: the client then contains every change up to it.
            let read = move |conn: &mut Conn| Ok((changes::last(conn)?, clients::load(conn, &id)?));
            let (number, client) = db.read(read).await?;
            if let Some(client) = &client {
                peers.share(client, number, loaded_at, ttl);
            }
            Ok(client)
        })
    })
}
