//! When secrets were last used: how many of these updates reach the database. Simulated one client at a time, because whether
//! a use is news depends on what the worker has read.
//!
//! A worker reports a use unless its cached client says that the secret was used within the last minute. An instance writes
//! what was reported every 15 s, once per secret. Loading a client reads what is written.

use crate::inputs::{LAST_USED_INTERVAL, LAST_USED_PRECISION};
use crate::popularity::{Group, Popularity};
use crate::random::Random;

/// Where the requests of a client go, and how long it stays in the cache there.
#[derive(Clone, Copy)]
pub struct Place {
    pub instances: usize,
    /// Of each instance.
    pub workers: usize,
    pub ttl: f64,
    pub characteristic_time: f64,
}

/// A use that was reported and is not written yet.
struct Reported {
    instance: usize,
    used: f64,
    due: f64,
}

const NEVER: f64 = -1e12;

/// Updates per second of all clients.
pub fn written(place: Place, popularity: &Popularity) -> f64 {
    let of = |group: &Group| group.clients * group.rate * counted(place, group.rate, 4000).0;
    popularity.0.iter().map(of).sum()
}

/// Updates and cache hits per request of a client with `rate` requests per second.
fn counted(place: Place, rate: f64, requests: usize) -> (f64, f64) {
    let mut random = Random(11);
    // Of each worker: when the client was loaded and last requested, and the last use that the worker knows of.
    let mut entries = vec![[NEVER; 3]; place.instances * place.workers];
    let mut reported: Vec<Reported> = Vec::new();
    let (mut now, mut in_database, mut written, mut hits) = (0.0, NEVER, 0, 0);
    // A third as many before, so that the caches are as full as they usually are.
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
    use super::{Place, counted};
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
    fn the_hit_rate_counted_request_by_request_is_the_computed_one() {
        for (rate, ttl, time) in [(0.02, 600.0, f64::INFINITY), (0.05, 600.0, 300.0), (0.02, 100.0, 1e4)] {
            // A capacity for which so many clients like this one have that characteristic time.
            let capacity = 1000.0 * (1.0 - (-rate / 6.0 * time).exp());
            let seen = Popularity::uniform(1000, 1000.0 * rate / 6.0);
            let computed = Cache::new(capacity, ttl, 0.0).answers(&seen).hit_rate;
            let counted = counted(place(3, 2, ttl, time), rate, 100_000).1;
            assert!((computed - counted).abs() <= 0.01, "{rate} {ttl} {time}: {counted}");
        }
    }

    #[test]
    fn a_use_is_written_at_most_once_a_minute_per_worker_and_never_more_often_than_it_happens() {
        let written = |instances, workers, rate, requests| {
            counted(place(instances, workers, 1e9, f64::INFINITY), rate, requests).0
        };
        let often = written(1, 1, 10.0, 100_000) * 10.0 * 60.0;
        assert!((often - 1.0).abs() <= 0.02, "{often} per minute");
        let seldom = written(1, 1, 1e-4, 1000);
        assert!((seldom - 1.0).abs() <= 0.01, "{seldom} of the uses");
        let many = written(5, 2, 100.0, 300_000) * 100.0 * 60.0;
        assert!((5.0..=10.0).contains(&many), "{many} per minute");
    }
}
