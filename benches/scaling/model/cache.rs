//! The client cache of one worker: the share of lookups that it answers.
//!
//! It keeps the `capacity` clients asked for last. By Che's approximation that is: every client asked for within a time
//! that is the same for all, the characteristic time, which is such that as many clients as fit are expected in it. An entry
//! counts for `ttl` after it was loaded, whether it is asked for or not, and until it is invalidated.

use super::popularity::{Group, Popularity};

/// The settings of `[cache]` that the hit rate depends on, and the changes of clients.
#[derive(Clone, Copy, Debug)]
pub struct Cache {
    /// `cache.capacity`
    pub capacity: f64,
    /// `cache.ttl`
    pub ttl: f64,
    /// How often each client is changed, and so invalidated.
    pub changes: f64,
}

/// What a cache does for its clients.
#[derive(Clone, Debug)]
pub struct Answers {
    /// The share of all lookups that are hits.
    pub hit_rate: f64,
    /// Of each group.
    pub by_group: Vec<f64>,
    /// Loads a second.
    pub loads: f64,
    /// A client that was not asked for within this time has made room for others; infinite if all have room.
    pub characteristic_time: f64,
}

impl Cache {
    /// For a worker that sees these requests.
    pub fn answers(&self, seen: &Popularity) -> Answers {
        let time = characteristic_time(seen, self.capacity);
        let by_group: Vec<f64> = seen.0.iter().map(|group| self.hit_rate(group, time)).collect();
        let missed = seen.0.iter().zip(&by_group);
        let loads: f64 = missed
            .map(|(group, hits)| group.clients * group.rate * (1.0 - hits))
            .sum();
        Answers {
            hit_rate: 1.0 - loads / seen.rate(),
            by_group,
            loads,
            characteristic_time: time,
        }
    }

    /// Each load is followed by so many hits; a lookup is one or the other.
    fn hit_rate(&self, group: &Group, characteristic_time: f64) -> f64 {
        let hits = group.rate * self.life(group.rate, characteristic_time);
        hits / (1.0 + hits)
    }

    /// How long an entry is expected to answer: until its ttl is over, it is invalidated, or it was not asked for within the
    /// characteristic time.
    fn life(&self, rate: f64, characteristic_time: f64) -> f64 {
        let asked = rate * characteristic_time;
        if characteristic_time >= self.ttl || asked > 40.0 {
            return discounted(self.ttl, self.changes);
        }
        self.life_while_asked_for(asked, characteristic_time)
    }

    /// The integral of the chance that the entry is still there, over its age in units of the characteristic time.
    ///
    /// Let s(u) be the chance that up to age u no gap between two requests was as long as one unit. It falls at u when the last
    /// request was at u − 1 and none came since: s' = −a·exp(−a)·s(u − 1), where a requests are expected in a unit; and at
    /// u = 1 by exp(−a) at once, because the load itself was a request.
    fn life_while_asked_for(&self, asked: f64, unit: f64) -> f64 {
        const STEPS: usize = 64;
        /// Beyond, s falls by the same factor in each unit.
        const UNITS: usize = 12;
        let end = self.ttl / unit;
        let step = 1.0 / STEPS as f64;
        let falls = asked * (-asked).exp();
        let changes = self.changes * unit;
        let mut alive = vec![1.0; STEPS + 1];
        let mut life = discounted(1.0, changes);
        // From here on at the next age: what is there just after the fall at u = 1.
        let mut now = 1.0 - (-asked).exp();
        alive[STEPS] = now;
        let mut age = 1.0;
        while age < end && alive.len() <= UNITS * STEPS {
            let at = alive.len() - 1;
            // Of the first unit, s is 1 up to its very end.
            let before = |place: usize| {
                if place == STEPS && at + 1 == 2 * STEPS {
                    1.0
                } else {
                    alive[place]
                }
            };
            let part = step.min(end - age);
            let (left, right) = (alive[at - STEPS], before(at + 1 - STEPS));
            let next = (now - falls * (left + right) / 2.0 * part).max(0.0);
            let weight = (-changes * (age + part / 2.0)).exp();
            life += (now + next) / 2.0 * part * weight;
            now = next;
            age += part;
            alive.push(now);
        }
        if age < end && now > 0.0 {
            let last_unit = alive[alive.len() - 1 - STEPS];
            let decay = -(now / last_unit).ln() + changes;
            life += now * (-changes * age).exp() * discounted(end - age, decay);
        }
        life * unit
    }
}

/// The integral of exp(−rate·t) from 0 to `time`.
fn discounted(time: f64, rate: f64) -> f64 {
    if rate * time < 1e-9 {
        return time;
    }
    (1.0 - (-rate * time).exp()) / rate
}

/// Che's: the time within which `capacity` different clients are expected to ask.
pub fn characteristic_time(seen: &Popularity, capacity: f64) -> f64 {
    if capacity >= seen.clients() {
        return f64::INFINITY;
    }
    let asking = |time: f64| -> f64 {
        let asked = seen
            .0
            .iter()
            .map(|group| group.clients * -(-group.rate * time).exp_m1());
        asked.sum()
    };
    let (mut low, mut high) = (0.0, 1.0);
    while asking(high) < capacity {
        high *= 2.0;
    }
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        match asking(middle) < capacity {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}
