//! `POST /revoke`: revokes a token (RFC 7009).

use actix_web::{HttpRequest, HttpResponse};

use super::access_log::{self, Access};
use super::admin::schemas;
use super::auth::client::{FormCredentials, authenticate};
use super::body::{self, Payload};
use super::error::{ApiError, json, no_store};
use super::state::Worker;
use crate::keys::KeysUnusable;
use crate::oauth::activity::InvalidatedToken;
use crate::oauth::error::OAuthError;
use crate::oauth::metadata::REVOCATION_PATH;
use crate::oauth::request::TokenManagementRequest;

/// How far the clock may be ahead, in seconds, without losing a revocation.
const MAX_CLOCK_ERROR: i64 = 24 * 3600;

/// `POST /revoke`: 200 also for an unknown, malformed or expired token (RFC 7009 §2.2). The body is
/// `{}`, because some clients require JSON.
#[utoipa::path(
    post,
    path = REVOCATION_PATH,
    operation_id = "revoke",
    summary = "Revoke a token (RFC 7009)",
    request_body(content = schemas::TokenQuestion, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = schemas::Nothing), schemas::ClientFailures),
    security(("client" = [])),
)]
pub async fn revoke(request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let mut parameters = body::parsed(
        request.headers(),
        payload,
        &worker.shared.settings,
        TokenManagementRequest::from_form,
        None,
    )
    .await?;
    let now = worker.now();
    let form = FormCredentials {
        client_id: parameters.client_id.take(),
        client_secret: parameters.client_secret.take(),
    };
    let caller = worker.caller(&request);
    let by = authenticate(worker, &caller, form, now).await?;
    let token = parameters.token.ok_or(OAuthError::InvalidRequest("token is missing"))?;
    let verified = match worker.keys.verify(&token, now) {
        Err(KeysUnusable::NotLoaded) if worker.shared.readiness.warmed_up().await => worker.keys.verify(&token, now),
        verified => verified,
    };
    if let Ok(claims) = verified? {
        if *claims.client_id != *by.client.id.as_str() {
            return Err(OAuthError::AnothersToken.into());
        }
        // A token that expired long ago needs no revocation. One that seems to have expired since
        // may become active again when the clock is corrected.
        if now.seconds() < claims.exp + MAX_CLOCK_ERROR {
            let token = InvalidatedToken::from(&claims);
            worker.shared.revocations.revoke(token, now).await?;
            access_log::note(Access::Revoked, &caller, &by, &claims.jti);
        }
    }
    Ok(no_store(json(&mut HttpResponse::Ok())).body("{}"))
}
