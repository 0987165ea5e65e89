//! `POST /token`: the client credentials grant over HTTP (RFC 6749 §4.4).

use actix_web::{HttpRequest, HttpResponse, web};

use super::admin::schemas::{ClientFailures, TokenRequestBody, TokenResponse};
use super::auth::client;
use super::body;
use super::error::{ApiError, json, no_store};
use super::state::Worker;
use crate::keys::KeysUnusable;
use crate::oauth::grant;
use crate::oauth::metadata::TOKEN_PATH;
use crate::oauth::request::TokenRequest;
use crate::oauth::response;

/// Issues a token.
#[utoipa::path(
    post,
    path = TOKEN_PATH,
    operation_id = "issueToken",
    summary = "Issue an access token (RFC 6749 §4.4)",
    request_body(content((TokenRequestBody = "application/x-www-form-urlencoded"), (TokenRequestBody = "application/json"))),
    responses((status = 200, body = TokenResponse), ClientFailures),
    security(("client" = [])),
)]
pub async fn issue(request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let mut asked = body::parsed(
        &request,
        payload,
        TokenRequest::from_form,
        Some(TokenRequest::from_json),
    )
    .await?;
    let now = worker.now();
    let client = client::authenticate(
        worker,
        &request,
        asked.client_id.take(),
        asked.client_secret.take(),
        now,
    )
    .await?;
    let policy = worker.shared.policy.load();
    let id = worker.token_ids.borrow_mut().next(now);
    let claims = grant::client_credentials(&client, &asked, &policy, now, id)?;
    let alg = client.alg.unwrap_or(policy.alg);
    let answer = || {
        response::token(claims.exp - claims.iat, claims.scope.as_str(), |answer| {
            worker.keys.sign(alg, &claims, now, answer)
        })
    };
    let answer = match answer() {
        Err(KeysUnusable::NotLoaded) if worker.shared.readiness.warmed_up().await => answer(),
        signed => signed,
    }?;
    worker.recorder.record(&claims, now).await?;
    worker.metrics.issued(alg, claims.one_time);
    Ok(no_store(json(&mut HttpResponse::Ok())).body(answer))
}
