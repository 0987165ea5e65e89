//! A whole cluster: its load on PostgreSQL, part by part.

use crate::cache::{Cache, HitRates};
use crate::feed;
use crate::inputs::*;
use crate::last_used::{self, Place};
use crate::popularity::Popularity;
use crate::records::flushes;

pub struct Cluster {
    pub instances: u32,
    /// Workers of each instance.
    pub workers: u32,
    pub popularity: Popularity,
    /// Whether all requests of a client reach the same instance, instead of any.
    pub by_client: bool,
    pub cache: Cache,
    /// How long Redis keeps a client for all instances; `None` without Redis.
    pub shared_cache: Option<f64>,
    /// Changes of clients per second.
    pub client_changes: f64,
    /// Revocations and redemptions per second.
    pub invalidated: f64,
}

/// The load of a cluster on PostgreSQL.
pub struct Load {
    /// Clients loaded per second.
    pub loads: f64,
    /// Last uses of secrets written per second.
    pub last_uses: f64,
    /// CPU in cores: for loads, token records, last uses, and changes with their feeds.
    pub parts: [f64; 4],
}

impl Load {
    /// CPU of all parts, in cores.
    pub fn cores(&self) -> f64 {
        self.parts.iter().sum()
    }
}

impl Cluster {
    pub fn load(&self) -> Load {
        let place = Place {
            instances: if self.by_client { 1 } else { self.instances as usize },
            workers: self.workers as usize,
            ttl: self.cache.ttl,
            characteristic_time: self.hit_rates().characteristic_time,
        };
        let (loads, last_uses) = (self.loads(), last_used::written(place, &self.popularity));
        let records = flushes(self.popularity.rate(), f64::from(self.instances)).1;
        let shared = self.shared_cache.is_some();
        let feeds = feed::cost(self.instances, self.client_changes, self.invalidated, shared).1;
        let changes = (self.client_changes + self.invalidated) * REVOCATION_MICROS / 1e6 + feeds;
        let parts = [
            loads * LOAD_MICROS / 1e6,
            records,
            last_uses * LAST_USED_MICROS / 1e6,
            changes,
        ];
        Load {
            loads,
            last_uses,
            parts,
        }
    }

    /// The hit rates of the cache of one worker.
    pub fn hit_rates(&self) -> HitRates {
        let (instances, workers) = (f64::from(self.instances), f64::from(self.workers));
        self.cache.hit_rates(&match self.by_client {
            true => self.popularity.seen(workers, instances),
            false => self.popularity.seen(instances * workers, 1.0),
        })
    }

    /// Loads that reach PostgreSQL: the misses of all workers, reduced by the hits of the shared
    /// cache. Misses reach that cache from so many workers that they are a Poisson process.
    pub fn loads(&self) -> f64 {
        let hits = self.hit_rates().by_group;
        let of_clients = self.popularity.0.iter().zip(hits).map(|(group, hits)| {
            let misses = group.rate * (1.0 - hits);
            group.clients * misses / (1.0 + misses * self.shared_cache.unwrap_or(0.0))
        });
        of_clients.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Cluster;
    use crate::cache::Cache;
    use crate::popularity::Popularity;

    #[test]
    fn routing_by_client_and_a_shared_cache_never_add_loads() {
        let load = |instances, by_client, shared_cache| {
            let cluster = Cluster {
                instances,
                workers: 2,
                popularity: Popularity::uniform(20_000, 500.0),
                by_client,
                cache: Cache::new(1000.0, 600.0, 0.0),
                shared_cache,
                client_changes: 1.0,
                invalidated: 10.0,
            };
            cluster.load()
        };
        assert!((load(1, true, None).loads - load(1, false, None).loads).abs() <= 1e-9);
        for instances in [1, 10, 100] {
            let (spread, routed) = (load(instances, false, None), load(instances, true, None));
            let shared = load(instances, false, Some(600.0));
            assert!(spread.loads <= 500.0 && routed.loads <= spread.loads + 1e-9 && shared.loads < spread.loads);
            // At most one per client and TTL.
            assert!(shared.loads <= 20_000.0 / 600.0);
            assert!(spread.last_uses <= 500.0 && spread.cores() > spread.parts[0]);
        }
    }
}
