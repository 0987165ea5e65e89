//! `POST /revoke`: takes a token back (RFC 7009).

use actix_web::{HttpRequest, HttpResponse, web};

use super::admin::schemas;
use super::auth::{bearer, client};
use super::body;
use super::error::{ApiError, json, no_store};
use super::state::Worker;
use crate::keys::KeysUnusable;
use crate::oauth::error::OAuthError;
use crate::oauth::metadata::REVOCATION_PATH;
use crate::oauth::request::TokenQuestion;

/// In seconds: by as much the clock may be fast without that a revocation is lost by it.
const CLOCK_ERROR: i64 = 24 * 3600;

/// Takes a token back; 200 as well for what is no token of ours, or no longer one (RFC 7009 §2.2).
/// The answer is `{}` as JSON rather than nothing: some clients insist on it.
#[utoipa::path(
    post,
    path = REVOCATION_PATH,
    operation_id = "revoke",
    summary = "Take a token back (RFC 7009)",
    request_body(content = schemas::TokenQuestion, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = schemas::Nothing), schemas::ClientFailures),
    security(("client" = [])),
)]
pub async fn revoke(request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let mut asked = body::parsed(&request, payload, TokenQuestion::from_form, None).await?;
    let now = worker.now();
    let client = client::authenticate(
        worker,
        &request,
        asked.client_id.take(),
        asked.client_secret.take(),
        now,
    )
    .await?;
    let token = asked.token.ok_or(OAuthError::InvalidRequest("token is missing"))?;
    let verified = match worker.keys.verify(&token, now) {
        Err(KeysUnusable::NotLoaded) if worker.shared.readiness.warmed_up().await => worker.keys.verify(&token, now),
        verified => verified,
    };
    if let Ok(claims) = verified? {
        if *claims.client_id != *client.id.as_str() {
            return Err(OAuthError::AnothersToken.into());
        }
        // What ended long ago needs no revocation. What seems to have ended may become active again with the clock set right.
        if now.seconds() < claims.exp + CLOCK_ERROR {
            bearer::revoke(worker, &claims, now).await?;
        }
    }
    Ok(no_store(json(&mut HttpResponse::Ok())).body("{}"))
}
