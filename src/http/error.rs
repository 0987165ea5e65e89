//! Errors as HTTP: OAuth endpoints answer RFC 6749 §5.2 JSON, admin endpoints RFC 9457 problem documents.

use std::fmt;

use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::client_fields::MalformedClient;
use crate::keys::KeysUnusable;
use crate::oauth::error::{OAuthError, RetryAfter};
use crate::oauth::response;
use crate::records::queue::NotRecorded;
use crate::unavailable::Unavailable;

/// What a 503 says of when to try again: nobody knows, and a second is long for a server that recovers.
const SOON: RetryAfter = RetryAfter(1);

/// Why a handler did not do what it was asked.
#[derive(Debug)]
pub enum ApiError {
    /// On an OAuth endpoint.
    OAuth(OAuthError),
    /// On an admin endpoint.
    Admin(AdminError),
}

/// Why an admin endpoint refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminError {
    /// No bearer token (RFC 6750 §3.1: no error code then).
    NoToken,
    /// The Authorization header cannot be read, or comes twice.
    MalformedToken,
    /// The token is not active here.
    InvalidToken,
    /// The token lacks the scope that the challenge names.
    InsufficientScope(&'static str),
    /// It cannot be told now.
    Unavailable,
    /// What was asked for cannot be done; the text says why.
    Refused(StatusCode, &'static str),
    /// A member of the body cannot be as it is.
    Malformed(MalformedClient),
}

impl ApiError {
    /// The answer.
    pub fn response(&self) -> HttpResponse {
        match self {
            Self::OAuth(error) => oauth_response(*error),
            Self::Admin(error) => admin_response(*error),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.response().status()
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}

impl From<OAuthError> for ApiError {
    fn from(error: OAuthError) -> Self {
        Self::OAuth(error)
    }
}

impl From<Unavailable> for ApiError {
    fn from(_: Unavailable) -> Self {
        Self::OAuth(OAuthError::TemporarilyUnavailable)
    }
}

impl From<NotRecorded> for ApiError {
    fn from(_: NotRecorded) -> Self {
        Self::OAuth(OAuthError::TemporarilyUnavailable)
    }
}

impl From<KeysUnusable> for ApiError {
    fn from(unusable: KeysUnusable) -> Self {
        match unusable {
            KeysUnusable::NotLoaded => Self::OAuth(OAuthError::TemporarilyUnavailable),
            KeysUnusable::Broken(error) => {
                log::error!(error:%; "signing key unusable");
                Self::OAuth(OAuthError::ServerError)
            }
        }
    }
}

/// Nothing of an OAuth answer may be kept by anybody (RFC 6749 §5.1).
pub fn no_store(builder: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    builder
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .insert_header((PRAGMA, HeaderValue::from_static("no-cache")))
}

/// `Content-Type: application/json`.
pub fn json(builder: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    builder.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
}

/// `Retry-After`, on every 503.
pub fn retry_later(builder: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    builder.insert_header((RETRY_AFTER, HeaderValue::from(SOON.0)))
}

fn oauth_response(error: OAuthError) -> HttpResponse {
    let status = StatusCode::from_u16(error.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut builder = HttpResponse::build(status);
    no_store(json(&mut builder));
    match status {
        StatusCode::UNAUTHORIZED => {
            let challenge = HeaderValue::from_static("Basic realm=\"mintage\", charset=\"UTF-8\"");
            builder.insert_header((WWW_AUTHENTICATE, challenge));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            retry_later(&mut builder);
        }
        // What is still on its way is not read any more.
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
            builder.force_close();
        }
        _ => {}
    }
    if let OAuthError::TooManyFailures(time) = error {
        builder.insert_header((RETRY_AFTER, HeaderValue::from(time.0)));
    }
    // For the metrics, which go by the code: the status alone does not tell it.
    builder.extensions_mut().insert(error);
    builder.body(response::error(error))
}

/// A problem document (RFC 9457 §3.1).
#[derive(Serialize, ToSchema)]
pub struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
}

/// The answer of an admin endpoint that does not do what it was asked.
pub fn problem(status: StatusCode, detail: &str) -> HttpResponse {
    let document = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail,
    };
    let mut builder = HttpResponse::build(status);
    no_store(&mut builder).insert_header((CONTENT_TYPE, HeaderValue::from_static("application/problem+json")));
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            retry_later(&mut builder);
        }
        // What is still on its way is not read any more.
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
            builder.force_close();
        }
        _ => {}
    }
    builder.body(serde_json::to_string(&document).expect("a problem is made of strings and a number"))
}

fn admin_response(error: AdminError) -> HttpResponse {
    let (status, detail, challenge) = match error {
        AdminError::NoToken => (
            StatusCode::UNAUTHORIZED,
            "a bearer token is required",
            Some("Bearer realm=\"mintage\""),
        ),
        AdminError::MalformedToken => (
            StatusCode::BAD_REQUEST,
            "there must be one Authorization header of the form: Bearer TOKEN",
            Some("Bearer realm=\"mintage\", error=\"invalid_request\""),
        ),
        AdminError::InvalidToken => (
            StatusCode::UNAUTHORIZED,
            "the token is not active",
            Some("Bearer realm=\"mintage\", error=\"invalid_token\""),
        ),
        AdminError::InsufficientScope(challenge) => (
            StatusCode::FORBIDDEN,
            "the token lacks the scope for this",
            Some(challenge),
        ),
        AdminError::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "this cannot be told now, try again later",
            None,
        ),
        AdminError::Refused(status, detail) => (status, detail, None),
        AdminError::Malformed(malformed) => return problem(StatusCode::BAD_REQUEST, &malformed.to_string()),
    };
    let mut response = problem(status, detail);
    if let Some(challenge) = challenge {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

/// The method is not one that the resource knows (RFC 9110 §15.5.6).
pub fn method_not_allowed(admin: bool, allowed: HeaderValue) -> HttpResponse {
    let mut response = match admin {
        true => problem(
            StatusCode::METHOD_NOT_ALLOWED,
            "the method is not one that this resource knows",
        ),
        false => oauth_response(OAuthError::MethodNotAllowed),
    };
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// The body declares itself too large (P6). What is still on its way is not read any more.
pub fn body_too_large(admin: bool) -> HttpResponse {
    if !admin {
        return oauth_response(OAuthError::BodyTooLarge);
    }
    let mut response = problem(
        StatusCode::PAYLOAD_TOO_LARGE,
        OAuthError::BodyTooLarge.row().description,
    );
    response.head_mut().set_connection_type(ConnectionType::Close);
    response
}

/// There is nothing at this path.
pub fn not_found(admin: bool) -> HttpResponse {
    if admin {
        return problem(StatusCode::NOT_FOUND, "there is nothing at this path");
    }
    let mut builder = HttpResponse::NotFound();
    no_store(json(&mut builder));
    builder.body(r#"{"error":"invalid_request","error_description":"there is nothing at this path"}"#)
}
