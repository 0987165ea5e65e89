//! The tables and plots: what the model says of the clusters that the document speaks of.

mod connections;
mod database;
mod feed;
mod hits;
mod inputs;
mod records;

use crate::model::cache::Cache;
use crate::model::cluster::{Cluster, Routing};
use crate::model::popularity::Popularity;
use crate::report::Report;

/// Registered clients that are in use.
const CLIENTS: u64 = 1_000_000;

/// Token requests a second where nothing else is said: each client one a minute.
const TOKENS: f64 = CLIENTS as f64 / 60.0;

/// Instances of the large cluster.
const INSTANCES: u32 = 100;

/// Where the number of instances is varied.
const STEPS: [u32; 5] = [1, 3, 10, 30, 100];

/// Of each instance.
const WORKERS: u32 = 2;

/// `cache.ttl`
const TTL: f64 = 600.0;

/// `cache.capacity`
const CAPACITY: f64 = 5000.0;

/// Writes all of them.
pub fn write(report: &Report) {
    inputs::write(report);
    hits::write(report);
    database::write(report);
    feed::write(report);
    records::write(report);
    connections::write(report);
}

/// The two ways in which clients ask.
fn popularities() -> [(&'static str, Popularity); 2] {
    [
        ("Zipf", Popularity::zipf(CLIENTS, TOKENS)),
        ("uniform", Popularity::uniform(CLIENTS, TOKENS)),
    ]
}

/// A cluster with the defaults and a little to change: one client and ten tokens a second.
fn cluster(instances: u32, popularity: &Popularity) -> Cluster {
    Cluster {
        instances,
        workers: WORKERS,
        popularity: popularity.clone(),
        routing: Routing::Spread,
        cache: Cache {
            capacity: CAPACITY,
            ttl: TTL,
            changes: 1.0 / CLIENTS as f64,
        },
        shared_cache: None,
        client_changes: 1.0,
        spent: 10.0,
        poll_now: false,
    }
}

/// A time as a setting is written.
fn setting(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.0}s"),
        s if s < 3600.0 => format!("{:.0}m", s / 60.0),
        s if s <= 86_400.0 => format!("{:.0}h", s / 3600.0),
        s => format!("{:.0}d", s / 86_400.0),
    }
}
