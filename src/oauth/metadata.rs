//! The authorization server metadata document (RFC 8414 §2).

use serde::Serialize;
use utoipa::ToSchema;

use super::alg::Alg;
use super::client::AuthMethod;
use super::request::CLIENT_CREDENTIALS;

/// Path of the metadata document (RFC 8414 §3).
pub const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";
/// Path of the JWKS.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";
/// Path of the token endpoint.
pub const TOKEN_PATH: &str = "/token";

/// Path of the introspection endpoint.
pub const INTROSPECTION_PATH: &str = "/introspect";
/// Path of the revocation endpoint.
pub const REVOCATION_PATH: &str = "/revoke";

/// The metadata document. It lists only what is implemented, so a client can rely on it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Metadata {
    issuer: String,
    token_endpoint: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    jwks_uri: String,
    grant_types_supported: [&'static str; 1],
    /// RFC 8414 §2 requires this member and forbids an empty list. `none`, because there is no
    /// authorization endpoint.
    response_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [&'static str; 2],
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    revocation_endpoint_auth_methods_supported: [&'static str; 2],
    access_token_signing_alg_values_supported: [&'static str; 5],
}

impl Metadata {
    /// The document for an issuer, whose URL is also the base of every endpoint.
    pub fn new(issuer: &str) -> Self {
        let base = issuer.trim_end_matches('/');
        Self {
            issuer: issuer.to_owned(),
            token_endpoint: format!("{base}{TOKEN_PATH}"),
            introspection_endpoint: format!("{base}{INTROSPECTION_PATH}"),
            revocation_endpoint: format!("{base}{REVOCATION_PATH}"),
            jwks_uri: format!("{base}{JWKS_PATH}"),
            grant_types_supported: [CLIENT_CREDENTIALS],
            response_types_supported: ["none"],
            token_endpoint_auth_methods_supported: AuthMethod::ALL.map(AuthMethod::name),
            introspection_endpoint_auth_methods_supported: AuthMethod::ALL.map(AuthMethod::name),
            revocation_endpoint_auth_methods_supported: AuthMethod::ALL.map(AuthMethod::name),
            access_token_signing_alg_values_supported: Alg::ALL.map(Alg::name),
        }
    }
}
