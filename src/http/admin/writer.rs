//! `/admin/writer`: how the writing of token records does.

use actix_web::{HttpRequest, HttpResponse};

use super::document;
use super::schemas::OperatorFailures;
use crate::actors::batch_writer::WriterStats;
use crate::http::auth::bearer::{Right, require};
use crate::http::error::{AdminError, ApiError};
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
    require(&request, Right::Read).await?;
    let stats = Worker::of(&request).shared.writer.stats().await;
    Ok(document(&stats.ok_or(ApiError::Admin(AdminError::Unavailable))?))
}
