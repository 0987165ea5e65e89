//! `/admin/writer`: how the writing of token records does.

use actix_web::{HttpRequest, HttpResponse};

use super::document;
use crate::http::auth::bearer::{Right, require};
use crate::http::error::ApiError;
use crate::http::state::Worker;

/// `GET /admin/writer/stats`
pub async fn writer_stats(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    let stats = Worker::of(&request).shared.writer.stats().await;
    Ok(document(&stats.ok_or(ApiError::Unavailable)?))
}
