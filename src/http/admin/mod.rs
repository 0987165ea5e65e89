//! `/admin`: what operators see and do, behind a bearer token with `mintage:admin` (or `mintage:read` to look).

mod cache;
mod janitor;
mod keys;
mod pool;
mod routes;
mod tokens;
mod writer;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::body;
use super::error::{AdminError, ApiError, json, no_store, problem};
use super::peer;
use super::state::Worker;
use crate::db::DbError;
use crate::oauth::audit::Author;
use crate::oauth::claims::AccessTokenClaims;

pub use cache::{cache_clear, cache_stats};
pub use janitor::janitor_stats;
pub use keys::{list_keys, rotate_keys};
pub use pool::pool_stats;
pub use routes::{add_route, explain_route, list_routes, remove_route};
pub use tokens::{revoke_client_tokens, revoke_token};
pub use writer::writer_stats;

/// Another method than GET or HEAD.
pub async fn get_only() -> HttpResponse {
    method_not_allowed("GET, HEAD")
}

/// Another method than POST.
pub async fn post_only() -> HttpResponse {
    method_not_allowed("POST")
}

/// Another method than GET, HEAD or POST.
pub async fn get_or_post_only() -> HttpResponse {
    method_not_allowed("GET, HEAD, POST")
}

/// Another method than DELETE.
pub async fn delete_only() -> HttpResponse {
    method_not_allowed("DELETE")
}

fn method_not_allowed(allowed: &'static str) -> HttpResponse {
    let mut response = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "the method is not one that this resource knows",
    );
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Who asks, for the audit trail.
fn author(request: &HttpRequest, claims: &AccessTokenClaims) -> Author {
    Author {
        who: claims.client_id.to_string(),
        origin: peer::of(request).to_string(),
    }
}

fn document(document: &impl Serialize) -> HttpResponse {
    answer(StatusCode::OK, document)
}

fn answer(status: StatusCode, document: &impl Serialize) -> HttpResponse {
    let text = serde_json::to_string(document).expect("what an admin endpoint shows is made of strings and numbers");
    no_store(json(&mut HttpResponse::build(status))).body(text)
}

/// Reads a JSON body; to be called when the bearer token has been judged.
async fn read_json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<T, ApiError> {
    parse_json(&read_body(request, payload).await?)
}

/// Reads a JSON body where one may be left out.
async fn read_json_or_nothing<T: DeserializeOwned + Default>(
    request: &HttpRequest,
    payload: Payload,
) -> Result<T, ApiError> {
    let body = read_body(request, payload).await?;
    match body.is_empty() {
        true => Ok(T::default()),
        false => parse_json(&body),
    }
}

async fn read_body(request: &HttpRequest, payload: Payload) -> Result<Bytes, ApiError> {
    let body = body::read(payload, &Worker::of(request).shared.settings).await;
    body.map_err(|error| {
        let row = error.row();
        let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::BAD_REQUEST);
        ApiError::Admin(AdminError::Refused(status, row.description))
    })
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    const NOT_READ: &str = "the body must be JSON with the members that this resource knows, each once";
    let refused = |_| ApiError::Admin(AdminError::Refused(StatusCode::BAD_REQUEST, NOT_READ));
    serde_json::from_slice(body).map_err(refused)
}

/// A database call that failed, where there is nothing else to say about it.
fn not_done(error: &DbError) -> ApiError {
    ApiError::Admin(match error {
        DbError::Unavailable(_) | DbError::Disconnected(_) => AdminError::Unavailable,
        DbError::Conflict => AdminError::Refused(StatusCode::CONFLICT, "there is one already"),
        DbError::Inconsistent(_) | DbError::Query(_) => {
            log::error!("admin request failed: {error}");
            AdminError::Refused(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the server met an unexpected condition",
            )
        }
    })
}
