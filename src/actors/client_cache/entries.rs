//! The clients in memory: an LRU map that is bounded by their number and by their sizes.

use std::num::NonZeroUsize;
use std::sync::Arc;

use ahash::RandomState;
use lru::LruCache;

use crate::oauth::client::{Client, ClientId};
use crate::time::UnixMillis;

/// The bytes that a client may have on average when the map is full. A usual client has a tenth of
/// them, and the largest five times as many.
pub const MEAN_CLIENT: usize = 8 << 10;

/// A client in memory.
pub struct Entry {
    /// The client.
    pub client: Arc<Client>,
    /// When it was read.
    pub loaded_at: UnixMillis,
    bytes: usize,
}

/// The clients in memory.
pub struct Entries {
    // Callers choose the ids. ahash is keyed at random per map, so no caller can aim at one bucket.
    // For a client id it takes a third of the time of std's SipHash.
    map: LruCache<ClientId, Entry, RandomState>,
    /// The sum of the sizes of all clients.
    bytes: usize,
}

impl Entries {
    /// An empty map for `capacity` clients.
    pub fn new(capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self {
            map: LruCache::with_hasher(capacity, RandomState::new()),
            bytes: 0,
        }
    }

    /// The number of clients.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// A client, which thereby becomes the most recently used.
    pub fn get(&mut self, id: &str) -> Option<&Entry> {
        self.map.get(id)
    }

    /// Inserts or replaces a client. Returns how many others had to leave.
    pub fn push(&mut self, client: Arc<Client>, loaded_at: UnixMillis) -> u64 {
        let id = client.id.clone();
        let bytes = client.bytes();
        self.bytes += bytes;
        let entry = Entry {
            client,
            loaded_at,
            bytes,
        };
        let mut evicted = 0;
        if let Some((other, old)) = self.map.push(id.clone(), entry) {
            self.bytes -= old.bytes;
            evicted += u64::from(other != id);
        }
        // The new client stays, however large it is.
        while self.bytes > self.map.cap().get().saturating_mul(MEAN_CLIENT) && self.map.len() > 1 {
            let Some((_, oldest)) = self.map.pop_lru() else { break };
            self.bytes -= oldest.bytes;
            evicted += 1;
        }
        evicted
    }

    /// Removes a client.
    pub fn pop(&mut self, id: &str) {
        if let Some(entry) = self.map.pop(id) {
            self.bytes -= entry.bytes;
        }
    }

    /// Removes all clients.
    pub fn clear(&mut self) {
        self.map.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::client::AuthMethod;
    use crate::oauth::scope::Scope;
    use proptest::prelude::*;

    fn client(id: usize, audiences: usize) -> Arc<Client> {
        Arc::new(Client {
            id: ClientId::parse(&id.to_string()).unwrap(),
            name: String::new(),
            enabled: true,
            scope: Scope::empty(),
            default_scope: Scope::empty(),
            audiences: vec!["x".repeat(500).into(); audiences],
            introspection_audiences: Vec::new(),
            auth_methods: AuthMethod::ALL.to_vec(),
            ttl_seconds: None,
            alg: None,
            token: Default::default(),
            labels: Default::default(),
            secrets: Vec::new(),
            created_at: UnixMillis(0),
            updated_at: UnixMillis(0),
        })
    }

    #[test]
    fn large_clients_push_out_the_least_recently_used() {
        let mut entries = Entries::new(4);
        (0..4).for_each(|id| assert_eq!(entries.push(client(id, 1), UnixMillis(0)), 0));
        assert!(entries.get("0").is_some());
        assert_eq!(entries.push(client(4, 16), UnixMillis(0)), 1);
        assert_eq!(entries.push(client(5, 43), UnixMillis(0)), 2);
        let kept: Vec<bool> = (0..6).map(|id| entries.get(&id.to_string()).is_some()).collect();
        assert_eq!(kept, [true, false, false, false, true, true]);
    }

    #[test]
    fn a_client_above_the_bound_is_kept_alone() {
        let mut entries = Entries::new(1);
        entries.push(client(1, 60), UnixMillis(0));
        entries.push(client(2, 60), UnixMillis(0));
        assert_eq!((entries.len(), entries.get("2").is_some()), (1, true));
    }

    proptest! {
        #[test]
        fn the_sum_is_that_of_the_clients_and_within_the_bound(
            steps in prop::collection::vec((0..6usize, 0..40usize, 0..8u8), 1..60),
        ) {
            let mut entries = Entries::new(3);
            for (id, audiences, step) in steps {
                match step {
                    0 => entries.pop(&id.to_string()),
                    1 => { entries.get(&id.to_string()); }
                    2 => entries.clear(),
                    _ => { entries.push(client(id, audiences), UnixMillis(0)); }
                }
                let sum: usize = entries.map.iter().map(|(_, entry)| entry.client.bytes()).sum();
                prop_assert_eq!(entries.bytes, sum);
                prop_assert!(sum <= 3 * MEAN_CLIENT || entries.len() == 1);
            }
        }
    }
}
