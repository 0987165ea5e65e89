//! `/admin/cache`: figures of the client caches, and the way to clear them.

use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::schemas::OperatorFailures;
use super::{document, principal};
use crate::actors::client_cache::CacheCounts;
use crate::http::audit_log;
use crate::http::auth::operator::{Right, require};
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::duty::Duty;

/// The sums over all workers, and the figures of each. `hits + misses` is the number of lookups.
#[derive(Serialize, ToSchema)]
pub struct CacheStats {
    #[serde(flatten)]
    total: CacheCounts,
    /// `hits / (hits + misses)`; 0 before the first lookup.
    hit_rate: f64,
    /// The most clients that all workers together can hold.
    capacity: usize,
    ttl_seconds: f64,
    workers: Vec<WorkerStats>,
}

#[derive(Serialize, ToSchema)]
struct WorkerStats {
    worker: usize,
    #[serde(flatten)]
    counts: CacheCounts,
    hit_rate: f64,
    capacity: usize,
}

/// `GET /admin/cache/stats`
#[utoipa::path(
    get,
    path = "/admin/cache/stats",
    operation_id = "cacheStats",
    summary = "The client caches",
    responses((status = 200, body = CacheStats), OperatorFailures),
    security(("bearer" = ["mintage:read"])),
)]
pub async fn cache_stats(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::Read).await?;
    let shared = &worker.shared;
    let capacity = shared.settings.cache_capacity;
    let mut total = CacheCounts::default();
    let mut workers = Vec::new();
    for (worker, counts) in shared.caches.stats().await.into_iter().enumerate() {
        total += counts;
        workers.push(WorkerStats {
            worker,
            hit_rate: hit_rate(&counts),
            counts,
            capacity,
        });
    }
    Ok(document(&CacheStats {
        hit_rate: hit_rate(&total),
        total,
        capacity: capacity * workers.len(),
        ttl_seconds: shared.cache_ttl.load().as_secs_f64(),
        workers,
    }))
}

/// `POST /admin/cache/clear`: 204.
#[utoipa::path(
    post,
    path = "/admin/cache/clear",
    operation_id = "clearCache",
    summary = "Clear the client caches",
    responses((status = 204), OperatorFailures),
    security(("bearer" = ["mintage:admin"])),
)]
pub async fn clear_cache(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let by = principal(worker, &worker.caller(&request), Duty::Admin).await?;
    worker.shared.admin.clear_caches().await;
    audit_log::cleared_caches(worker, by);
    Ok(HttpResponse::NoContent().finish())
}

fn hit_rate(counts: &CacheCounts) -> f64 {
    let lookups = counts.hits + counts.misses;
    if lookups == 0 {
        0.0
    } else {
        counts.hits as f64 / lookups as f64
    }
}
