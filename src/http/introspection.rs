//! `POST /introspect`: whether a token is active, and its claims (RFC 7662).

use actix_web::{HttpRequest, HttpResponse};

use super::access_log::{self, Access};
use super::admin::schemas;
use super::auth::attempt::Authenticated;
use super::auth::client::{self, FormCredentials, NotPresented};
use super::auth::{bearer, introspector};
use super::body::{self, Payload};
use super::caller::Caller;
use super::error::{ApiError, json, no_store};
use super::state::Worker;
use crate::oauth::error::{BearerError, OAuthError};
use crate::oauth::introspection;
use crate::oauth::metadata::INTROSPECTION_PATH;
use crate::oauth::request::TokenManagementRequest;
use crate::time::UnixMillis;

/// `POST /introspect`: the claims of an active token that the client may introspect, otherwise
/// `{"active":false}` (P33).
#[utoipa::path(
    post,
    path = INTROSPECTION_PATH,
    operation_id = "introspect",
    summary = "Whether a token is active (RFC 7662)",
    request_body(content = schemas::TokenQuestion, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = schemas::Introspection), schemas::ClientFailures, schemas::OAuthFailure<403>),
    security(("client" = []), ("bearer" = ["mintage:introspect"])),
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
    let by = match client::present(&caller, form) {
        Err(NotPresented::OtherScheme(client_id)) => {
            let by = by_token(worker, &caller, client_id, parameters.client_assertion, now);
            // Boxed, so that it does not enlarge the future of every other request.
            Box::pin(by).await?
        }
        presented => client::verify(worker, &caller, presented, now).await?,
    };
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

/// Authenticates the client by the token in the Authorization header. `client_id` is that of the
/// body, and `has_assertion` tells whether the body has credentials of another kind.
async fn by_token(
    worker: &Worker,
    caller: &Caller<'_>,
    client_id: Option<String>,
    has_assertion: bool,
    now: UnixMillis,
) -> Result<Authenticated, ApiError> {
    let token = match bearer::presented(caller) {
        Err(BearerError::NoToken) => {
            let presented = Err(NotPresented::OtherScheme(client_id));
            return client::verify(worker, caller, presented, now).await;
        }
        presented => presented?,
    };
    if has_assertion {
        return Err(client::TWO_METHODS.into());
    }
    let by = introspector::authenticate(worker, caller, token, now).await?;
    match client_id.is_some_and(|id| id != by.client.id.as_str()) {
        true => Err(client::TWO_IDS.into()),
        false => Ok(by),
    }
}
