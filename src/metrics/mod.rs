//! Metrics. Each is declared once, here. Each worker has its own cells (`cells.rs`).
//!
//! A worker increments cells that no other thread writes, so the warm path takes no lock and shares
//! no cache line. A scrape sums the cells of all workers. `http/metrics.rs` adds the values that
//! other parts count themselves (caches, writer, pool). A metrics library would therefore
//! contribute only the text format, which is `text.rs`.
//!
//! No label value comes from a request: a route is labelled by its pattern, a method by one of a
//! few names or `other`, an error by its registered code. So no caller can create series.

mod cells;
mod connections;
mod counter;
mod histogram;
mod text;

use std::sync::{Arc, Mutex};

use crate::mutex::lock;
use crate::oauth::alg::Alg;
use crate::oauth::denial::Denial;
use crate::oauth::error::CODES;
use crate::oauth::metadata::{INTROSPECTION_PATH, REVOCATION_PATH, TOKEN_PATH};
use cells::{Cells, KINDS, METHODS, RouteCells, STATUSES};

pub use cells::{MAX_ROUTES, RouteLabel, WorkerMetrics};
pub use connections::{ConnectionCounts, Ending};
pub use histogram::{BOUNDS, HistogramCounts};
pub use text::{CONTENT_TYPE, Metric, Sample, Text, read};

const fn counter(name: &'static str, help: &'static str) -> Metric {
    let kind = "counter";
    Metric { name, help, kind }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    let kind = "gauge";
    Metric { name, help, kind }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    let kind = "histogram";
    Metric { name, help, kind }
}

macro_rules! declare {
    ($($constant:ident = $kind:ident $name:literal $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: Metric = $kind($name, $help);)*
    };
}

declare! {
    BUILD_INFO = gauge "mintage_build_info" "Always 1; the label is the running version.";
    READY = gauge "mintage_ready" "1 while /readyz returns 200, otherwise 0.";

    HTTP_REQUESTS = counter "mintage_http_requests_total"
        "Responses, by route pattern, method and status.";
    HTTP_REQUEST_DURATION = histogram "mintage_http_request_duration_seconds"
        "Time from the request head to the response, by route pattern.";
    TOKENS_ISSUED = counter "mintage_tokens_issued_total"
        "Access tokens issued, by algorithm and kind (bearer or one_time).";
    TOKEN_ERRORS = counter "mintage_token_errors_total" "Errors of /token, by OAuth error code.";
    DENIED = counter "mintage_denials_total"
        "Denied credentials and denied gateway requests, by the reason in the log.";

    CONNECTIONS = gauge "mintage_connections"
        "Open connections of clients: idle (waiting for a request) and active.";
    CONNECTIONS_MAX = gauge "mintage_connections_max"
        "The most connections that may be open; then the one idle for longest is closed.";
    CONNECTIONS_HELD = gauge "mintage_connections_held_bytes"
        "Memory that connections need beyond their first buffers, for large heads, bodies and responses.";
    CONNECTIONS_CLOSED = counter "mintage_connections_closed_total"
        "Connections that the server closed because of their peer or for others, by reason.";
    CONNECTIONS_REJECTED = counter "mintage_connections_rejected_total"
        "Connections closed when they were accepted; reason address: it had its share.";

    PASSWORD_HASH_VERIFICATIONS = counter "mintage_password_hash_verifications_total"
        "Secrets verified against a password hash.";
    PASSWORD_HASH_UPGRADES = counter "mintage_password_hash_upgrades_total"
        "Password hashes replaced by a digest on first use.";
    PASSWORD_HASH_REJECTIONS = counter "mintage_password_hash_rejections_total"
        "Requests answered 503 because too many verifications waited.";
    PASSWORD_HASH_IN_PROGRESS = gauge "mintage_password_hash_in_progress"
        "Verifications of password hashes, running and waiting.";

    CACHE_HITS = counter "mintage_client_cache_hits_total" "Client lookups answered from memory.";
    CACHE_MISSES = counter "mintage_client_cache_misses_total" "Client lookups not answered from memory.";
    CACHE_STALE_SERVED = counter "mintage_client_cache_stale_served_total"
        "Misses answered with an expired entry because the database did not answer.";
    CACHE_NEGATIVE_HITS = counter "mintage_client_cache_negative_hits_total" "Hits that answered \"no such client\".";
    CACHE_LOADS = counter "mintage_client_cache_loads_total" "Database reads started.";
    CACHE_LOAD_FAILURES = counter "mintage_client_cache_load_failures_total"
        "Database reads without an answer.";
    CACHE_EVICTIONS = counter "mintage_client_cache_evictions_total" "Entries evicted for others.";
    CACHE_EXPIRATIONS = counter "mintage_client_cache_expirations_total" "Lookups of an expired entry.";
    CACHE_INVALIDATIONS = counter "mintage_client_cache_invalidations_total"
        "Invalidations of one client or of all, per worker.";
    CACHE_ENTRIES = gauge "mintage_client_cache_entries" "Clients in memory, over all workers.";
    CACHE_NEGATIVE_ENTRIES = gauge "mintage_client_cache_negative_entries"
        "Unknown ids in memory, over all workers.";
    CACHE_CAPACITY = gauge "mintage_client_cache_capacity" "Maximum of clients in memory, over all workers.";

    WRITER_PENDING = gauge "mintage_writer_pending" "Token records accepted but not written yet.";
    WRITER_MAX_PENDING = gauge "mintage_writer_max_pending" "Maximum of pending records; when reached, /token answers 503.";
    WRITER_OLDEST_UNFLUSHED = gauge "mintage_writer_oldest_unflushed_seconds"
        "Age of the oldest pending record: what a crash would lose.";
    WRITER_FLUSHED = counter "mintage_writer_flushed_total" "Token records written.";
    WRITER_BATCHES = counter "mintage_writer_batches_total" "Batches written.";
    WRITER_FLUSH_FAILURES = counter "mintage_writer_flush_failures_total" "Failed flushes, each attempt counted.";
    WRITER_REJECTED = counter "mintage_writer_rejected_total" "Token records rejected because the queue was full.";
    WRITER_DEAD_LETTERED = counter "mintage_writer_dead_lettered_total"
        "Token records dropped because the database rejects them.";
    WRITER_FLUSH_DURATION = histogram "mintage_writer_flush_duration_seconds"
        "Duration of flushes, failed ones included.";

    POOL_CONNECTIONS = gauge "mintage_pool_connections" "Database connections, idle and in_use.";
    POOL_WAITING = gauge "mintage_pool_waiting" "Calls waiting for a connection.";
    POOL_WAIT = histogram "mintage_pool_wait_seconds"
        "Time that calls waited for a connection, including those that gave up.";
    POOL_TIMEOUTS = counter "mintage_pool_timeouts_total" "Calls that gave up waiting for a connection.";
    POOL_VALIDATIONS = counter "mintage_pool_validations_total" "Connections validated.";
    POOL_DISCARDED = counter "mintage_pool_discarded_total" "Connections found dead and dropped.";
    POOL_MAX_SIZE = gauge "mintage_pool_max_size" "database.pool.max_size";
    POOL_MIN_IDLE = gauge "mintage_pool_min_idle" "database.pool.min_idle";
    POOL_MAX_LIFETIME = gauge "mintage_pool_max_lifetime_seconds" "database.pool.max_lifetime";
    POOL_IDLE_TIMEOUT = gauge "mintage_pool_idle_timeout_seconds" "database.pool.idle_timeout";
    POOL_CONNECTION_TIMEOUT = gauge "mintage_pool_connection_timeout_seconds" "database.pool.connection_timeout";
    BREAKER_STATE = gauge "mintage_breaker_state"
        "Circuit breaker of the database: 0 closed (calls pass), 1 half open (one probe), 2 open (calls fail).";
    DB_STATEMENTS = counter "mintage_db_statements_total"
        "SQL statements sent to the primary, BEGIN and COMMIT included.";
    REPLICA_BREAKER_STATE = gauge "mintage_replica_breaker_state"
        "Circuit breaker of each of database.replica_urls, numbered from 1.";
    REPLICA_READS = counter "mintage_replica_reads_total" "Reads answered by a replica.";
    REPLICA_FALLBACKS = counter "mintage_replica_fallbacks_total"
        "Reads sent to the primary because a replica did not answer or was behind.";

    REVOCATIONS_KNOWN = gauge "mintage_revocations_known"
        "Revoked and redeemed tokens in memory until they expire.";
    CHANGE_FEED_LAG = gauge "mintage_change_feed_lag_seconds"
        "Time since the database last answered the change feed; above 5 s, tokens are not verified.";

    REDIS_UP = gauge "mintage_redis_up"
        "1 while Redis answers and announcements arrive, otherwise 0; absent without redis.url.";
    REDIS_ERRORS = counter "mintage_redis_errors_total"
        "Failed or timed-out connections and commands to Redis.";
    REDIS_PUBLISHED = counter "mintage_redis_published_total"
        "Announcements of changes sent through Redis.";
    REDIS_RECEIVED = counter "mintage_redis_received_total" "Announcements received, own ones included.";
    REDIS_CACHE_HITS = counter "mintage_redis_cache_hits_total"
        "Client loads answered by a peer.";
    REDIS_CACHE_MISSES = counter "mintage_redis_cache_misses_total"
        "Client loads not answered by a peer: absent, not provably fresh, or too slow.";
    REDIS_DROPPED = counter "mintage_redis_dropped_total"
        "Clients and failed authentications not shared because Redis was unavailable or slow.";

    JANITOR_REMOVED = counter "mintage_janitor_removed_total" "Expired rows deleted, by table.";
    JANITOR_PARTITIONS = counter "mintage_janitor_partitions_dropped_total"
        "Partitions of token records dropped (PostgreSQL).";
    JANITOR_ROUNDS = counter "mintage_janitor_rounds_total" "Completed rounds of the janitor.";
    JANITOR_FAILURES = counter "mintage_janitor_failures_total" "Rounds of the janitor that the database interrupted.";
    JANITOR_WAITING = gauge "mintage_janitor_waiting"
        "Expired rows left by the last round, by table, counted up to 100,000.";
}

/// The label of requests without a route.
const UNMATCHED: &str = "unmatched";

/// The metrics of a process: the cells of its workers and the patterns that label its routes.
pub struct Metrics {
    /// The patterns of the routes. The index of a pattern is the index of its cells. Locked only at
    /// startup and by scrapes.
    routes: Mutex<Vec<&'static str>>,
    workers: Mutex<Vec<Arc<Cells>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            routes: Mutex::new(vec![UNMATCHED]),
            workers: Mutex::default(),
        }
    }
}

impl Metrics {
    /// The label of the route with this pattern. Beyond [`MAX_ROUTES`] patterns, a route gets
    /// [`RouteLabel::UNMATCHED`].
    pub fn route(&self, pattern: &'static str) -> RouteLabel {
        let mut routes = lock(&self.routes);
        let known = routes.iter().position(|known| *known == pattern);
        let index = known.unwrap_or(routes.len());
        if index == MAX_ROUTES {
            return RouteLabel::UNMATCHED;
        }
        if known.is_none() {
            routes.push(pattern);
        }
        RouteLabel {
            index,
            is_token: pattern == TOKEN_PATH,
            is_admin: pattern.starts_with("/admin"),
        }
    }

    /// The existing label of a pattern. For requests that are rejected before they reach their
    /// route.
    pub fn route_named(&self, pattern: Option<&str>) -> RouteLabel {
        let known = pattern.and_then(|pattern| lock(&self.routes).iter().copied().find(|known| *known == pattern));
        known.map_or(RouteLabel::UNMATCHED, |known| self.route(known))
    }

    /// Creates the cells of a worker.
    pub fn worker(&self) -> WorkerMetrics {
        let cells = Arc::new(Cells::default());
        lock(&self.workers).push(cells.clone());
        WorkerMetrics::new(cells)
    }

    /// Writes the sums over all workers.
    pub fn write(&self, text: &mut Text) {
        let workers = lock(&self.workers).clone();
        let routes: Vec<(&str, RouteCounts)> = lock(&self.routes)
            .iter()
            .enumerate()
            .map(|(index, pattern)| (*pattern, RouteCounts::of(&workers, index)))
            .collect();
        write_routes(text, &routes);
        let sum = |count: &dyn Fn(&Cells) -> u64| workers.iter().map(|cells| count(cells)).sum::<u64>() as f64;
        let mut issued = text.family(&TOKENS_ISSUED);
        for alg in Alg::ALL {
            for (kind, name) in KINDS.iter().enumerate() {
                let labels = [("alg", alg.name()), ("kind", name)];
                issued.sample(&labels, sum(&|cells| cells.issued[alg.index()][kind].get()));
            }
        }
        let mut errors = text.family(&TOKEN_ERRORS);
        for (index, code) in CODES.iter().enumerate() {
            errors.sample(&[("error", code)], sum(&|cells| cells.errors[index].get()));
        }
        let mut denied = text.family(&DENIED);
        for denial in Denial::ALL {
            let count = sum(&|cells| cells.denials[denial as usize].get());
            denied.sample(&[("reason", denial.name())], count);
        }
    }
}

/// The sums over all workers for one route.
struct RouteCounts {
    answered: Vec<[u64; STATUSES.len() + 1]>,
    durations: HistogramCounts,
}

impl RouteCounts {
    fn of(workers: &[Arc<Cells>], route: usize) -> Self {
        let mut counts = Self {
            answered: vec![[0; STATUSES.len() + 1]; METHODS.len()],
            durations: HistogramCounts::default(),
        };
        for cells in workers.iter().filter_map(|cells| cells.routes[route].get()) {
            counts.add(cells);
        }
        counts
    }

    fn add(&mut self, cells: &RouteCells) {
        for (sums, cells) in self.answered.iter_mut().zip(&cells.answered) {
            for (sum, cell) in sums.iter_mut().zip(cells) {
                *sum += cell.get();
            }
        }
        cells.durations.add_to(&mut self.durations);
    }
}

/// Series that are exported before their first event. A rate is visible if the series begins at 0,
/// and invisible if it begins at 1.
const ALWAYS_EXPORTED: [(&str, &str, &[&str]); 5] = [
    (TOKEN_PATH, "POST", &["200", "400", "401", "429", "503"]),
    (INTROSPECTION_PATH, "POST", &["200", "401", "503"]),
    (REVOCATION_PATH, "POST", &["200", "401", "503"]),
    ("/validate", "GET", &["200", "401", "403", "503"]),
    // The series of the scrape itself.
    ("/metrics", "GET", &["200"]),
];

fn is_always_exported(pattern: &str, method: &str, status: &str) -> bool {
    pattern == UNMATCHED && status == "404"
        || ALWAYS_EXPORTED
            .iter()
            .any(|(route, known, statuses)| *route == pattern && *known == method && statuses.contains(&status))
}

/// Writes the series of [`ALWAYS_EXPORTED`] and those that have occurred, of thousands of possible
/// ones.
fn write_routes(text: &mut Text, routes: &[(&str, RouteCounts)]) {
    let mut requests = text.family(&HTTP_REQUESTS);
    for (pattern, counts) in routes {
        for (method, answered) in METHODS.iter().zip(&counts.answered) {
            let statuses = STATUSES.iter().map(|(_, name)| *name).chain(["other"]);
            for (status, count) in statuses.zip(answered) {
                if *count > 0 || is_always_exported(pattern, method, status) {
                    let labels = [("route", *pattern), ("method", method), ("status", status)];
                    requests.sample(&labels, *count as f64);
                }
            }
        }
    }
    let mut durations = text.family(&HTTP_REQUEST_DURATION);
    for (pattern, counts) in routes {
        let is_always_exported = *pattern == UNMATCHED || ALWAYS_EXPORTED.iter().any(|(route, ..)| route == pattern);
        if counts.durations.count() > 0 || is_always_exported {
            durations.histogram(&[("route", pattern)], &counts.durations);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::oauth::error::OAuthError;

    fn written(metrics: &Metrics) -> Vec<Sample> {
        let mut text = Text::default();
        metrics.write(&mut text);
        read(&text.finish()).unwrap()
    }

    fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let matches = |sample: &&Sample| {
            sample.name == name && labels.iter().all(|(label, value)| sample.label(label) == Some(value))
        };
        samples.iter().find(matches).map(|sample| sample.value)
    }

    #[test]
    fn a_scrape_adds_up_what_all_workers_have_counted() {
        let metrics = Metrics::default();
        let (route, workers) = (metrics.route("/token"), [metrics.worker(), metrics.worker()]);
        for worker in &workers {
            worker.answered(route, "POST", 200, Duration::from_micros(40));
            worker.issued(Alg::Es256, false);
            worker.denied(Denial::WrongSecret);
        }
        workers[1].answered(route, "POST", 400, Duration::from_micros(40));
        workers[1].token_error(route, OAuthError::InvalidTarget(""));
        let samples = written(&metrics);
        let requests = |status| value(&samples, HTTP_REQUESTS.name, &[("route", "/token"), ("status", status)]);
        assert_eq!((requests("200"), requests("400")), (Some(2.0), Some(1.0)));
        let issued = [("alg", "ES256"), ("kind", "bearer")];
        assert_eq!(value(&samples, TOKENS_ISSUED.name, &issued), Some(2.0));
        let error = [("error", "invalid_target")];
        assert_eq!(value(&samples, TOKEN_ERRORS.name, &error), Some(1.0));
        assert_eq!(value(&samples, DENIED.name, &[("reason", "wrong_secret")]), Some(2.0));
        let count = value(
            &samples,
            "mintage_http_request_duration_seconds_count",
            &[("route", "/token")],
        );
        assert_eq!(count, Some(3.0));
    }

    #[test]
    fn only_rejected_token_requests_are_counted_as_token_errors() {
        let metrics = Metrics::default();
        let worker = metrics.worker();
        worker.token_error(metrics.route("/revoke"), OAuthError::InvalidClient);
        let error = [("error", "invalid_client")];
        assert_eq!(value(&written(&metrics), TOKEN_ERRORS.name, &error), Some(0.0));
    }

    #[test]
    fn unknown_methods_and_statuses_are_labelled_other() {
        let metrics = Metrics::default();
        let worker = metrics.worker();
        worker.answered(metrics.route("/token"), "BREW", 418, Duration::ZERO);
        let labels = [("method", "other"), ("status", "other")];
        assert_eq!(value(&written(&metrics), HTTP_REQUESTS.name, &labels), Some(1.0));
    }

    #[test]
    fn a_pattern_has_one_label_and_too_many_share_one() {
        let metrics = Metrics::default();
        assert_eq!(metrics.route("/a"), metrics.route("/a"));
        assert_ne!(metrics.route("/a"), metrics.route("/b"));
        assert_eq!(metrics.route_named(Some("/b")), metrics.route("/b"));
        assert_eq!(metrics.route_named(Some("/c")), RouteLabel::UNMATCHED);
        for number in 0..2 * MAX_ROUTES {
            metrics.route(format!("/{number}").leak());
        }
        assert_eq!(metrics.route("/one too many"), RouteLabel::UNMATCHED);
    }
}
