//! The record of an issued token, as the admin API shows it.

use serde::Serialize;
use utoipa::ToSchema;

/// The record of a token; the token itself is not stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenDocument {
    /// The token id (`jti`), by which it is revoked.
    pub jti: String,
    /// The client that it was issued to.
    pub client_id: String,
    /// Its scopes, space-separated.
    pub scope: String,
    /// Its audiences, space-separated.
    pub audience: String,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub issued_at: String,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// Whether it is a one-time token.
    pub one_time: bool,
    /// The secret that the client proved itself with; `null` if it is not known.
    pub secret_id: Option<String>,
    /// The client IP of the token request; `null` if it is not known.
    pub client_ip: Option<String>,
    /// Whether it was revoked, alone or with all tokens of its client, or redeemed. `null`: it has
    /// expired, and expired revocations are forgotten.
    pub revoked: Option<bool>,
}
