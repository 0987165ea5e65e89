//! When secrets were last used: how many of these updates reach the database. Simulated one client
//! at a time, because whether a use is reported depends on what the worker has read.
//!
//! A worker reports a use unless its cached client was used within the last minute. An instance
//! writes the reported uses every 15 s, once per secret. Loading a client reads the written value.

use crate::inputs::{LAST_USED_INTERVAL, LAST_USED_PRECISION};
use crate::popularity::{Group, Popularity};
use crate::random::Random;

/// Which workers the requests of a client reach, and how long it stays in the cache there.
#[derive(Clone, Copy)]
pub struct Place {
    pub instances: usize,
    /// Per instance.
    pub workers: usize,
    pub ttl: f64,
    pub characteristic_time: f64,
}

/// A reported use that is not written yet.
struct Reported {
    instance: usize,
    used: f64,
    due: f64,
}

const NEVER: f64 = -1e12;

/// Updates per second of all clients.
pub fn written(place: Place, popularity: &Popularity) -> f64 {
    let of = |group: &Group| group.clients * group.rate * simulated(place, group.rate, 4000).0;
    popularity.0.iter().map(of).sum()
}

/// Updates and cache hits per request, for a client with `rate` requests per second.
fn simulated(place: Place, rate: f64, requests: usize) -> (f64, f64) {
    let mut random = Random(11);
    // Per worker: when the client was loaded and last requested, and its last use as known there.
    let mut entries = vec![[NEVER; 3]; place.instances * place.workers];
    let mut reported: Vec<Reported> = Vec::new();
    let (mut now, mut in_database, mut written, mut hits) = (0.0, NEVER, 0, 0);
    // A warm-up of a third as many requests, so that the caches are filled.
    for number in 0..requests + requests / 3 {
        let measured = u32::from(number >= requests / 3);
        now += random.wait(rate);
        reported.retain(|report| {
            if report.due <= now {
                written += measured;
                in_database = f64::max(in_database, report.used);
            }
            report.due > now
        });
        let worker = (random.share() * entries.len() as f64) as usize;
        let [loaded, requested, used] = &mut entries[worker];
        if now - *loaded < place.ttl && now - *requested < place.characteristic_time {
            hits += measured;
        } else {
            (*loaded, *used) = (now, in_database);
        }
        *requested = now;
        if now - *used < LAST_USED_PRECISION {
            continue;
        }
        *used = now;
        let instance = worker / place.workers;
        match reported.iter_mut().find(|report| report.instance == instance) {
            Some(report) => report.used = now,
            // An instance writes at its own times, independent of reports.
            None => reported.push(Reported {
                instance,
                used: now,
                due: now + random.share() * LAST_USED_INTERVAL,
            }),
        }
    }
    let per_request = |count: u32| f64::from(count) / requests as f64;
    (per_request(written), per_request(hits))
}

#[cfg(test)]
mod tests {
    use super::{Place, simulated};
    use crate::cache::Cache;
    use crate::popularity::Popularity;

    fn place(instances: usize, workers: usize, ttl: f64, characteristic_time: f64) -> Place {
        Place {
            instances,
            workers,
            ttl,
            characteristic_time,
        }
    }

    #[test]
    fn the_simulated_hit_rate_agrees_with_the_computed_one() {
        for (rate, ttl, time) in [(0.02, 600.0, f64::INFINITY), (0.05, 600.0, 300.0), (0.02, 100.0, 1e4)] {
            // A capacity at which this many equal clients have that characteristic time.
            let capacity = 1000.0 * (1.0 - (-rate / 6.0 * time).exp());
            let seen = Popularity::uniform(1000, 1000.0 * rate / 6.0);
            let computed = Cache::new(capacity, ttl, 0.0).hit_rates(&seen).hit_rate;
            let hit_rate = simulated(place(3, 2, ttl, time), rate, 100_000).1;
            assert!((computed - hit_rate).abs() <= 0.01, "{rate} {ttl} {time}: {hit_rate}");
        }
    }

    #[test]
    fn a_use_is_written_at_most_once_a_minute_per_worker_and_at_most_once() {
        let written = |instances, workers, rate, requests| {
            simulated(place(instances, workers, 1e9, f64::INFINITY), rate, requests).0
        };
        let frequent = written(1, 1, 10.0, 100_000) * 10.0 * 60.0;
        assert!((frequent - 1.0).abs() <= 0.02, "{frequent} per minute");
        let rare = written(1, 1, 1e-4, 1000);
        assert!((rare - 1.0).abs() <= 0.01, "{rare} of the uses");
        let many = written(5, 2, 100.0, 300_000) * 100.0 * 60.0;
        assert!((5.0..=10.0).contains(&many), "{many} per minute");
    }
}
