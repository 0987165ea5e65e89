//! The two ways to load a client that a worker does not have: from a peer, and from the database.
//!
//! They are closures, so that the tests of the cache can count and delay what it loads.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::peer_cache::PeerCache;
use crate::clock::Clock;
use crate::db::{Conn, Db, DbError, changes, clients};
use crate::oauth::client::{Client, ClientId};
use crate::time::UnixMillis;

/// Loads a client from the database; with a deadline of its own.
pub type Loader = Rc<dyn Fn(ClientId) -> LocalBoxFuture<'static, Result<Option<Client>, DbError>>>;

/// Asks peers for a client, and says when it was read; `None` is "ask the database". With a short deadline of its own.
pub type SecondLevel = Rc<dyn Fn(ClientId) -> LocalBoxFuture<'static, Option<(Client, UnixMillis)>>>;

/// Loads clients from the database, for an instance without peers.
pub fn from_database(db: &Db) -> Loader {
    let db = db.clone();
    Rc::new(move |id| {
        let db = db.clone();
        Box::pin(async move { db.read(move |conn| clients::find(conn, &id)).await })
    })
}

/// Asks peers for clients that are younger than `ttl` says then.
pub fn from_peers(peers: PeerCache, ttl: impl Fn() -> Duration + 'static) -> SecondLevel {
    Rc::new(move |id| {
        let (peers, ttl) = (peers.clone(), ttl());
        Box::pin(async move { peers.find(&id, ttl).await })
    })
}

/// Loads clients as [`from_database`] does, and tells peers of them.
pub fn sharing(db: &Db, peers: PeerCache, clock: Clock, ttl: impl Fn() -> Duration + 'static) -> Loader {
    let db = db.clone();
    Rc::new(move |id| {
        let (peers, db, ttl) = (peers.clone(), db.clone(), ttl());
        let loaded_at = clock.now();
        Box::pin(async move {
            // The number first: what is read after it has every change up to it.
            let read = move |conn: &mut Conn| Ok((changes::last(conn)?, clients::find(conn, &id)?));
            let (number, client) = db.read(read).await?;
            if let Some(client) = &client {
                peers.share(client, number, loaded_at, ttl);
            }
            Ok(client)
        })
    })
}
