//! `/admin/janitor`: figures of the janitor, which removes expired rows. They are read without a
//! query.

use actix_web::{HttpRequest, HttpResponse};

use super::document;
use super::schemas::OperatorFailures;
use crate::actors::janitor::JanitorDocument;
use crate::http::auth::operator::{Right, require};
use crate::http::error::ApiError;
use crate::http::state::Worker;

/// `GET /admin/janitor/stats`
#[utoipa::path(
    get,
    path = "/admin/janitor/stats",
    operation_id = "janitorStats",
    summary = "The removal of expired rows",
    responses((status = 200, body = JanitorDocument), OperatorFailures),
    security(("bearer" = ["mintage:read"])),
)]
pub async fn janitor_stats(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::Read).await?;
    Ok(document(&worker.shared.janitor.document()))
}
