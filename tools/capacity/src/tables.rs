//! The tables of `docs/scaling.md`.

use crate::cache::Cache;
use crate::cluster::Cluster;
use crate::feed;
use crate::format::{bytes, figure, percent, table, whole};
use crate::inputs::*;
use crate::popularity::Popularity;
use crate::records::retention;

/// The name of a section and the function that computes it.
type Section = (&'static str, fn() -> String);

/// In the order in which they are printed.
pub const SECTIONS: [Section; 8] = [
    ("sqlite", sqlite),
    ("records", records),
    ("instances", instances),
    ("postgres", postgres),
    ("redis", redis),
    ("cache", cache),
    ("revocations", revocations),
    ("inputs", inputs),
];

/// Clients in use.
const CLIENTS: u64 = 1_000_000;
const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// Each client requests one token per minute.
const TOKENS: f64 = CLIENTS as f64 / 60.0;
/// Workers of an instance, and its cores.
const WORKERS: u32 = 2;
/// Cores of the PostgreSQL whose throughput is computed.
const POSTGRES_CORES: f64 = 4.0;
/// Maximum utilization of a core, of servers and of PostgreSQL.
const BUSY: f64 = 0.6;

/// Changes of clients per second in the comparison of polls.
const CHANGES: f64 = 10.0;

type Change = fn(&mut Cluster);
type Rates = fn(f64) -> Popularity;

/// Choices of an operator.
const DEFAULTS: Change = |_| {};
const ROUTED: Change = |cluster| (cluster.by_client, cluster.cache.capacity) = (true, 20_000.0);
const REDIS: Change = |cluster| cluster.shared_cache = Some(cluster.cache.ttl);

/// How often clients request tokens, for a total rate.
const ZIPF: Rates = |tokens| Popularity::zipf(CLIENTS, tokens);
const UNIFORM: Rates = |tokens| Popularity::uniform(CLIENTS, tokens);

/// The default configuration; per second, one client is changed and ten tokens are revoked or
/// redeemed.
fn cluster(instances: u32, popularity: Popularity, change: Change) -> Cluster {
    let mut cluster = Cluster {
        instances,
        workers: WORKERS,
        popularity,
        by_client: false,
        cache: Cache::new(5000.0, 600.0, 1.0 / CLIENTS as f64),
        shared_cache: None,
        client_changes: 1.0,
        invalidated: 10.0,
    };
    change(&mut cluster);
    cluster
}

fn sqlite() -> String {
    let header = "tokens per second | server cores, all clients cached | none cached | the writer is busy | disk";
    let rows = [100.0, 1000.0, 10_000.0].map(|tokens| {
        vec![
            whole(tokens),
            figure(tokens * TOKEN_MICROS / 1e6),
            figure(tokens * (TOKEN_MICROS + MISS_MICROS) / 1e6),
            percent(tokens * sqlite_row_micros() / 1e6),
            bytes(tokens * (HOUR + DAY) * ROW_BYTES_SQLITE),
        ]
    });
    table(header, rows)
}

fn records() -> String {
    let row = |what: &str, size: f64, log: f64| vec![what.to_owned(), bytes(size * 1e6), bytes(log * 1e6)];
    let million = [
        row("token records, SQLite", ROW_BYTES_SQLITE, 0.0),
        row("token records, PostgreSQL, 1 instance", ROW_BYTES_ALONE, ROW_WAL_BYTES),
        row("token records, PostgreSQL, 100 instances", ROW_BYTES, ROW_WAL_BYTES),
        row("revocations, PostgreSQL", REVOCATION_BYTES, REVOCATION_WAL_BYTES),
    ];
    let rates = [100.0, 1000.0, TOKENS].map(|tokens| {
        let (average, longest) = retention(HOUR, DAY);
        let disk = |time: f64| bytes(tokens * time * ROW_BYTES);
        vec![
            whole(tokens),
            format!("{} million", figure(tokens * DAY / 1e6)),
            bytes(tokens * DAY * ROW_WAL_BYTES),
            disk(average),
            disk(longest),
            disk(retention(HOUR, 6.0 * HOUR).0),
        ]
    });
    let million = table("one million | disk | write-ahead log", million);
    let header = "tokens per second | rows per day | write-ahead log per day | disk, on average | at most | with `keep_expired` 6h";
    format!("{million}\n{}", table(header, rates))
}

/// The token rate at which the cluster uses PostgreSQL up to the utilization `BUSY`.
fn postgres_limit(instances: u32, rates: Rates, change: Change) -> f64 {
    let mut tokens = TOKENS;
    // The cost of a token changes slowly with the rate, so this converges.
    for _ in 0..8 {
        tokens *= BUSY * POSTGRES_CORES / cluster(instances, rates(tokens), change).load().cores();
    }
    tokens
}

fn instances() -> String {
    let header = "instances | servers, all clients cached | none cached | PostgreSQL, Zipf | Zipf, routed by client \
                  | Zipf, Redis | PostgreSQL, uniform";
    let rows = [1, 3, 10, 30, 100].map(|instances| {
        let servers = |micros: f64| whole(f64::from(instances * WORKERS) * BUSY * 1e6 / micros);
        let limit = |rates, change| whole(postgres_limit(instances, rates, change));
        vec![
            instances.to_string(),
            servers(TOKEN_MICROS),
            servers(TOKEN_MICROS + MISS_MICROS),
            limit(ZIPF, DEFAULTS),
            limit(ZIPF, ROUTED),
            limit(ZIPF, REDIS),
            limit(UNIFORM, DEFAULTS),
        ]
    });
    table(header, rows)
}

fn postgres() -> String {
    let header = "100 instances | hit rate | loads per second | last uses per second | cores for loads \
                  | token records | last uses | changes and feeds | PostgreSQL cores";
    let rows = [
        ("Zipf", ZIPF, DEFAULTS),
        ("Zipf, routed by client", ZIPF, ROUTED),
        ("Zipf, Redis", ZIPF, REDIS),
        ("uniform", UNIFORM, DEFAULTS),
        ("uniform, routed by client", UNIFORM, ROUTED),
        ("uniform, Redis", UNIFORM, REDIS),
    ];
    let rows = rows.map(|(name, rates, change)| {
        let cluster = cluster(100, rates(TOKENS), change);
        let (hit_rate, load) = (cluster.hit_rates().hit_rate, cluster.load());
        let mut row = vec![
            name.to_owned(),
            percent(hit_rate),
            whole(load.loads),
            whole(load.last_uses),
        ];
        row.extend(load.parts.iter().copied().chain([load.cores()]).map(figure));
        row
    });
    table(header, rows)
}

fn redis() -> String {
    let header = "instances | loads per second, Zipf | with Redis | uniform | with Redis \
                  | PostgreSQL cores for polls | with Redis | Redis cores";
    let rows = [1, 10, 100].map(|instances| {
        let loads = |rates: Rates, change| whole(cluster(instances, rates(TOKENS), change).loads());
        let polls = |redis| feed::cost(instances, CHANGES, 0.0, redis).1;
        let redis_cores = CHANGES * f64::from(instances) * MESSAGE_MICROS / 1e6;
        let mut row = vec![instances.to_string(), loads(ZIPF, DEFAULTS), loads(ZIPF, REDIS)];
        row.extend([loads(UNIFORM, DEFAULTS), loads(UNIFORM, REDIS)]);
        row.extend([polls(false), polls(true), redis_cores].map(figure));
        row
    });
    table(header, rows)
}

fn cache() -> String {
    let header = "`cache.capacity` | `cache.ttl`, minutes | memory of a worker | Zipf, 1 instance | 10 | 100 \
                  | 100, by client | uniform, 1 instance | 10 | 100 | 100, by client";
    let rows = [
        (5e3, 10.0),
        (2e4, 10.0),
        (1e5, 10.0),
        (1e6, 10.0),
        (1e5, 1.0),
        (1e5, 60.0),
    ];
    let rows = rows.map(|(capacity, minutes)| {
        let mut row = vec![whole(capacity), whole(minutes), bytes(capacity * client_memory())];
        for rates in [ZIPF, UNIFORM] {
            for (instances, by_client) in [(1, false), (10, false), (100, false), (100, true)] {
                let mut cluster = cluster(instances, rates(TOKENS), DEFAULTS);
                (cluster.cache.capacity, cluster.cache.ttl) = (capacity, minutes * 60.0);
                cluster.by_client = by_client;
                row.push(percent(cluster.hit_rates().hit_rate));
            }
        }
        row
    });
    table(header, rows)
}

fn revocations() -> String {
    let limits = [0.0, 0.5, 1.0, 2.0].map(|round_trip| {
        let maximum = 1.0 / (1.0 / REVOCATIONS_IN_TURN + 2.0 * round_trip / 1e3);
        vec![format!("{round_trip} ms"), whole(maximum)]
    });
    table(
        "round trip to PostgreSQL | maximum revocations per second, all instances",
        limits,
    )
}

fn inputs() -> String {
    let row = |input: Input| {
        vec![
            input.what.into(),
            format!("{} {}", input.value, input.unit),
            input.source.into(),
        ]
    };
    table("what | value | source", all().into_iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::SECTIONS;

    /// The tables of a text, each as a list of its lines.
    fn tables(text: &str) -> Vec<Vec<&str>> {
        let blocks = text
            .split("\n\n")
            .map(|block| block.lines().filter(|line| line.starts_with('|')).collect());
        blocks.filter(|table: &Vec<&str>| !table.is_empty()).collect()
    }

    #[test]
    fn the_tables_in_the_document_equal_the_computed_ones() {
        let document = tables(include_str!("../../../docs/scaling.md"));
        let mut found = 0;
        for (name, print) in SECTIONS {
            let printed = print();
            for table in tables(&printed) {
                for quoted in document.iter().filter(|quoted| quoted[0] == table[0]) {
                    assert_eq!(*quoted, table, "run `cargo run --release -p capacity -- {name}`");
                    found += 1;
                }
            }
        }
        assert!(found >= 6, "docs/scaling.md has {found} of the computed tables");
    }
}
