//! `POST /introspect`: whether a token is active, and its claims (RFC 7662).

use actix_web::{HttpRequest, HttpResponse};

use super::access_log::{self, Access};
use super::admin::schemas;
use super::auth::bearer;
use super::auth::client::{FormCredentials, authenticate};
use super::body::{self, Payload};
use super::error::{ApiError, json, no_store};
use super::state::Worker;
use crate::oauth::error::OAuthError;
use crate::oauth::introspection;
use crate::oauth::metadata::INTROSPECTION_PATH;
use crate::oauth::request::TokenManagementRequest;

/// `POST /introspect`: the claims of an active token that the client may introspect, otherwise
/// `{"active":false}` (P33).
#[utoipa::path(
    post,
    path = INTROSPECTION_PATH,
    operation_id = "introspect",
    summary = "Whether a token is active (RFC 7662)",
    request_body(content = schemas::TokenQuestion, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = schemas::Introspection), schemas::ClientFailures),
    security(("client" = [])),
)]
pub async fn introspect(request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
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
    let claims = bearer::active_when_warm(worker, &token, None, now).await?;
    let policy = worker.shared.policy.load();
    let visible = claims.filter(|claims| introspection::may_introspect(&by.client, claims, &policy.admin_audience));
    let mut builder = HttpResponse::Ok();
    no_store(json(&mut builder));
    Ok(match visible {
        Some(claims) => {
            access_log::note(Access::Introspected, &caller, &by, &claims.jti);
            builder.body(introspection::active(&claims))
        }
        None => builder.body(introspection::INACTIVE),
    })
}
