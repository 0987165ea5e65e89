//! [`PeerCache`]: the second level of the client caches: the clients that peers have read.
//!
//! On a miss, a worker looks here before it reads the database. A client from a peer is used only
//! if the change log proves that it is not out of date (`cluster::freshness`). It keeps the time at
//! which the peer read it, so sharing never extends its lifetime.

use std::time::Duration;

use crate::clock::Clock;
use crate::cluster::freshness::Freshness;
use crate::oauth::client::{Client, ClientId};
use crate::peers::{Peers, SharedClient};
use crate::time::UnixMillis;

/// The handle; clones share one state.
#[derive(Clone)]
pub struct PeerCache {
    peers: Peers,
    freshness: Freshness,
    clock: Clock,
}

impl PeerCache {
    /// Creates a cache of what `peers` share, checked against `freshness`.
    pub fn new(peers: Peers, freshness: Freshness, clock: Clock) -> Self {
        Self {
            peers,
            freshness,
            clock,
        }
    }

    /// The client and when it was read from the database, if a peer has it, it is provably fresh,
    /// and it is younger than `ttl`. Takes at most a few milliseconds.
    pub async fn find(&self, id: &ClientId, ttl: Duration) -> Option<(Client, UnixMillis)> {
        let found = self.find_fresh(id, ttl).await;
        self.peers.count_shared(found.is_some());
        found
    }

    async fn find_fresh(&self, id: &ClientId, ttl: Duration) -> Option<(Client, UnixMillis)> {
        if !self.freshness.is_usable(id, self.peers.listening_since()?) {
            return None;
        }
        let SharedClient {
            client,
            number,
            loaded_at,
        } = self.peers.client(id).await?;
        // Checked when the reply has arrived, not when it was requested. A change read after this
        // check invalidates the client, and a running load is then repeated.
        if !self
            .freshness
            .is_fresh(id, number, loaded_at, self.peers.listening_since()?)
        {
            return None;
        }
        let now = self.clock.now();
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        // If the clock of a peer is ahead, the client counts as read now at the latest.
        let loaded_at = UnixMillis(loaded_at.0.min(now.0));
        (now.since(loaded_at) < ttl).then_some((client, loaded_at))
    }

    /// Shares a client that was read at `loaded_at` with peers. `number` is the end of the change
    /// log before the read.
    pub fn share(&self, client: &Client, number: i64, loaded_at: UnixMillis, ttl: Duration) {
        let shared = SharedClient {
            client: client.clone(),
            number,
            loaded_at,
        };
        self.peers.share(&shared, ttl);
    }
}
