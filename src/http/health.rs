//! Health: `/livez` says that the process runs, `/readyz` whether to send traffic here.

use actix_web::{HttpRequest, HttpResponse};

use super::admin::schemas::{OAuthFailure, Status};
use super::error::{json, no_store, retry_later};
use super::state::Worker;

/// `GET /livez`: 200 as long as a worker answers at all, whatever the database does.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "livez",
    summary = "Whether the process runs",
    responses((status = 200, body = Status), OAuthFailure<413>),
)]
pub async fn livez() -> HttpResponse {
    no_store(json(&mut HttpResponse::Ok())).body(r#"{"status":"ok"}"#)
}

/// `GET /readyz`: 200, or 503 with the reason.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    summary = "Whether to send traffic here",
    responses((status = 200, body = Status), (status = 503, body = Status), OAuthFailure<413>),
)]
pub async fn readyz(request: HttpRequest) -> HttpResponse {
    let shared = &Worker::of(&request).shared;
    match shared.readiness.obstacle(shared.db.breaker_state()) {
        None => no_store(json(&mut HttpResponse::Ok())).body(r#"{"status":"ready"}"#),
        Some(reason) => {
            let mut builder = HttpResponse::ServiceUnavailable();
            retry_later(no_store(json(&mut builder)))
                .body(format!("{{\"status\":\"unavailable\",\"reason\":\"{reason}\"}}"))
        }
    }
}
