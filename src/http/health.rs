//! Health: `/livez` tells whether the process runs, `/readyz` whether to send traffic to it.

use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::admin::schemas::{OAuthFailure, Status};
use super::error::{json, no_store, retry_later};
use super::state::Worker;
use crate::oauth::response;

/// `GET /livez`: 200 while the workers run, whatever the state of the database.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "livez",
    summary = "Whether the process runs",
    responses((status = 200, body = Status), OAuthFailure<413>),
)]
pub async fn livez() -> HttpResponse {
    no_store(json(&mut HttpResponse::Ok())).body("{\"status\":\"ok\"}\n")
}

/// Why the server is not ready.
#[derive(Serialize)]
struct NotReady {
    status: &'static str,
    reason: &'static str,
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
    let Some(reason) = shared.readiness.obstacle() else {
        return no_store(json(&mut HttpResponse::Ok())).body("{\"status\":\"ready\"}\n");
    };
    let document = NotReady {
        status: "unavailable",
        reason,
    };
    retry_later(no_store(json(&mut HttpResponse::ServiceUnavailable()))).body(response::line(&document))
}
