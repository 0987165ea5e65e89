//! `/admin`: what operators see and do, behind a bearer token with `mintage:admin` (or `mintage:read` to look).

mod audit;
mod cache;
mod clients;
mod janitor;
mod keys;
mod openapi;
pub(in crate::http) mod page;
mod pool;
mod routes;
pub(in crate::http) mod schemas;
mod secrets;
mod tokens;
pub(in crate::http) mod version;
mod writer;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{AdminError, ApiError, json, no_store};
use super::state::Worker;
use super::{body, peer};
use crate::api::audit::Principal;
use crate::db::DbError;
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::error::OAuthError;

pub use audit::list_audit;
pub use cache::{cache_clear, cache_stats};
pub use clients::{change_client, create_client, delete_client, list_clients, show_client};
pub use janitor::janitor_stats;
pub use keys::{list_keys, rotate_keys};
pub use openapi::openapi;
pub use pool::pool_stats;
pub use routes::{add_route, explain_route, list_routes, remove_route};
pub use secrets::{add_secret, list_secrets, revoke_secret};
pub use tokens::{list_tokens, revoke_client_tokens, revoke_token};
pub use writer::writer_stats;

/// Who asks, for the audit trail.
fn author(request: &HttpRequest, claims: &AccessTokenClaims) -> Principal {
    Principal {
        who: claims.client_id.to_string(),
        origin: peer::of(request, Worker::of(request).trusted_proxies()).to_string(),
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
///
/// # Errors
/// 415 for another media type or none, 413 and 408 as [`body::read`], 400 for what is not the document that is expected.
async fn read_json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<T, ApiError> {
    if !is_json(request) {
        return Err(refused(OAuthError::UnsupportedMediaType));
    }
    parse_json(&read_body(request, payload).await?)
}

/// Reads a JSON body where one may be left out.
///
/// # Errors
/// As [`read_json`], unless there is no body.
async fn read_json_or_nothing<T: DeserializeOwned + Default>(
    request: &HttpRequest,
    payload: Payload,
) -> Result<T, ApiError> {
    let body = read_body(request, payload).await?;
    match body.is_empty() {
        true => Ok(T::default()),
        false if is_json(request) => parse_json(&body),
        false => Err(refused(OAuthError::UnsupportedMediaType)),
    }
}

async fn read_body(request: &HttpRequest, payload: Payload) -> Result<Bytes, ApiError> {
    let body = body::read(payload, &Worker::of(request).shared.settings).await;
    body.map_err(refused)
}

fn is_json(request: &HttpRequest) -> bool {
    body::media_type(request).is_some_and(|media| media.eq_ignore_ascii_case("application/json"))
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    const NOT_READ: &str = "the body must be JSON with the members that this resource knows, each once";
    let refused = || ApiError::Admin(AdminError::Refused(StatusCode::BAD_REQUEST, NOT_READ));
    // serde would take an array for the members in their order.
    match body.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(body).map_err(|_| refused()),
        _ => Err(refused()),
    }
}

/// The same refusal of a body as at the OAuth endpoints.
fn refused(error: OAuthError) -> ApiError {
    let row = error.row();
    let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::BAD_REQUEST);
    ApiError::Admin(AdminError::Refused(status, row.description))
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
