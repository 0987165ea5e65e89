//! [`PeerCache`]: the second level of the client caches, which is what peers know.
//!
//! A worker that misses asks here before it asks the database. What comes is used only if the change log proves that it is
//! not out of date (`cluster::freshness`), and with the age that it has: coming from somebody else makes no client younger.

use std::time::Duration;

use crate::clock::Clock;
use crate::cluster::freshness::Freshness;
use crate::oauth::client::{Client, ClientId};
use crate::peers::{Peers, SharedClient};
use crate::time::UnixMillis;

/// A handle; a clone is the same.
#[derive(Clone)]
pub struct PeerCache {
    peers: Peers,
    freshness: Freshness,
    clock: Clock,
}

impl PeerCache {
    /// What `peers` know, judged by what this instance has read.
    pub fn new(peers: Peers, freshness: Freshness, clock: Clock) -> Self {
        Self {
            peers,
            freshness,
            clock,
        }
    }

    /// The client and when it was read, if a peer knows it and it is younger than `ttl`; within a few milliseconds.
    pub async fn find(&self, id: &ClientId, ttl: Duration) -> Option<(Client, UnixMillis)> {
        let found = self.trusted(id, ttl).await;
        self.peers.count_shared(found.is_some());
        found
    }

    async fn trusted(&self, id: &ClientId, ttl: Duration) -> Option<(Client, UnixMillis)> {
        if !self.freshness.is_usable(id, self.peers.listening_since()?) {
            return None;
        }
        let SharedClient {
            client,
            number,
            loaded_at,
        } = self.peers.client(id).await?;
        // Judged when it is there and not when it was asked for: a change that has been read since is invalidated after
        // this, and a load under way is then done again.
        if !self
            .freshness
            .is_fresh(id, number, loaded_at, self.peers.listening_since()?)
        {
            return None;
        }
        let now = self.clock.now();
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        // A clock that is ahead of ours makes nothing younger than it can be.
        let loaded_at = UnixMillis(loaded_at.0.min(now.0));
        (now.since(loaded_at) < ttl).then_some((client, loaded_at))
    }

    /// Tells peers of a client that was read at `loaded_at`, after the log was seen to have come as far as `number`.
    pub fn share(&self, client: &Client, number: i64, loaded_at: UnixMillis, ttl: Duration) {
        let shared = SharedClient {
            client: client.clone(),
            number,
            loaded_at,
        };
        self.peers.share(&shared, ttl);
    }
}
