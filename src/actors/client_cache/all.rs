//! All client caches of this process: what concerns every worker goes through here.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;

use super::actor::{CacheCounts, Clear, ClientCache, ClientCacheHandle, Invalidate, Lifetimes, Stats, Tune, Warm};
use crate::cluster::freshness::Freshness;
use crate::oauth::client::{Client, ClientId};
use crate::time::UnixMillis;

/// The caches of all workers, in the order in which they were added.
#[derive(Clone, Default)]
pub struct ClientCaches {
    caches: Arc<Mutex<Vec<ClientCacheHandle>>>,
    freshness: Freshness,
}

impl ClientCaches {
    /// Adds the cache of a worker that starts.
    pub fn add(&self, cache: ClientCacheHandle) {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner).push(cache);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What has been read of the change log.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// This instance has changed a client: makes every worker forget it; returns when all have acknowledged it.
    pub async fn invalidate(&self, id: &ClientId) {
        // First: what a worker loads from now on must not come from a peer who does not know yet.
        self.freshness.mark_dirty(id);
        self.forget(id).await;
    }

    /// The change log says that a client has changed: as [`ClientCaches::invalidate`], with the change noted already.
    pub async fn forget(&self, id: &ClientId) {
        self.tell_all(Invalidate(id.clone())).await;
    }

    /// Makes every worker forget all clients; returns when all have acknowledged it.
    pub async fn clear(&self) {
        self.tell_all(Clear).await;
    }

    /// Gives every worker these clients, least recently used first.
    pub async fn warm(&self, clients: Vec<Arc<Client>>, loaded_at: UnixMillis) {
        self.tell_all(Warm { clients, loaded_at }).await;
    }

    /// Gives every worker other lifetimes.
    pub async fn tune(&self, lifetimes: Lifetimes) {
        self.tell_all(Tune(lifetimes)).await;
    }

    /// The counts of each worker.
    pub async fn stats(&self) -> Vec<CacheCounts> {
        let asked = self
            .all()
            .into_iter()
            .map(|cache| async move { cache.tell(Stats).await });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// A cache that is gone has nothing left to serve, so its silence counts as an acknowledgement.
    async fn tell_all<M>(&self, message: M)
    where
        M: actix::Message<Result = ()> + Clone + Send + 'static,
        ClientCache: actix::Handler<M>,
    {
        let told = self.all().into_iter().map(|cache| {
            let message = message.clone();
            async move { cache.tell(message).await }
        });
        join_all(told).await;
    }

    fn all(&self) -> Vec<ClientCacheHandle> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
