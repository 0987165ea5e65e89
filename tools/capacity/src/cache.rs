//! The client cache of one worker: its hit rate.
//!
//! The cache keeps the `capacity` most recently used clients. By Che's approximation, these are all
//! clients requested within the characteristic time: the time in which `capacity` distinct clients
//! are expected. An entry is valid for `ttl` after it was loaded, however often it is requested,
//! and until it is invalidated.

use crate::popularity::{Group, Popularity};

/// The settings of `[cache]` that decide the hit rate, and how often clients change.
pub struct Cache {
    pub capacity: f64,
    pub ttl: f64,
    /// Changes of each client per second; each invalidates an entry.
    changes: f64,
}

/// The computed behavior of a cache.
pub struct HitRates {
    /// The share of all lookups that are hits.
    pub hit_rate: f64,
    /// The same for each group of clients.
    pub by_group: Vec<f64>,
    /// Infinite if the cache has a place for every client.
    pub characteristic_time: f64,
}

impl Cache {
    pub fn new(capacity: f64, ttl: f64, changes: f64) -> Self {
        Self { capacity, ttl, changes }
    }

    /// The hit rates of a worker that receives these requests.
    pub fn hit_rates(&self, seen: &Popularity) -> HitRates {
        let time = characteristic_time(seen, self.capacity);
        let by_group: Vec<f64> = seen.0.iter().map(|group| self.hit_rate(group.rate, time)).collect();
        let misses = |(group, hits): (&Group, &f64)| group.clients * group.rate * (1.0 - hits);
        let hit_rate = 1.0 - seen.0.iter().zip(&by_group).map(misses).sum::<f64>() / seen.rate();
        HitRates {
            hit_rate,
            by_group,
            characteristic_time: time,
        }
    }

    /// Each load is followed by `hits` hits, and every lookup is either a load or a hit.
    fn hit_rate(&self, rate: f64, characteristic_time: f64) -> f64 {
        let requests = rate * characteristic_time;
        let life = match characteristic_time >= self.ttl || requests > 40.0 {
            true => discounted(self.ttl, self.changes),
            false => self.life_in_use(requests, characteristic_time),
        };
        let hits = rate * life;
        hits / (1.0 + hits)
    }

    /// The expected life of an entry that may also be evicted: the integral of the probability s(u)
    /// that no gap between two requests lasted one unit (the characteristic time) up to age u.
    ///
    /// s decreases at u if the last request was at u − 1 and none came since:
    /// s' = −a·exp(−a)·s(u − 1) with a requests expected per unit. At u = 1 it drops by exp(−a),
    /// because the load itself was a request.
    fn life_in_use(&self, requests: f64, unit: f64) -> f64 {
        const STEPS: usize = 64;
        /// Beyond these, s decreases by the same factor in each unit.
        const UNITS: usize = 12;
        let (end, step, changes) = (self.ttl / unit, 1.0 / STEPS as f64, self.changes * unit);
        let fall = requests * (-requests).exp();
        let mut alive = vec![1.0; STEPS];
        let mut life = discounted(1.0, changes);
        let (mut age, mut now) = (1.0, 1.0 - (-requests).exp());
        alive.push(now);
        while age < end && alive.len() <= UNITS * STEPS {
            let before = alive.len() - STEPS;
            // Until the end of the first unit, s is 1.
            let right = if before == STEPS { 1.0 } else { alive[before] };
            let part = step.min(end - age);
            let next = f64::max(now - fall * (alive[before - 1] + right) / 2.0 * part, 0.0);
            life += (now + next) / 2.0 * part * (-changes * (age + part / 2.0)).exp();
            (now, age) = (next, age + part);
            alive.push(now);
        }
        if age < end && now > 0.0 {
            let decay = changes - (now / alive[alive.len() - 1 - STEPS]).ln();
            life += now * (-changes * age).exp() * discounted(end - age, decay);
        }
        life * unit
    }
}

/// The integral of exp(−rate·t) from 0 to `time`.
fn discounted(time: f64, rate: f64) -> f64 {
    if rate * time < 1e-9 {
        time
    } else {
        -(-rate * time).exp_m1() / rate
    }
}

/// The time in which `capacity` distinct clients are expected.
fn characteristic_time(seen: &Popularity, capacity: f64) -> f64 {
    if capacity >= seen.clients() {
        return f64::INFINITY;
    }
    let expected = |time: f64| -> f64 {
        let of = |group: &Group| group.clients * -(-group.rate * time).exp_m1();
        seen.0.iter().map(of).sum()
    };
    let (mut low, mut high) = (0.0, 1.0);
    while expected(high) < capacity {
        high *= 2.0;
    }
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        match expected(middle) < capacity {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::{Cache, characteristic_time};
    use crate::popularity::{Group, Popularity};
    use crate::simulated;

    fn both(clients: u64, rate: f64) -> [Popularity; 2] {
        [Popularity::uniform(clients, rate), Popularity::zipf(clients, rate)]
    }

    fn hit_rate(capacity: f64, ttl: f64, changes: f64, seen: &Popularity) -> f64 {
        Cache::new(capacity, ttl, changes).hit_rates(seen).hit_rate
    }

    fn close(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance, "{a} and {b}");
    }

    #[test]
    fn the_approximation_agrees_with_the_servers_cache() {
        for (seed, seen) in (1..).zip(both(2000, 50.0)) {
            for (capacity, ttl) in [200.0, 1e3, 1900.0, 5e3]
                .map(|capacity| [2.0, 30.0, 600.0].map(|ttl| (capacity, ttl)))
                .as_flattened()
            {
                let simulated = simulated::hit_rate(*capacity, *ttl, &seen, 120_000, seed);
                close(hit_rate(*capacity, *ttl, 0.0, &seen), simulated, 0.006);
            }
        }
    }

    #[test]
    fn the_hit_rate_is_zero_without_capacity_or_ttl_and_nearly_one_with_enough_of_both() {
        for seen in both(10_000, 100.0) {
            assert_eq!(hit_rate(0.0, 600.0, 0.0, &seen), 0.0);
            assert!(hit_rate(2e4, 1e-6, 0.0, &seen) < 1e-4);
            assert!(hit_rate(2e4, 1e12, 0.0, &seen) > 0.999_999);
        }
    }

    #[test]
    fn a_longer_ttl_or_more_capacity_never_lowers_the_hit_rate_and_more_changes_always_do() {
        for seen in both(10_000, 100.0) {
            let by_ttl = (0..60).map(|step| hit_rate(1000.0, 0.1 * 1.25f64.powi(step), 0.0, &seen));
            assert!(by_ttl.clone().is_sorted_by(|a, b| *b >= a - 1e-9) && by_ttl.max_by(f64::total_cmp) < Some(1.0));
            let by_capacity = (1..=60).map(|step| hit_rate(200.0 * f64::from(step), 120.0, 0.0, &seen));
            assert!(by_capacity.is_sorted_by(|a, b| *b >= a - 1e-9));
            let by_changes = [0.0, 1e-4, 1e-3, 1e-2, 1.0].map(|changes| hit_rate(1000.0, 600.0, changes, &seen));
            assert!(by_changes[0] < 1.0 && by_changes.is_sorted_by(|a, b| b < a));
        }
    }

    #[test]
    fn with_capacity_for_all_clients_the_hit_rate_depends_on_the_ttl_alone() {
        let seen = Popularity::uniform(1000, 10.0);
        for ttl in [1.0, 100.0, 10_000.0] {
            let hits = 0.01 * ttl;
            close(hit_rate(1000.0, ttl, 0.0, &seen), hits / (1.0 + hits), 1e-12);
        }
    }

    #[test]
    fn with_capacity_for_all_clients_changes_shorten_the_life_of_an_entry() {
        let life = (1.0 - f64::exp(-1.0)) / 0.002;
        let computed = hit_rate(1000.0, 500.0, 0.002, &Popularity::uniform(1000, 10.0));
        close(computed, 0.01 * life / (1.0 + 0.01 * life), 1e-9);
    }

    #[test]
    fn with_an_unlimited_ttl_an_entry_is_evicted_after_a_long_gap_between_requests() {
        for capacity in [100.0, 500.0, 900.0] {
            let seen = Popularity::uniform(1000, 10.0);
            let no_gap = 1.0 - (-0.01 * characteristic_time(&seen, capacity)).exp();
            close(hit_rate(capacity, 1e9, 0.0, &seen), no_gap, 1e-4);
        }
    }

    #[test]
    fn dividing_the_load_keeps_all_requests_and_clients() {
        for seen in both(1_000_000, 16_667.0) {
            close(seen.clients(), 1e6, 1e-3);
            for parts in [seen.seen(200.0, 1.0), seen.seen(1.0, 200.0)] {
                close(parts.rate() * 200.0, seen.rate(), 1e-6);
            }
            close(seen.rate(), 16_667.0, 1e-6);
            let time = characteristic_time(&seen, 5000.0);
            let kept = |group: &Group| group.clients * (1.0 - (-group.rate * time).exp());
            close(seen.0.iter().map(kept).sum(), 5000.0, 0.01);
        }
    }
}
