//! `/admin/pool`: how the database pool and its breaker do. It asks the pool, not the database.

use actix_web::{HttpRequest, HttpResponse};

use super::document;
use crate::http::auth::bearer::{Right, require};
use crate::http::error::ApiError;
use crate::http::state::Worker;

/// `GET /admin/pool/stats`
pub async fn pool_stats(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    Ok(document(&Worker::of(&request).shared.db.stats()))
}
