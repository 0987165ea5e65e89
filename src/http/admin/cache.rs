//! `/admin/cache`: how the client caches do, and a way to empty them.

use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::document;
use super::schemas::OperatorFailures;
use crate::actors::client_cache::CacheCounts;
use crate::http::auth::bearer::{Right, require};
use crate::http::error::ApiError;
use crate::http::state::Worker;

/// The sum over all workers, and each of them. `hits + misses` is the number of lookups.
#[derive(Serialize, ToSchema)]
pub struct CacheStats {
    #[serde(flatten)]
    total: CacheCounts,
    /// `hits / (hits + misses)`; 0 before the first lookup.
    hit_rate: f64,
    /// Clients for all workers together.
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
    require(&request, Right::Read).await?;
    let shared = &Worker::of(&request).shared;
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

/// `POST /admin/cache/clear`: returns when every worker has forgotten its clients.
#[utoipa::path(
    post,
    path = "/admin/cache/clear",
    operation_id = "clearCache",
    summary = "Empty the client caches",
    responses((status = 204), OperatorFailures),
    security(("bearer" = ["mintage:admin"])),
)]
pub async fn cache_clear(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Write).await?;
    let worker = Worker::of(&request);
    worker.shared.caches.freshness().reject_until(worker.now());
    worker.shared.caches.clear().await;
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
