//! The record of an issued token, as the admin API shows it.

use serde::Serialize;
use utoipa::ToSchema;

/// What is kept of a token; the token itself is not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenDocument {
    /// Its id, by which it is revoked.
    pub jti: String,
    /// Whom it was issued to.
    pub client_id: String,
    /// What it allows.
    pub scope: String,
    /// Whom it is for; several are separated by spaces.
    pub audience: String,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub issued_at: String,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// Whether it may be used once only.
    pub one_time: bool,
    /// Whether it was taken back, by itself or with all of its client, or used up. `null`: it has been expired for so long
    /// that this is forgotten.
    pub revoked: Option<bool>,
}
