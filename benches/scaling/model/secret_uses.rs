//! When secrets were last used: how many of these notes reach the database. Simulated for one client at a time, because
//! whether a use is news depends on what the worker at hand has read.
//!
//! A worker passes a use on unless the client in its cache says that the secret was used within the last minute; an instance
//! writes what was passed on every quarter of a minute, once for each secret; a load brings what is written.

use super::popularity::Popularity;
use super::random::Random;

/// Uses within this time count as one.
const PRECISION: f64 = 60.0;

/// How often an instance writes.
const WRITE_EVERY: f64 = 15.0;

/// Where a client's requests go and how long it is remembered there.
#[derive(Clone, Copy, Debug)]
pub struct Uses {
    /// Instances that see it.
    pub instances: usize,
    /// Workers of each.
    pub workers: usize,
    /// `cache.ttl`
    pub ttl: f64,
    /// A client not asked for within this time is forgotten by a worker.
    pub characteristic_time: f64,
}

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Rows updated for each request.
    pub written: f64,
    /// Hits for each request.
    pub hits: f64,
}

#[derive(Clone, Copy)]
struct Entry {
    loaded: f64,
    asked: f64,
    known: f64,
}

/// A use that an instance has been told and not written.
struct Waiting {
    instance: usize,
    used: f64,
    due: f64,
}

const NEVER: f64 = -1e12;

impl Uses {
    /// Updates a second of all clients.
    pub fn written(&self, popularity: &Popularity) -> f64 {
        const REQUESTS: usize = 4000;
        let of_group = |group: &super::popularity::Group| {
            group.clients * group.rate * self.counted(group.rate, REQUESTS, 11).written
        };
        popularity.0.iter().map(of_group).sum()
    }

    /// Of a client that asks `rate` times a second, over `requests` of its requests.
    pub fn counted(&self, rate: f64, requests: usize, seed: u64) -> Counted {
        let mut random = Random(seed);
        let nothing = Entry {
            loaded: NEVER,
            asked: NEVER,
            known: NEVER,
        };
        let mut entries = vec![nothing; self.instances * self.workers];
        // What instances have been told and have not written.
        let mut waiting: Vec<Waiting> = Vec::new();
        let (mut now, mut in_database, mut written, mut hits) = (0.0, NEVER, 0, 0);
        // A third as many before, so that the workers know the client as they usually do.
        for number in 0..requests + requests / 3 {
            let counts = number >= requests / 3;
            now += random.wait(rate);
            waiting.retain(|waits| {
                if waits.due <= now {
                    written += u32::from(counts);
                    in_database = f64::max(in_database, waits.used);
                }
                waits.due > now
            });
            let worker = random.below(entries.len());
            let entry = &mut entries[worker];
            let is_hit = now - entry.loaded < self.ttl && now - entry.asked < self.characteristic_time;
            if is_hit {
                hits += u32::from(counts);
            } else {
                (entry.loaded, entry.known) = (now, in_database);
            }
            entry.asked = now;
            if now - entry.known < PRECISION {
                continue;
            }
            entry.known = now;
            let instance = worker / self.workers;
            match waiting.iter_mut().find(|waits| waits.instance == instance) {
                Some(waits) => waits.used = now,
                None => waiting.push(Waiting {
                    instance,
                    used: now,
                    // It writes at its own times, whatever it is told.
                    due: now + random.share() * WRITE_EVERY,
                }),
            }
        }
        Counted {
            written: f64::from(written) / requests as f64,
            hits: f64::from(hits) / requests as f64,
        }
    }
}
