//! `/admin/self`: what the operator itself may do.

use actix_web::{HttpRequest, HttpResponse};

use super::document;
use super::schemas::OperatorFailures;
use crate::api::operator::OperatorDocument;
use crate::http::auth::operator::{Right, require};
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::duty::Duties;

/// `GET /admin/self`
#[utoipa::path(
    get,
    path = "/admin/self",
    operation_id = "self",
    summary = "What the operator may do now",
    responses((status = 200, body = OperatorDocument), OperatorFailures),
    security(("bearer" = ["mintage:audit"]), ("bearer" = ["mintage:read"]), ("bearer" = ["mintage:clients"]), ("bearer" = ["mintage:keys"]), ("bearer" = ["mintage:routes"]), ("bearer" = ["mintage:tokens"])),
)]
pub async fn show_self(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let operator = require(worker, &worker.caller(&request), Right::Any).await?;
    Ok(document(&OperatorDocument {
        client_id: operator.client.id.to_string(),
        scope: operator.held.scope().to_string(),
        available: Duties::held(&operator.client.scope).scope().to_string(),
    }))
}
