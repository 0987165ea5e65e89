//! `/admin/pool`: figures of the database pools and their circuit breakers, read without a query.

use actix_web::{HttpRequest, HttpResponse};

use super::document;
use super::schemas::OperatorFailures;
use crate::admin::DbStats;
use crate::http::auth::operator::{Right, require};
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
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::Read).await?;
    Ok(document(&worker.shared.admin.pool_stats()))
}
