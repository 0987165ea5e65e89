//! `POST /introspect`: is this token active, and what does it say? (RFC 7662)

use actix_web::{HttpRequest, HttpResponse, web};

use super::admin::schemas;
use super::auth::{bearer, client};
use super::body;
use super::error::{ApiError, json, no_store};
use super::state::Worker;
use crate::oauth::error::OAuthError;
use crate::oauth::introspection;
use crate::oauth::metadata::INTROSPECTION_PATH;
use crate::oauth::request::TokenQuestion;

/// Answers a client about a token; `{"active":false}` for everything it may not know (P33).
#[utoipa::path(
    post,
    path = INTROSPECTION_PATH,
    operation_id = "introspect",
    summary = "Whether a token is active (RFC 7662)",
    request_body(content = schemas::TokenQuestion, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = schemas::Introspection), schemas::ClientFailures),
    security(("client" = [])),
)]
pub async fn introspect(request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, ApiError> {
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
    let claims = bearer::active_when_warm(worker, &token, None, now).await?;
    let told = claims.filter(|claims| introspection::may_ask(&client, claims));
    let mut builder = HttpResponse::Ok();
    no_store(json(&mut builder));
    Ok(match told {
        Some(claims) => builder.body(introspection::active(&claims)),
        None => builder.body(introspection::INACTIVE),
    })
}
