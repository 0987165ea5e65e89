//! `/admin/tokens` and `/admin/clients/{id}/revoke-tokens`: tokens taken back by an operator.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::author;
use crate::db::tokens;
use crate::http::bearer::{Right, require};
use crate::http::error::{AdminError, ApiError, problem};
use crate::http::state::Worker;
use crate::oauth::activity::Spent;
use crate::oauth::client::{ClientId, TTL_SECONDS};
use crate::oauth::token_id::TokenId;

const UNAVAILABLE: ApiError = ApiError::Admin(AdminError::Unavailable);

/// `DELETE /admin/tokens/{jti}`: 204, also for a token that was revoked before or is not recorded yet.
pub async fn revoke_token(request: HttpRequest, path: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let by = author(&request, &require(&request, Right::Write).await?);
    let shared = &Worker::of(&request).shared;
    let Some(jti) = TokenId::parse(&path) else {
        return Ok(problem(StatusCode::NOT_FOUND, "there is no token with this id"));
    };
    let recorded = shared
        .db
        .run_repeatable(move |conn| tokens::expiry(conn, jti))
        .await
        .map_err(|_| UNAVAILABLE)?;
    // A token whose record is still to be written ends at the latest when the longest-lived one of its moment does.
    let latest = jti.issued_at().seconds() + TTL_SECONDS.end();
    let spent = Spent {
        jti,
        expires_at: recorded.unwrap_or(latest),
    };
    shared
        .revocations
        .revoke_by(&shared.db, by, spent, shared.clock.now())
        .await
        .map_err(|_| UNAVAILABLE)?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /admin/clients/{id}/revoke-tokens`: 204; everything issued to the client until now is inactive.
pub async fn revoke_client_tokens(request: HttpRequest, path: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let by = author(&request, &require(&request, Right::Write).await?);
    let shared = &Worker::of(&request).shared;
    let missing = || Ok(problem(StatusCode::NOT_FOUND, "there is no client with this id"));
    let Some(id) = ClientId::parse(&path) else {
        return missing();
    };
    let revoked = shared
        .revocations
        .revoke_client_by(&shared.db, by, id, shared.clock.now())
        .await;
    match revoked.map_err(|_| UNAVAILABLE)? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => missing(),
    }
}
