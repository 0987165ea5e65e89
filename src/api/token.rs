//! The record of an issued token, as the admin API shows it.

use serde::Serialize;
use utoipa::ToSchema;

/// The record of a token. It does not contain the token itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenDocument {
    /// The token id, by which the token can be revoked.
    pub jti: String,
    /// The client that the token was issued to.
    pub client_id: String,
    /// The granted scope.
    pub scope: String,
    /// The audiences, separated by spaces.
    pub audience: String,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub issued_at: String,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// Whether the token can be redeemed only once.
    pub one_time: bool,
    /// Whether the token was revoked, alone or with all tokens of its client, or redeemed. `null`:
    /// it expired so long ago that this is no longer known.
    pub revoked: Option<bool>,
}
