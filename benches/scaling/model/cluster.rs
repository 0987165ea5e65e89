//! All of it together: what a cluster asks of PostgreSQL, part by part.

use super::cache::{Answers, Cache};
use super::connections;
use super::feed::Feed;
use super::inputs::Inputs;
use super::popularity::Popularity;
use super::records::Flushes;
use super::secret_uses::Uses;

/// How requests find their instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// Any request to any instance.
    Spread,
    /// All requests of a client to the same instance.
    ByClient,
}

/// A cluster and its load.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Instances.
    pub instances: u32,
    /// Workers of each.
    pub workers: u32,
    /// Who asks how often.
    pub popularity: Popularity,
    /// How requests find their instance.
    pub routing: Routing,
    /// The client caches.
    pub cache: Cache,
    /// How long a second-level cache, shared by all, keeps a client; `None` where there is none.
    pub shared_cache: Option<f64>,
    /// Changes of clients a second.
    pub client_changes: f64,
    /// Revocations and redemptions a second.
    pub spent: f64,
    /// Whether changes make all poll at once.
    pub poll_now: bool,
}

/// What it asks of PostgreSQL, in cores where nothing else is said.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The share of lookups that the workers' caches answer.
    pub hit_rate: f64,
    /// Clients loaded from the database a second.
    pub loads: f64,
    /// Uses of secrets written a second.
    pub uses: f64,
    /// Flushes.
    pub flushes: Flushes,
    /// For loading clients.
    pub loading: f64,
    /// For token records.
    pub recording: f64,
    /// For the last uses of secrets.
    pub noting: f64,
    /// For the change feeds.
    pub following: f64,
    /// For changes, revocations and redemptions themselves.
    pub changing: f64,
}

impl Load {
    /// All parts.
    pub fn cores(&self) -> f64 {
        self.loading + self.recording + self.noting + self.following + self.changing
    }
}

impl Cluster {
    /// What it asks for.
    pub fn load(&self, inputs: &Inputs) -> Load {
        let tokens = self.popularity.rate();
        let answers = self.answers();
        let loads = self.loads(&answers);
        let uses = self.uses(answers.characteristic_time).written(&self.popularity);
        let flushes = Flushes::of(tokens, f64::from(self.instances), inputs);
        let feed = Feed {
            instances: f64::from(self.instances),
            client_changes: self.client_changes,
            spent: self.spent,
            poll_now: self.poll_now,
        };
        Load {
            hit_rate: answers.hit_rate,
            loads,
            uses,
            flushes,
            loading: loads * inputs.load_micros / 1e6,
            recording: flushes.cores,
            noting: uses * inputs.use_micros / 1e6,
            following: feed.cost(inputs).cores,
            changing: (self.client_changes + self.spent) * inputs.revocation_micros / 1e6,
        }
    }

    /// What the cache of one worker does.
    pub fn answers(&self) -> Answers {
        self.cache.answers(&self.seen_by_a_worker())
    }

    fn seen_by_a_worker(&self) -> Popularity {
        let (instances, workers) = (f64::from(self.instances), f64::from(self.workers));
        match self.routing {
            Routing::Spread => self.popularity.spread_over(instances * workers),
            Routing::ByClient => self.popularity.divided_among(instances).spread_over(workers),
        }
    }

    /// Loads a second that reach the database: those of all workers, or what a shared cache leaves of them. To that cache
    /// they come from so many workers that they are at random.
    fn loads(&self, answers: &Answers) -> f64 {
        let groups = self.popularity.0.iter().zip(&answers.by_group);
        let of_clients = groups.map(|(group, hits)| {
            let misses = group.rate * (1.0 - hits);
            match self.shared_cache {
                Some(ttl) => group.clients * misses / (1.0 + misses * ttl),
                None => group.clients * misses,
            }
        });
        of_clients.sum()
    }

    fn uses(&self, characteristic_time: f64) -> Uses {
        Uses {
            instances: match self.routing {
                Routing::Spread => self.instances as usize,
                Routing::ByClient => 1,
            },
            workers: self.workers as usize,
            ttl: self.cache.ttl,
            characteristic_time,
        }
    }

    /// Connections of one instance that are in use on average, where a statement takes `round_trip` beyond its work.
    pub fn busy_connections(&self, inputs: &Inputs, round_trip: f64) -> f64 {
        let load = self.load(inputs);
        let instances = f64::from(self.instances);
        let loads = load.loads / instances * (inputs.load_seconds + 2.0 * round_trip);
        // These are done by one actor each, which has one call under way.
        let one_at_a_time = |busy: f64| busy.min(1.0);
        let flushes = load.flushes.flushes / instances * (inputs.flush_seconds + round_trip);
        let uses = load.uses / instances / most_uses(inputs, round_trip);
        let polls = (inputs.poll_seconds + round_trip) / inputs.poll_interval;
        let (flushes, uses, polls) = (one_at_a_time(flushes), one_at_a_time(uses), one_at_a_time(polls));
        loads + flushes + uses + polls
    }

    /// The least pool in which no more than one call in a hundred waits.
    pub fn least_pool(&self, inputs: &Inputs, round_trip: f64) -> u32 {
        connections::least(self.busy_connections(inputs, round_trip), 0.01)
    }
}

/// The last uses of secrets that one instance can write a second: update after update, each a round trip.
pub fn most_uses(inputs: &Inputs, round_trip: f64) -> f64 {
    1.0 / (inputs.use_seconds + round_trip)
}

/// Tokens a second on one machine of so many cores that holds server, PostgreSQL and a load generator, where no client is
/// cached: what `docs/benchmarks.md` measured, computed from the parts.
pub fn uncached_on_one_machine(cores: f64, generator_micros: f64, inputs: &Inputs) -> f64 {
    let server = inputs.token_micros_hs256 + inputs.miss_micros;
    let database = inputs.load_micros + inputs.row_micros;
    cores * 1e6 / (server + database + generator_micros)
}
