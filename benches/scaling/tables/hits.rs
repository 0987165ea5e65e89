//! The share of lookups that the client caches answer.

use super::{CLIENTS, INSTANCES, TTL, cluster, popularities, setting};
use crate::model::cache::Cache;
use crate::model::cluster::Routing;
use crate::model::inputs::MEASURED;
use crate::model::popularity::Popularity;
use crate::model::simulated;
use crate::report::table::{Table, percent, whole};
use crate::report::{Report, plot};

/// Where the lifetime is varied: enough that it is what decides.
const LARGE: f64 = 100_000.0;

pub fn write(report: &Report) {
    check(report);
    capacities(report);
    lifetimes(report);
}

/// The approximation beside the cache of the server.
fn check(report: &Report) {
    const FEW: u64 = 5000;
    const RATE: f64 = 100.0;
    const LOOKUPS: usize = 300_000;
    let mut table = Table::new(&["", "capacity", "ttl", "computed", "the cache itself"]);
    for (name, seen) in [
        ("uniform", Popularity::uniform(FEW, RATE)),
        ("Zipf", Popularity::zipf(FEW, RATE)),
    ] {
        for (capacity, ttl) in [
            (500.0, 5.0),
            (500.0, 600.0),
            (2500.0, 20.0),
            (2500.0, 60.0),
            (5000.0, 60.0),
        ] {
            let cache = Cache {
                capacity,
                ttl,
                changes: 0.0,
            };
            table.row(vec![
                name.to_owned(),
                whole(capacity),
                setting(ttl),
                percent(cache.answers(&seen).hit_rate),
                percent(simulated::hit_rate(&cache, &seen, LOOKUPS, 1)),
            ]);
        }
    }
    let text = format!(
        "{} clients, {RATE} lookups a second in one worker, {} of them, after half as many that fill the cache.\n\n{table}",
        whole(FEW as f64),
        whole(LOOKUPS as f64)
    );
    report.section("check", &text);
}

/// How requests reach the workers whose caches are looked at.
fn ways() -> Vec<(String, u32, Routing)> {
    let spread = [1, 10, INSTANCES].map(|instances| (format!("{instances}, spread"), instances, Routing::Spread));
    let by_client = (format!("{INSTANCES}, by client"), INSTANCES, Routing::ByClient);
    spread.into_iter().chain([by_client]).collect()
}

/// The hit rates of all ways, for settings of the cache.
fn rates(change: impl Fn(&mut Cache)) -> Vec<(String, f64)> {
    let mut rates = Vec::new();
    for (name, popularity) in popularities() {
        for (way, instances, routing) in ways() {
            let mut cluster = cluster(instances, &popularity);
            cluster.routing = routing;
            change(&mut cluster.cache);
            rates.push((format!("{name}, {way}"), cluster.answers().hit_rate));
        }
    }
    rates
}

fn capacities(report: &Report) {
    let capacities = [1000.0, 5000.0, 20_000.0, 50_000.0, LARGE, 300_000.0, CLIENTS as f64];
    let rows = capacities.map(|capacity| (capacity, rates(|cache| cache.capacity = capacity)));
    let mut table = header("cache.capacity", &rows, &["memory of a worker's cache"]);
    for (capacity, rates) in &rows {
        let mut cells = vec![whole(*capacity)];
        cells.extend(rates.iter().map(|(_, rate)| percent(*rate)));
        cells.push(format!(
            "{} MB",
            whole((capacity * MEASURED.client_memory / 1e6).ceil())
        ));
        table.row(cells);
    }
    let title = "Hit rate of the workers' caches over cache.capacity";
    let svg = plot::over(title, ("cache.capacity", whole), ("hit rate", percent), lines(&rows));
    let text = format!(
        "`cache.ttl` {}; the columns are instances.\n\n{table}{}",
        setting(TTL),
        report.plot("scaling-hit-rate-capacity", title, &svg)
    );
    report.section("hit-rate-capacity", &text);
}

fn lifetimes(report: &Report) {
    let lifetimes = [10.0, 60.0, 300.0, 600.0, 3600.0, 21_600.0, 86_400.0];
    let rows = lifetimes.map(|ttl| {
        let rates = rates(|cache| (cache.ttl, cache.capacity) = (ttl, LARGE));
        (ttl, rates)
    });
    let mut table = header("cache.ttl", &rows, &[]);
    for (ttl, rates) in &rows {
        let mut cells = vec![setting(*ttl)];
        cells.extend(rates.iter().map(|(_, rate)| percent(*rate)));
        table.row(cells);
    }
    let title = "Hit rate of the workers' caches over cache.ttl";
    let svg = plot::over(title, ("cache.ttl", setting), ("hit rate", percent), lines(&rows));
    let text = format!(
        "`cache.capacity` {}.\n\n{table}{}",
        whole(LARGE),
        report.plot("scaling-hit-rate-ttl", title, &svg)
    );
    report.section("hit-rate-ttl", &text);
}

type Row = (f64, Vec<(String, f64)>);

fn header(setting: &str, rows: &[Row], more: &[&str]) -> Table {
    let mut header = vec![setting];
    header.extend(rows[0].1.iter().map(|(name, _)| name.as_str()));
    header.extend(more);
    Table::new(&header)
}

fn lines(rows: &[Row]) -> Vec<(String, Vec<(f64, f64)>)> {
    let line = |number: usize| {
        let points = rows.iter().map(|(setting, rates)| (*setting, rates[number].1));
        (rows[0].1[number].0.clone(), points.collect())
    };
    (0..rows[0].1.len()).map(line).collect()
}
