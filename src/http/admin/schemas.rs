//! Schemas of documents that have no Rust type because they are parsed or written by hand, and the
//! failures that many operations share.
#![expect(dead_code, reason = "only the schemas are read")]

use std::collections::BTreeMap;

use utoipa::openapi::content::Content;
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::http::error::Problem;

/// A token request. With HTTP Basic credentials, `client_id` and `client_secret` are left out.
#[derive(ToSchema)]
pub struct TokenRequestBody {
    grant_type: GrantType,
    /// Scope tokens separated by spaces.
    scope: Option<String>,
    /// The audience, as a URI (RFC 8707). May be repeated; in JSON also an array.
    resource: Option<String>,
    /// As `resource`, but need not be a URI.
    audience: Option<String>,
    /// Whether `/validate` accepts the token once only.
    one_time: Option<bool>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// The supported grants.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749 §4.4.
    ClientCredentials,
}

/// RFC 6749 §5.1.
#[derive(ToSchema)]
pub struct TokenResponse {
    access_token: String,
    token_type: String,
    expires_in: i64,
    scope: String,
}

/// A token to introspect or to revoke.
#[derive(ToSchema)]
pub struct TokenQuestion {
    token: String,
    token_type_hint: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// RFC 7662 §2.2. For a token that is not active, `active` is the only member.
#[derive(ToSchema)]
pub struct Introspection {
    active: bool,
    scope: Option<String>,
    client_id: Option<String>,
    token_type: Option<String>,
    exp: Option<i64>,
    iat: Option<i64>,
    sub: Option<String>,
    /// A string, or an array of several.
    #[schema(value_type = Option<Value>)]
    aud: Option<serde_json::Value>,
    iss: Option<String>,
    jti: Option<String>,
}

/// `{}`
#[derive(ToSchema)]
pub struct Nothing {}

/// RFC 7517 §5.
#[derive(ToSchema)]
pub struct Jwks {
    #[schema(value_type = Vec<Object>)]
    keys: Vec<serde_json::Value>,
}

/// The health of the server.
#[derive(ToSchema)]
pub struct Status {
    status: String,
    reason: Option<String>,
}

/// RFC 6749 §5.2.
#[derive(ToSchema)]
pub struct OAuthErrorResponse {
    error: String,
    error_description: String,
}

/// An OpenAPI document.
#[derive(ToSchema)]
pub struct OpenApiDocument {
    openapi: String,
    #[schema(value_type = Object)]
    info: serde_json::Value,
    #[schema(value_type = Object)]
    paths: serde_json::Value,
}

/// A failure with a problem document (RFC 9457).
pub struct Failure<const STATUS: u16>;

/// The failures that every operation of an operator may have.
pub struct OperatorFailures;

/// The additional failures of an operation that reads a JSON body.
pub struct BodyFailures;

/// A failure with the JSON of RFC 6749 §5.2.
pub struct OAuthFailure<const STATUS: u16>;

/// The failures that every operation of an authenticated client may have.
pub struct ClientFailures;

/// The failures of `/validate`.
pub struct GatewayFailures;

type Responses = BTreeMap<String, RefOr<Response>>;

impl<const STATUS: u16> IntoResponses for Failure<STATUS> {
    fn responses() -> Responses {
        problems(&[STATUS])
    }
}

impl IntoResponses for OperatorFailures {
    fn responses() -> Responses {
        problems(&[400, 401, 403, 413, 500, 503])
    }
}

impl IntoResponses for BodyFailures {
    fn responses() -> Responses {
        problems(&[408, 415])
    }
}

impl<const STATUS: u16> IntoResponses for OAuthFailure<STATUS> {
    fn responses() -> Responses {
        oauth_failures(&[STATUS])
    }
}

impl IntoResponses for ClientFailures {
    fn responses() -> Responses {
        oauth_failures(&[400, 401, 408, 413, 415, 429, 500, 503])
    }
}

impl IntoResponses for GatewayFailures {
    fn responses() -> Responses {
        oauth_failures(&[400, 401, 403, 408, 413, 500, 503])
    }
}

fn problems(statuses: &[u16]) -> Responses {
    failures::<Problem<'_>>("application/problem+json", statuses)
}

fn oauth_failures(statuses: &[u16]) -> Responses {
    failures::<OAuthErrorResponse>("application/json", statuses)
}

fn failures<T: ToSchema>(media_type: &str, statuses: &[u16]) -> Responses {
    let content = Content::new(Some(Ref::from_schema_name(T::name())));
    let response = ResponseBuilder::new().content(media_type, content).build();
    let of = |status: &u16| (status.to_string(), response.clone().into());
    statuses.iter().map(of).collect()
}
