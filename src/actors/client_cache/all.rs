//! The client caches of all workers of this process.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;

use super::actor::{CacheCounts, Clear, ClientCache, ClientCacheHandle, Invalidate, Lifetimes, Stats, Tune, Warm};
use crate::cluster::freshness::Freshness;
use crate::mutex::lock;
use crate::oauth::client::{Client, ClientId};
use crate::time::UnixMillis;

/// The caches of all workers, in the order in which they were added. Clones share them.
#[derive(Clone, Default)]
pub struct ClientCaches {
    caches: Arc<Mutex<Vec<ClientCacheHandle>>>,
    freshness: Freshness,
}

impl ClientCaches {
    /// Adds the cache of a starting worker.
    pub fn add(&self, cache: ClientCacheHandle) {
        lock(&self.caches).push(cache);
    }

    /// The number of caches.
    pub fn count(&self) -> usize {
        lock(&self.caches).len()
    }

    /// How far the change log has been read, which decides whether a client from a peer is usable.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Makes every worker forget a client that this instance has changed; returns when all have
    /// acknowledged it.
    pub async fn invalidate(&self, id: &ClientId) {
        // Before the workers forget it: what they load next must not come from a peer that does not
        // know the change yet.
        self.freshness.mark_dirty(id);
        self.forget(id).await;
    }

    /// Makes every worker forget a client that has changed according to the change log. Unlike
    /// [`ClientCaches::invalidate`] it does not mark the client dirty: the feed has noted the
    /// change already.
    pub async fn forget(&self, id: &ClientId) {
        self.send_all(Invalidate(id.clone())).await;
    }

    /// Makes every worker forget all clients; returns when all have acknowledged it.
    pub async fn clear(&self) {
        self.send_all(Clear).await;
    }

    /// Inserts these clients into every cache, least recently used first.
    pub async fn warm(&self, clients: Vec<Arc<Client>>, loaded_at: UnixMillis) {
        self.send_all(Warm { clients, loaded_at }).await;
    }

    /// Applies other lifetimes to every cache.
    pub async fn tune(&self, lifetimes: Lifetimes) {
        self.send_all(Tune(lifetimes)).await;
    }

    /// The counters of each worker's cache.
    pub async fn stats(&self) -> Vec<CacheCounts> {
        let replies = self
            .all()
            .into_iter()
            .map(|cache| async move { cache.send(Stats).await });
        join_all(replies).await.into_iter().flatten().collect()
    }

    /// Sends a message to every cache and waits for all. A cache that is gone serves nothing, so it
    /// need not acknowledge.
    async fn send_all<M>(&self, message: M)
    where
        M: actix::Message<Result = ()> + Clone + Send + 'static,
        ClientCache: actix::Handler<M>,
    {
        let sent = self.all().into_iter().map(|cache| {
            let message = message.clone();
            async move { cache.send(message).await }
        });
        join_all(sent).await;
    }

    fn all(&self) -> Vec<ClientCacheHandle> {
        lock(&self.caches).clone()
    }
}
