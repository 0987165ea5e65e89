//! `/admin/janitor`: how the removal of what has expired does. It asks the janitor, not the database.

use actix_web::{HttpRequest, HttpResponse};

use super::document;
use super::schemas::OperatorFailures;
use crate::actors::janitor::JanitorDocument;
use crate::http::auth::bearer::{Right, require};
use crate::http::error::ApiError;
use crate::http::state::Worker;

/// `GET /admin/janitor/stats`
#[utoipa::path(
    get,
    path = "/admin/janitor/stats",
    operation_id = "janitorStats",
    summary = "The removal of what has expired",
    responses((status = 200, body = JanitorDocument), OperatorFailures),
    security(("bearer" = ["mintage:read"])),
)]
pub async fn janitor_stats(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    Ok(document(&Worker::of(&request).shared.janitor.document()))
}
