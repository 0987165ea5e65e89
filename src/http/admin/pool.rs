//! `/admin/pool`: how the database pool and its breaker do. It asks the pool, not the database.

use actix_web::{HttpRequest, HttpResponse};

use super::document;
use super::schemas::OperatorFailures;
use crate::db::DbStats;
use crate::http::auth::bearer::{Right, require};
use crate::http::error::ApiError;
use crate::http::state::Worker;

/// `GET /admin/pool/stats`
#[utoipa::path(
    get,
    path = "/admin/pool/stats",
    operation_id = "poolStats",
    summary = "The database pool",
    responses((status = 200, body = DbStats), OperatorFailures),
    security(("bearer" = ["mintage:read"])),
)]
pub async fn pool_stats(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    Ok(document(&Worker::of(&request).shared.db.stats()))
}
