//! `POST /token`: the client credentials grant over HTTP (RFC 6749 §4.4).

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};

use super::error::{ApiError, json, no_store};
use super::state::Worker;
use super::{body, client_auth};
use crate::oauth::error::OAuthError;
use crate::oauth::grant;
use crate::oauth::request::TokenRequest;
use crate::oauth::response;

/// Issues a token.
pub async fn issue(request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let mut asked = read(&request, payload).await?;
    let now = worker.now();
    let client = client_auth::authenticate(&request, asked.client_id.take(), asked.client_secret.take(), now).await?;
    let policy = worker.shared.policy.load();
    let id = worker.token_ids.borrow_mut().next(now);
    let claims = grant::client_credentials(&client, &asked, &policy, now, id)?;
    let token = worker.keys.sign(client.alg.unwrap_or(policy.alg), &claims)?;
    worker.recorder.record(&claims, now).await?;
    let answer = response::token(&token, claims.exp - claims.iat, claims.scope.as_str());
    Ok(no_store(json(&mut HttpResponse::Ok())).body(answer))
}

/// Reads the body as its media type says. The query string is never looked at (P7).
async fn read(request: &HttpRequest, payload: web::Payload) -> Result<TokenRequest, OAuthError> {
    let parse = match media_type(request) {
        Some(media) if media.eq_ignore_ascii_case("application/x-www-form-urlencoded") => TokenRequest::from_form,
        Some(media) if media.eq_ignore_ascii_case("application/json") => TokenRequest::from_json,
        _ => return Err(OAuthError::UnsupportedMediaType),
    };
    let body = body::read(payload, &Worker::of(request).shared.settings).await?;
    if body.is_empty() {
        return Err(OAuthError::InvalidRequest("the body is empty"));
    }
    parse(&body)
}

/// The media type without its parameters.
fn media_type(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}
