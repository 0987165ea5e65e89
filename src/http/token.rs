//! `POST /token`: the client credentials grant over HTTP (RFC 6749 §4.4).

use actix_web::{HttpRequest, HttpResponse};

use super::access_log::{self, Access};
use super::admin::schemas::{ClientFailures, TokenRequestBody, TokenResponse};
use super::audit_log;
use super::auth::client::{FormCredentials, authenticate};
use super::body::{self, Payload};
use super::error::{ApiError, json, no_store};
use super::state::Worker;
use crate::keys::KeysUnusable;
use crate::oauth::grant;
use crate::oauth::metadata::TOKEN_PATH;
use crate::oauth::origin::Origin;
use crate::oauth::request::TokenRequest;
use crate::oauth::response;

/// `POST /token`: authenticates the client and issues a token.
#[utoipa::path(
    post,
    path = TOKEN_PATH,
    operation_id = "issueToken",
    summary = "Issue an access token (RFC 6749 §4.4)",
    request_body(content((TokenRequestBody = "application/x-www-form-urlencoded"), (TokenRequestBody = "application/json"))),
    responses((status = 200, body = TokenResponse), ClientFailures),
    security(("client" = [])),
)]
pub async fn issue(request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let mut token_request = body::parsed(
        request.headers(),
        payload,
        &worker.shared.settings,
        TokenRequest::from_form,
        Some(TokenRequest::from_json),
    )
    .await?;
    let now = worker.now();
    let form = FormCredentials {
        client_id: token_request.client_id.take(),
        client_secret: token_request.client_secret.take(),
    };
    let caller = worker.caller(&request);
    let by = authenticate(worker, &caller, form, now).await?;
    let client = &by.client;
    let policy = worker.shared.policy.load();
    let id = worker.token_ids.borrow_mut().next(now);
    let mut claims = grant::client_credentials(client, &token_request, &policy, now, id)?;
    if claims.aud.is_only(&policy.admin_audience) {
        // A token for `/admin` ends with the secret that obtained it.
        claims.secret_id = Some(by.secret_id.clone());
    }
    let alg = client.alg.unwrap_or(policy.alg);
    let sign = || {
        response::token(claims.exp - claims.iat, claims.scope.as_str(), |body| {
            worker.keys.sign(alg, &claims, now, body)
        })
    };
    let body = match sign() {
        Err(KeysUnusable::NotLoaded) if worker.shared.readiness.warmed_up().await => sign(),
        signed => signed,
    };
    let body = match body {
        Err(KeysUnusable::TokenTooLong) => return Err(grant::too_long(&token_request).into()),
        signed => signed?,
    };
    let origin = Origin {
        secret_id: by.secret_id.clone(),
        client_ip: caller.known_address(),
    };
    worker.recorder.record(&claims, origin, now).await?;
    access_log::note(Access::Issued, &caller, &by, &claims.jti);
    worker.metrics.issued(alg, claims.one_time);
    if claims.secret_id.is_some() {
        audit_log::signed_in(worker, &caller, &claims, now);
    }
    Ok(no_store(json(&mut HttpResponse::Ok())).body(body))
}
