//! `/admin/writer`: figures of the batch writer of token records.

use actix_web::{HttpRequest, HttpResponse};

use super::document;
use super::schemas::OperatorFailures;
use crate::actors::batch_writer::WriterStats;
use crate::http::auth::operator::{Right, require};
use crate::http::error::ApiError;
use crate::http::state::Worker;

/// `GET /admin/writer/stats`
#[utoipa::path(
    get,
    path = "/admin/writer/stats",
    operation_id = "writerStats",
    summary = "The writer of token records",
    responses((status = 200, body = WriterStats), OperatorFailures),
    security(("bearer" = ["mintage:read"])),
)]
pub async fn writer_stats(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::Read).await?;
    let stats = worker.shared.writer.stats().await;
    Ok(document(&stats.ok_or(ApiError::Unavailable)?))
}
