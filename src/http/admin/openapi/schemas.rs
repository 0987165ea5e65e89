//! Schemas of what is read and written by hand, and so has no type of its own.
#![expect(dead_code, reason = "only the schemas are read")]

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::api::client_fields::ClientFields;

/// A client as it is made: as it is changed, but that some members must be given.
pub struct NewClient;

impl PartialSchema for NewClient {
    fn schema() -> RefOr<Schema> {
        match ClientFields::schema() {
            RefOr::T(Schema::Object(mut members)) => {
                members.description = Some("A client as it is made.".to_owned());
                for name in ["name", "scope"] {
                    members.required.push(name.to_owned());
                    if let Some(RefOr::T(Schema::Object(member))) = members.properties.get_mut(name) {
                        member.schema_type = Type::String.into();
                    }
                }
                members.into()
            }
            other => other,
        }
    }
}

impl ToSchema for NewClient {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ClientFields::schemas(schemas);
    }
}

/// A token request. With HTTP Basic credentials, `client_id` and `client_secret` are left out.
#[derive(ToSchema)]
pub struct TokenRequestBody {
    grant_type: GrantType,
    /// Scope tokens separated by spaces.
    scope: Option<String>,
    /// The audience (RFC 8707).
    resource: Option<String>,
    /// Whether `/validate` accepts the token once only.
    one_time: Option<bool>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// The grants that there are.
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
