//! Schemas of what is read and written by hand, and so has no type of its own.
#![expect(dead_code, reason = "only the schemas are read")]

use utoipa::ToSchema;

/// A token request. With HTTP Basic credentials, `client_id` and `client_secret` are left out.
#[derive(ToSchema)]
pub struct TokenRequestBody {
    /// `client_credentials`
    grant_type: String,
    /// Scope tokens separated by spaces.
    scope: Option<String>,
    /// The audience (RFC 8707).
    resource: Option<String>,
    /// Whether `/validate` accepts the token once only.
    one_time: Option<bool>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// RFC 6749 §5.1.
#[derive(ToSchema)]
pub struct TokenResponse {
    access_token: String,
    token_type: String,
    expires_in: i64,
    scope: String,
}

/// A token that somebody asks about, or takes back.
#[derive(ToSchema)]
pub struct TokenQuestion {
    token: String,
    token_type_hint: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// RFC 7662 §2.2; a token that is not active has no other member than `active`.
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
    #[schema(value_type = Value)]
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

/// How the server is.
#[derive(ToSchema)]
pub struct Status {
    status: String,
    reason: Option<String>,
}

/// RFC 6749 §5.2.
#[derive(ToSchema)]
pub struct OAuthRefusal {
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
