//! Errors as HTTP responses.
//!
//! A handler names the error; its resource names the [`Format`]: the JSON of RFC 6749 §5.2 at the
//! OAuth endpoints, problem documents (RFC 9457) at the admin API, and for gateways the OAuth JSON
//! with a bearer challenge.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use utoipa::ToSchema;

use super::audit_log::Detail;
use super::challenge;
use crate::api::client_fields::MalformedClient;
use crate::keys::KeysUnusable;
use crate::oauth::error::{self, BearerError, OAuthError, RetryAfter, Row};
use crate::oauth::response;
use crate::records::queue::NotRecorded;
use crate::unavailable::Unavailable;

/// `Retry-After` of a 503. How long an outage lasts is not known, and most end within a second.
const UNAVAILABLE_RETRY: RetryAfter = RetryAfter(1);

/// Why a request fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// An error of the OAuth endpoints, or of a request body.
    OAuth(OAuthError),
    /// The bearer token does not give access.
    Bearer(BearerError),
    /// The request is denied whatever its token; the text is the description.
    Denied(&'static str),
    /// The status, and why the request cannot be served.
    Problem(StatusCode, &'static str),
    /// A member of a client's JSON has a value that it cannot have.
    MalformedMember(MalformedClient),
    /// What is wrong with the body or the query of an operator. It may have a name from the request.
    Malformed(Box<str>),
    /// The database or another dependency cannot be reached, or what it holds is not loaded yet.
    Unavailable,
}

/// How a resource writes its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `{"error","error_description"}` (RFC 6749 §5.2).
    OAuth,
    /// A problem document (RFC 9457).
    Problem,
    /// As [`Format::OAuth`], for a gateway: the status is 401 or 403 whatever is wrong with the
    /// token, because gateways take other statuses for a failure of the authorization server (P40),
    /// and every denial carries a challenge.
    ForwardAuth,
}

impl Format {
    /// The format at a path that has no resource, or that is rejected before its resource is known.
    pub fn of_path(path: &str) -> Self {
        match is_of_admin(path) {
            true => Self::Problem,
            false => Self::OAuth,
        }
    }
}

/// Whether a path belongs to the admin API.
pub fn is_of_admin(path: &str) -> bool {
    path.strip_prefix("/admin")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl ApiError {
    /// The response.
    pub fn response(&self, format: Format) -> HttpResponse {
        match (format, self) {
            (Format::Problem, _) => self.problem_response(),
            (_, Self::OAuth(error)) => oauth_response(*error),
            (_, Self::Unavailable) => oauth_response(OAuthError::TemporarilyUnavailable),
            (Format::ForwardAuth, Self::Bearer(BearerError::MalformedToken)) => {
                let error = BearerError::MalformedToken;
                let row = Row {
                    status: 401,
                    ..error.row()
                };
                challenged(json_response(row), challenge::bearer(&error))
            }
            (_, Self::Bearer(error)) => challenged(json_response(error.row()), challenge::bearer(error)),
            (_, Self::Denied(why)) => challenged(json_response(error::access_denied(why)), challenge::bearer_realm()),
            (_, Self::Problem(status, why)) => json_response(error::invalid_request(why, status.as_u16())),
            (_, Self::MalformedMember(_) | Self::Malformed(_)) => json_response(error::invalid_request(
                "a member is malformed",
                StatusCode::BAD_REQUEST.as_u16(),
            )),
        }
    }

    fn problem_response(&self) -> HttpResponse {
        let (status, detail) = match self {
            Self::OAuth(error) => detail_of(error.row()),
            Self::Bearer(error) => detail_of(error.row()),
            Self::Denied(why) => detail_of(error::access_denied(why)),
            Self::Problem(status, why) => (*status, Cow::Borrowed(*why)),
            Self::MalformedMember(malformed) => (StatusCode::BAD_REQUEST, Cow::Owned(malformed.to_string())),
            Self::Malformed(detail) => (StatusCode::BAD_REQUEST, Cow::Owned(detail.to_string())),
            Self::Unavailable => detail_of(OAuthError::TemporarilyUnavailable.row()),
        };
        let mut response = problem(status, &detail);
        // The audit log repeats nothing from a request, which may have a secret in the wrong place.
        let noted = match self {
            Self::Malformed(_) => Cow::Borrowed("the body or the query is malformed"),
            _ => detail,
        };
        response.extensions_mut().insert(Detail(noted));
        match self {
            Self::Bearer(error) => challenged(response, challenge::bearer(error)),
            Self::Denied(_) => challenged(response, challenge::bearer_realm()),
            _ => response,
        }
    }
}

impl From<OAuthError> for ApiError {
    fn from(error: OAuthError) -> Self {
        Self::OAuth(error)
    }
}

impl From<BearerError> for ApiError {
    fn from(error: BearerError) -> Self {
        Self::Bearer(error)
    }
}

impl From<Unavailable> for ApiError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl From<NotRecorded> for ApiError {
    fn from(_: NotRecorded) -> Self {
        Self::Unavailable
    }
}

impl From<KeysUnusable> for ApiError {
    fn from(unusable: KeysUnusable) -> Self {
        match unusable {
            KeysUnusable::NotLoaded => Self::Unavailable,
            // The token endpoint, which knows what the client asked for, has its own description.
            KeysUnusable::TokenTooLong => Self::OAuth(OAuthError::InvalidScope("the token would be too long")),
            KeysUnusable::Broken(error) => {
                log::error!(error:%; "signing key unusable");
                Self::OAuth(OAuthError::ServerError)
            }
        }
    }
}

/// No cache may store the response (RFC 6749 §5.1).
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
    builder.insert_header((RETRY_AFTER, HeaderValue::from(UNAVAILABLE_RETRY.0)))
}

fn oauth_response(error: OAuthError) -> HttpResponse {
    let row = error.row();
    let mut builder = HttpResponse::build(status_of(row));
    no_store(json(&mut builder));
    add_for_status(&mut builder, status_of(row));
    match error {
        OAuthError::InvalidClient => {
            builder.insert_header((WWW_AUTHENTICATE, challenge::basic()));
        }
        OAuthError::TooManyFailures(wait) => {
            builder.insert_header((RETRY_AFTER, HeaderValue::from(wait.0)));
        }
        _ => {}
    }
    // The middleware counts errors by their code, which the status alone does not tell.
    builder.extensions_mut().insert(error);
    builder.body(response::error(row))
}

fn json_response(row: Row) -> HttpResponse {
    let mut builder = HttpResponse::build(status_of(row));
    no_store(json(&mut builder)).body(response::error(row))
}

/// A problem document (RFC 9457 §3.1).
#[derive(Serialize, ToSchema)]
pub struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    /// What is wrong. For a malformed body or query, it names the member or parameter and what it must
    /// be, or the line and column where the JSON breaks.
    detail: &'a str,
}

fn problem(status: StatusCode, detail: &str) -> HttpResponse {
    let document = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail,
    };
    let mut builder = HttpResponse::build(status);
    no_store(&mut builder).insert_header((CONTENT_TYPE, HeaderValue::from_static("application/problem+json")));
    add_for_status(&mut builder, status);
    builder.body(response::line(&document))
}

fn add_for_status(builder: &mut HttpResponseBuilder, status: StatusCode) {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            retry_later(builder);
        }
        // The rest of the body is not read, so the connection cannot be used again.
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
            builder.force_close();
        }
        _ => {}
    }
}

fn challenged(mut response: HttpResponse, challenge: HeaderValue) -> HttpResponse {
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn status_of(row: Row) -> StatusCode {
    StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn detail_of(row: Row) -> (StatusCode, Cow<'static, str>) {
    (status_of(row), Cow::Borrowed(row.description))
}

/// The authorization endpoint supports no response type (RFC 6749 §4.1.2.1).
pub fn unsupported_response_type() -> HttpResponse {
    json_response(error::unsupported_response_type())
}

/// The resource does not support the method (RFC 9110 §15.5.6).
pub fn method_not_allowed(format: Format, allowed: HeaderValue) -> HttpResponse {
    let mut response = ApiError::OAuth(OAuthError::MethodNotAllowed).response(format);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// No resource has this path.
pub fn not_found(format: Format) -> HttpResponse {
    ApiError::Problem(StatusCode::NOT_FOUND, "path not found").response(format)
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;
    use actix_web::http::ConnectionType;
    use std::fmt::Write;

    use super::*;
    use crate::oauth::scope::Scope;

    /// Status, the headers that differ from one error to another, whether the connection is closed,
    /// and the body.
    fn written(response: HttpResponse) -> String {
        let mut text = response.status().as_u16().to_string();
        for name in [ALLOW, RETRY_AFTER, WWW_AUTHENTICATE] {
            if let Some(value) = response.headers().get(&name) {
                write!(text, " {name}: {}", value.to_str().unwrap()).unwrap();
            }
        }
        if response.head().connection_type() == ConnectionType::Close {
            text.push_str(" close");
        }
        assert_eq!(response.headers().get(CACHE_CONTROL).unwrap(), "no-store");
        assert_eq!(response.headers().get(PRAGMA).unwrap(), "no-cache");
        let media = response.headers().get(CONTENT_TYPE).unwrap().to_str().unwrap();
        text.push_str(match media {
            "application/json" => " ",
            "application/problem+json" => " problem ",
            other => panic!("{other}"),
        });
        let body = response.into_body().try_into_bytes().unwrap();
        let body = std::str::from_utf8(&body).unwrap();
        text + body.strip_suffix('\n').expect("a body ends with a newline")
    }

    fn assert_written(error: ApiError, format: Format, expected: &str) {
        assert_eq!(written(error.response(format)), expected, "{error:?} {format:?}");
    }

    #[test]
    fn every_error_of_an_oauth_endpoint_has_its_status_headers_and_json() {
        for (error, head, code, description) in [
            (
                OAuthError::InvalidRequest("a parameter is repeated"),
                "400",
                "invalid_request",
                "a parameter is repeated",
            ),
            (
                OAuthError::UnsupportedMediaType("the media type must be x"),
                "415",
                "invalid_request",
                "the media type must be x",
            ),
            (
                OAuthError::BodyTooLarge,
                "413 close",
                "invalid_request",
                "the body is too large",
            ),
            (
                OAuthError::BodyTimeout,
                "408 close",
                "invalid_request",
                "the body did not arrive in time",
            ),
            (
                OAuthError::InvalidClient,
                "401 www-authenticate: Basic realm=\"mintage\", charset=\"UTF-8\"",
                "invalid_client",
                "client authentication failed",
            ),
            (
                OAuthError::TooManyFailures(RetryAfter(7)),
                "429 retry-after: 7",
                "temporarily_unavailable",
                "too many failed authentications, try again later",
            ),
            (
                OAuthError::TemporarilyUnavailable,
                "503 retry-after: 1",
                "temporarily_unavailable",
                "the server cannot answer now, try again later",
            ),
            (
                OAuthError::ServerError,
                "500",
                "server_error",
                "the server met an unexpected condition",
            ),
        ] {
            let expected = format!("{head} {{\"error\":\"{code}\",\"error_description\":\"{description}\"}}");
            // A gateway gets what the body of a request is rejected with in the same form.
            for format in [Format::OAuth, Format::ForwardAuth] {
                assert_written(error.into(), format, &expected);
            }
        }
        assert_eq!(
            ApiError::Unavailable.response(Format::OAuth).status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
    }

    #[test]
    fn p40_a_gateway_gets_401_or_403_and_a_challenge() {
        let scope = Scope::parse("orders:read orders:write").unwrap();
        for (error, expected) in [
            (
                BearerError::NoToken.into(),
                "401 www-authenticate: Bearer realm=\"mintage\" \
                 {\"error\":\"invalid_request\",\"error_description\":\"a bearer token is required\"}",
            ),
            (
                BearerError::MalformedToken.into(),
                "401 www-authenticate: Bearer realm=\"mintage\", error=\"invalid_request\" \
                 {\"error\":\"invalid_request\",\
                 \"error_description\":\"there must be one Authorization header of the form: Bearer TOKEN\"}",
            ),
            (
                BearerError::InvalidToken.into(),
                "401 www-authenticate: Bearer realm=\"mintage\", error=\"invalid_token\" \
                 {\"error\":\"invalid_token\",\"error_description\":\"the token is not active\"}",
            ),
            (
                BearerError::InsufficientScope(scope).into(),
                "403 www-authenticate: Bearer realm=\"mintage\", error=\"insufficient_scope\", \
                 scope=\"orders:read orders:write\" \
                 {\"error\":\"insufficient_scope\",\"error_description\":\"the token lacks the scope for this\"}",
            ),
            (
                ApiError::Denied("no route allows this request"),
                "403 www-authenticate: Bearer realm=\"mintage\" \
                 {\"error\":\"access_denied\",\"error_description\":\"no route allows this request\"}",
            ),
        ] {
            assert_written(error, Format::ForwardAuth, expected);
        }
    }

    #[test]
    fn every_error_of_the_admin_api_is_a_problem_document() {
        let scope = Scope::parse("mintage:read").unwrap();
        for (error, head, title, status, detail) in [
            (
                BearerError::NoToken.into(),
                "401 www-authenticate: Bearer realm=\"mintage\"",
                "Unauthorized",
                401,
                "a bearer token is required",
            ),
            (
                BearerError::MalformedToken.into(),
                "400 www-authenticate: Bearer realm=\"mintage\", error=\"invalid_request\"",
                "Bad Request",
                400,
                "there must be one Authorization header of the form: Bearer TOKEN",
            ),
            (
                BearerError::InvalidToken.into(),
                "401 www-authenticate: Bearer realm=\"mintage\", error=\"invalid_token\"",
                "Unauthorized",
                401,
                "the token is not active",
            ),
            (
                BearerError::InsufficientScope(scope).into(),
                "403 www-authenticate: Bearer realm=\"mintage\", error=\"insufficient_scope\", scope=\"mintage:read\"",
                "Forbidden",
                403,
                "the token lacks the scope for this",
            ),
            (
                BearerError::NotHeld.into(),
                "403 www-authenticate: Bearer realm=\"mintage\", error=\"insufficient_scope\"",
                "Forbidden",
                403,
                "scopes that begin with mintage: can be granted, and a client that has them changed, only by an \
                 operator that holds them",
            ),
            (
                ApiError::Problem(StatusCode::CONFLICT, "there is one already"),
                "409",
                "Conflict",
                409,
                "there is one already",
            ),
            (
                ApiError::MalformedMember(MalformedClient {
                    member: "name",
                    must_be: "given",
                }),
                "400",
                "Bad Request",
                400,
                "name must be given",
            ),
            (
                ApiError::Unavailable,
                "503 retry-after: 1",
                "Service Unavailable",
                503,
                "the server cannot answer now, try again later",
            ),
            (
                OAuthError::BodyTooLarge.into(),
                "413 close",
                "Payload Too Large",
                413,
                "the body is too large",
            ),
            (
                OAuthError::UnsupportedMediaType("the media type must be x").into(),
                "415",
                "Unsupported Media Type",
                415,
                "the media type must be x",
            ),
        ] {
            let expected = format!(
                "{head} problem {{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"detail\":\"{detail}\"}}"
            );
            assert_written(error, Format::Problem, &expected);
        }
    }

    #[test]
    fn an_unknown_path_and_an_unknown_method_are_answered_in_the_format_of_the_path() {
        assert_eq!(
            written(not_found(Format::of_path("/nothing"))),
            "404 {\"error\":\"invalid_request\",\"error_description\":\"path not found\"}"
        );
        assert_eq!(
            written(not_found(Format::of_path("/admin/nothing"))),
            "404 problem {\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\
             \"detail\":\"path not found\"}"
        );
        assert_eq!(
            written(method_not_allowed(Format::OAuth, HeaderValue::from_static("POST"))),
            "405 allow: POST {\"error\":\"invalid_request\",\
             \"error_description\":\"method not allowed\"}"
        );
    }
}
