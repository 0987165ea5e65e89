//! `/admin`: the HTTP API of operators, behind a bearer token with a scope that begins with
//! `mintage:`. `auth/operator.rs` decides what such a scope allows.
//!
//! A handler authorizes the request, parses it, calls one operation of
//! [`crate::admin::Administration`] and shows the outcome. `error.rs` says how failures are
//! answered, `openapi.rs` collects the description at each handler.

mod audit;
mod cache;
mod clients;
mod declare;
mod denials;
mod error;
mod janitor;
mod json_body;
mod keys;
mod openapi;
mod operator;
pub(in crate::http) mod page;
mod pool;
mod routes;
pub(in crate::http) mod schemas;
mod secrets;
mod tokens;
pub(in crate::http) mod version;
mod writer;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::audit_log;
use super::auth::operator::{Right, require};
use super::body::{self, Payload};
use super::caller::Caller;
use super::error::{ApiError, json, no_store};
use super::state::Worker;
use crate::api::audit::Principal;
use crate::api::authority::{Authority, TokenAuthority};
use crate::oauth::duty::Duty;
use crate::oauth::error::OAuthError;
use crate::oauth::response;

pub use audit::list_audit;
pub use cache::{cache_stats, clear_cache};
pub use clients::{create_client, delete_client, list_clients, show_client, update_client};
pub use declare::declare_client;
pub use denials::list_denials;
pub use janitor::janitor_stats;
pub use keys::{list_keys, rotate_keys};
pub use openapi::openapi;
pub use operator::show_self;
pub use pool::pool_stats;
pub use routes::{add_route, explain_route, list_routes, remove_route};
pub use secrets::{add_secret, list_secrets, revoke_secret};
pub use tokens::{list_tokens, revoke_client_tokens, revoke_token};
pub use writer::writer_stats;

/// The operator that may change something, for the audit log.
///
/// # Errors
/// As [`require`] with [`Right::WriteOf`].
async fn principal(worker: &Worker, caller: &Caller<'_>, duty: Duty) -> Result<Principal, ApiError> {
    let operator = require(worker, caller, Right::WriteOf(duty)).await?;
    let by = audit_log::operator(caller, &operator.client.id, operator.jti, &operator.secret_id);
    Ok(Principal {
        authority: Authority::Token(TokenAuthority {
            client: operator.client.id.clone(),
            jti: operator.jti,
            secret_id: operator.secret_id,
            duties: operator.token,
            needs: duty,
        }),
        ..by
    })
}

/// 200 with a JSON document.
fn document(document: &impl Serialize) -> HttpResponse {
    document_with(StatusCode::OK, document)
}

fn document_with(status: StatusCode, document: &impl Serialize) -> HttpResponse {
    no_store(json(&mut HttpResponse::build(status))).body(response::line(document))
}

const JSON_ONLY: &str = "the media type must be application/json";

/// Reads a JSON body. Call this after the bearer token is authorized, or unauthenticated callers
/// could make the server read bodies.
///
/// # Errors
/// 415 for another media type or none, 413 and 408 as [`body::read`], 400 for anything but the
/// expected document.
async fn read_json<T: DeserializeOwned + ToSchema>(
    worker: &Worker,
    headers: &HeaderMap,
    payload: Payload,
) -> Result<T, ApiError> {
    if !is_json(headers) {
        return Err(OAuthError::UnsupportedMediaType(JSON_ONLY).into());
    }
    json_body::parse(&read_body(worker, payload).await?)
}

/// Reads an optional JSON body.
///
/// # Errors
/// As [`read_json`], unless the body is empty.
async fn read_optional_json<T: DeserializeOwned + ToSchema + Default>(
    worker: &Worker,
    headers: &HeaderMap,
    payload: Payload,
) -> Result<T, ApiError> {
    let body = read_body(worker, payload).await?;
    match body.is_empty() {
        true => Ok(T::default()),
        false if is_json(headers) => json_body::parse(&body),
        false => Err(OAuthError::UnsupportedMediaType(JSON_ONLY).into()),
    }
}

async fn read_body(worker: &Worker, payload: Payload) -> Result<Bytes, ApiError> {
    let settings = &worker.shared.settings;
    Ok(body::read(payload, settings, settings.max_admin_body()).await?)
}

fn is_json(headers: &HeaderMap) -> bool {
    body::media_type(headers).is_some_and(|media| media.eq_ignore_ascii_case("application/json"))
}
