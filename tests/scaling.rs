//! The model of `docs/scaling.md`: what must hold of it whatever the figures are, and its approximations beside simulations.

#[path = "../benches/scaling/model/mod.rs"]
mod model;

use model::cache::{Cache, characteristic_time};
use model::popularity::Popularity;
use model::simulated;

const SEED: u64 = 7;

fn cache(capacity: f64, ttl: f64) -> Cache {
    Cache {
        capacity,
        ttl,
        changes: 0.0,
    }
}

#[test]
fn the_approximation_of_the_cache_agrees_with_the_cache_itself() {
    for (name, seen) in [
        ("uniform", Popularity::uniform(2000, 50.0)),
        ("Zipf", Popularity::zipf(2000, 50.0)),
    ] {
        for (capacity, ttl) in [
            (200.0, 2.0),
            (200.0, 20.0),
            (200.0, 600.0),
            (1000.0, 10.0),
            (1000.0, 30.0),
            (1000.0, 600.0),
            (1900.0, 600.0),
            (5000.0, 60.0),
        ] {
            let cache = cache(capacity, ttl);
            let computed = cache.answers(&seen).hit_rate;
            let simulated = simulated::hit_rate(&cache, &seen, 150_000, SEED);
            println!(
                "{name} {capacity} {ttl}: {computed:.4} {simulated:.4} T={}",
                characteristic_time(&seen, capacity)
            );
        }
    }
}
#[test]
fn try_it() {
    use model::cluster::*;
    use model::inputs::MEASURED;
    for pop in [
        Popularity::uniform(1_000_000, 16_667.0),
        Popularity::zipf(1_000_000, 16_667.0),
    ] {
        for n in [1, 3, 10, 30, 100] {
            for routing in [Routing::Spread, Routing::ByClient] {
                let c = Cluster {
                    instances: n,
                    workers: 2,
                    popularity: pop.clone(),
                    routing,
                    cache: cache(5000.0, 600.0),
                    shared_cache: None,
                    client_changes: 1.0,
                    spent: 10.0,
                    poll_now: false,
                };
                let l = c.load(&MEASURED);
                println!(
                    "{n} {routing:?} hit {:.3} loads {:.0} uses {:.0} cores: load {:.2} rec {:.2} note {:.2} feed {:.3} chg {:.3} = {:.2}; pool {} / {}",
                    l.hit_rate,
                    l.loads,
                    l.uses,
                    l.loading,
                    l.recording,
                    l.noting,
                    l.following,
                    l.changing,
                    l.cores(),
                    c.least_pool(&MEASURED, 0.0),
                    c.least_pool(&MEASURED, 0.001)
                );
            }
        }
    }
}
