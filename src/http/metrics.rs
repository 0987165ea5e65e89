//! `GET /metrics`: metrics for Prometheus. A scrape queries no database and takes no lock that a
//! warm request needs.
//!
//! The counters of the workers are read from their cells. The client caches and the writer get one
//! message each and reply with numbers they have at hand. If they do not reply within a second, the
//! scrape omits their metrics: a partial sum would look like a counter that went back.
//!
//! On the listener that clients reach, a scrape needs a token with `mintage:read`, unless
//! `server.open_metrics` is set: how much is issued, and how the server is doing, is not for
//! everyone.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::join;
use tokio::time::timeout;

use super::admin::schemas::OAuthFailure;
use super::auth::operator::{Right, require_as_known};
use super::error::{ApiError, no_store};
use super::state::{Shared, Worker};
use crate::actors::batch_writer::WriterStats;
use crate::actors::client_cache::CacheCounts;
use crate::actors::janitor::JanitorDocument;
use crate::clients::password_verifier::PasswordVerifierCounts;
use crate::metrics::{self, ConnectionCounts, Text};

/// How long a scrape waits for the workers and the writer. Prometheus gives up after ten seconds.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(1);

/// `GET /metrics`
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    summary = "Metrics for Prometheus",
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        OAuthFailure<400>, OAuthFailure<401>, OAuthFailure<403>, OAuthFailure<413>, OAuthFailure<503>,
    ),
    security(("bearer" = ["mintage:read"]), ()),
)]
pub async fn metrics(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let shared = &worker.shared;
    if !shared.settings.open_metrics {
        require_as_known(worker, &worker.caller(&request), Right::Read).await?;
    }
    let caches = timeout(SCRAPE_TIMEOUT, shared.caches.stats());
    let writer = timeout(SCRAPE_TIMEOUT, shared.writer.stats());
    let (caches, writer) = join(caches, writer).await;
    let mut text = Text::default();
    write_server(&mut text, shared);
    shared.metrics.write(&mut text);
    write_connections(&mut text, &shared.connections);
    write_password_hashes(&mut text, &shared.password_verifier.counts());
    if let Ok(caches) = caches {
        write_caches(&mut text, &caches, shared.settings.cache_capacity);
    }
    if let Ok(Some(writer)) = writer {
        write_writer(&mut text, &writer);
    }
    write_pool(&mut text, shared);
    write_revocations(&mut text, shared);
    write_redis(&mut text, shared);
    write_janitor(&mut text, &shared.janitor.document());
    Ok(no_store(&mut HttpResponse::Ok())
        .insert_header((CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE)))
        .body(text.finish()))
}

fn write_server(text: &mut Text, shared: &Shared) {
    let version = env!("CARGO_PKG_VERSION");
    text.family(&metrics::BUILD_INFO).sample(&[("version", version)], 1.0);
    let ready = shared.readiness.obstacle().is_none();
    text.single(&metrics::READY, f64::from(u8::from(ready)));
}

fn write_connections(text: &mut Text, counts: &ConnectionCounts) {
    let [open, idle, max, held] =
        [&counts.open, &counts.idle, &counts.max, &counts.held].map(|count| count.load(Ordering::Relaxed) as f64);
    // Idle connections are counted a little later than those that open and close.
    let idle = idle.min(open);
    let mut connections = text.family(&metrics::CONNECTIONS);
    connections.sample(&[("state", "idle")], idle);
    connections.sample(&[("state", "active")], open - idle);
    text.single(&metrics::CONNECTIONS_MAX, max);
    text.single(&metrics::CONNECTIONS_HELD, held);
    let mut closed = text.family(&metrics::CONNECTIONS_CLOSED);
    for (reason, count) in counts.endings() {
        closed.sample(&[("reason", reason)], count as f64);
    }
    let rejected = counts.rejected.load(Ordering::Relaxed) as f64;
    text.family(&metrics::CONNECTIONS_REJECTED)
        .sample(&[("reason", "address")], rejected);
}

fn write_password_hashes(text: &mut Text, counts: &PasswordVerifierCounts) {
    for (metric, value) in [
        (metrics::PASSWORD_HASH_VERIFICATIONS, counts.verified),
        (metrics::PASSWORD_HASH_UPGRADES, counts.replaced),
        (metrics::PASSWORD_HASH_REJECTIONS, counts.busy),
    ] {
        text.single(&metric, value as f64);
    }
    let mut in_progress = text.family(&metrics::PASSWORD_HASH_IN_PROGRESS);
    in_progress.sample(&[("state", "running")], counts.running as f64);
    in_progress.sample(&[("state", "waiting")], counts.waiting as f64);
}

fn write_caches(text: &mut Text, workers: &[CacheCounts], capacity: usize) {
    let mut total = CacheCounts::default();
    for counts in workers {
        total += *counts;
    }
    for (metric, value) in [
        (metrics::CACHE_HITS, total.hits),
        (metrics::CACHE_MISSES, total.misses),
        (metrics::CACHE_STALE_SERVED, total.stale_served),
        (metrics::CACHE_NEGATIVE_HITS, total.negative_hits),
        (metrics::CACHE_LOADS, total.loads),
        (metrics::CACHE_LOAD_FAILURES, total.load_failures),
        (metrics::CACHE_EVICTIONS, total.evictions),
        (metrics::CACHE_EXPIRATIONS, total.expirations),
        (metrics::CACHE_INVALIDATIONS, total.invalidations),
        (metrics::CACHE_ENTRIES, total.entries),
        (metrics::CACHE_NEGATIVE_ENTRIES, total.negative_entries),
        (metrics::CACHE_CAPACITY, (capacity * workers.len()) as u64),
    ] {
        text.single(&metric, value as f64);
    }
}

fn write_writer(text: &mut Text, writer: &WriterStats) {
    for (metric, value) in [
        (metrics::WRITER_PENDING, writer.pending as f64),
        (metrics::WRITER_MAX_PENDING, writer.max_pending as f64),
        (metrics::WRITER_OLDEST_UNFLUSHED, writer.oldest_unflushed_seconds),
        (metrics::WRITER_FLUSHED, writer.flushed_total as f64),
        (metrics::WRITER_BATCHES, writer.batches_total as f64),
        (metrics::WRITER_FLUSH_FAILURES, writer.flush_failures_total as f64),
        (metrics::WRITER_REJECTED, writer.rejected_total as f64),
        (metrics::WRITER_DEAD_LETTERED, writer.dead_lettered_total as f64),
    ] {
        text.single(&metric, value);
    }
    text.family(&metrics::WRITER_FLUSH_DURATION)
        .histogram(&[], &writer.flush_durations);
}

fn write_pool(text: &mut Text, shared: &Shared) {
    let stats = shared.admin.pool_stats();
    let pool = &stats.primary;
    let mut connections = text.family(&metrics::POOL_CONNECTIONS);
    connections.sample(&[("state", "idle")], f64::from(pool.idle));
    connections.sample(&[("state", "in_use")], f64::from(pool.in_use));
    let settings = &pool.settings;
    for (metric, value) in [
        (metrics::POOL_WAITING, pool.waiting as f64),
        (metrics::POOL_TIMEOUTS, pool.timeouts_total as f64),
        (metrics::POOL_VALIDATIONS, pool.validations_total as f64),
        (metrics::POOL_DISCARDED, pool.discarded_total as f64),
        (metrics::POOL_MAX_SIZE, f64::from(pool.max_size)),
        (metrics::POOL_MIN_IDLE, f64::from(settings.min_idle)),
        (metrics::POOL_MAX_LIFETIME, settings.max_lifetime.as_secs_f64()),
        (metrics::POOL_IDLE_TIMEOUT, settings.idle_timeout.as_secs_f64()),
        (
            metrics::POOL_CONNECTION_TIMEOUT,
            settings.connection_timeout.as_secs_f64(),
        ),
        (metrics::BREAKER_STATE, f64::from(pool.breaker_state.severity())),
        (metrics::DB_STATEMENTS, pool.statements_total as f64),
        (metrics::REPLICA_READS, stats.replica_reads_total as f64),
        (metrics::REPLICA_FALLBACKS, stats.replica_fallbacks_total as f64),
    ] {
        text.single(&metric, value);
    }
    text.family(&metrics::POOL_WAIT).histogram(&[], &pool.waits);
    let mut breakers = text.family(&metrics::REPLICA_BREAKER_STATE);
    for (index, replica) in stats.replicas.iter().enumerate() {
        let number = (index + 1).to_string();
        breakers.sample(&[("replica", &number)], f64::from(replica.breaker_state.severity()));
    }
}

fn write_revocations(text: &mut Text, shared: &Shared) {
    text.single(&metrics::REVOCATIONS_KNOWN, shared.revocations.known() as f64);
    let mut lag = text.family(&metrics::CHANGE_FEED_LAG);
    // Before the first poll the lag is unknown, and 0 would mean that the feed is current.
    if let Some(age) = shared.readiness.feed_lag.age() {
        lag.sample(&[], age.as_secs_f64());
    }
}

fn write_redis(text: &mut Text, shared: &Shared) {
    let stats = shared.peers.stats();
    let mut up = text.family(&metrics::REDIS_UP);
    // Without `redis.url`, the metric has no sample.
    if let Some(stats) = stats {
        up.sample(&[], f64::from(u8::from(stats.up)));
    }
    let stats = stats.unwrap_or_default();
    for (metric, value) in [
        (metrics::REDIS_ERRORS, stats.errors),
        (metrics::REDIS_PUBLISHED, stats.published),
        (metrics::REDIS_RECEIVED, stats.received),
        (metrics::REDIS_CACHE_HITS, stats.cache_hits),
        (metrics::REDIS_CACHE_MISSES, stats.cache_misses),
        (metrics::REDIS_DROPPED, stats.dropped),
    ] {
        text.single(&metric, value as f64);
    }
}

fn write_janitor(text: &mut Text, janitor: &JanitorDocument) {
    let (removed, waiting) = (&janitor.removed_total, &janitor.waiting);
    let mut by_table = text.family(&metrics::JANITOR_REMOVED);
    for (table, rows) in [
        ("tokens", removed.tokens),
        ("revocations", removed.revocations),
        ("redemptions", removed.redemptions),
        ("changes", removed.changes),
    ] {
        by_table.sample(&[("table", table)], rows as f64);
    }
    for (metric, value) in [
        (metrics::JANITOR_PARTITIONS, janitor.partitions_dropped_total),
        (metrics::JANITOR_ROUNDS, janitor.rounds_total),
        (metrics::JANITOR_FAILURES, janitor.failures_total),
    ] {
        text.single(&metric, value as f64);
    }
    let mut by_table = text.family(&metrics::JANITOR_WAITING);
    for (table, rows) in [
        ("tokens", waiting.tokens),
        ("revocations", waiting.revocations),
        ("redemptions", waiting.redemptions),
    ] {
        by_table.sample(&[("table", table)], rows as f64);
    }
}
