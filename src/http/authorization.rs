//! `/authorize`: an authorization endpoint that supports no response type (RFC 6749 §3.1).
//!
//! It exists because common readers of the metadata reject a document without an
//! `authorization_endpoint`. No parameter is read: the response is the same for every request, and
//! never a redirect.

use actix_web::HttpResponse;

use super::admin::schemas::OAuthFailure;
use super::error;
use crate::oauth::metadata::AUTHORIZATION_PATH;

/// `GET /authorize`
#[utoipa::path(
    get,
    path = AUTHORIZATION_PATH,
    operation_id = "authorize",
    summary = "Always an error: no response type is supported (RFC 6749 §3.1.1)",
    responses(OAuthFailure<400>, OAuthFailure<413>),
)]
pub async fn authorize() -> HttpResponse {
    error::unsupported_response_type()
}

/// `POST /authorize`, with any body.
#[utoipa::path(
    post,
    path = AUTHORIZATION_PATH,
    operation_id = "authorizeByForm",
    summary = "Always an error: no response type is supported (RFC 6749 §3.1.1)",
    responses(OAuthFailure<400>, OAuthFailure<413>),
)]
pub async fn authorize_by_form() -> HttpResponse {
    error::unsupported_response_type()
}
