//! `/admin/janitor`: how the removal of what has expired does. It asks the janitor, not the database.

use actix_web::{HttpRequest, HttpResponse};

use super::document;
use crate::http::auth::bearer::{Right, require};
use crate::http::error::ApiError;
use crate::http::state::Worker;

/// `GET /admin/janitor/stats`
pub async fn janitor_stats(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    Ok(document(&Worker::of(&request).shared.janitor.document()))
}
