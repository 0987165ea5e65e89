//! How each failure of an operation is answered: the one table of statuses and details of the admin
//! API.

use actix_web::http::StatusCode;

use crate::admin::{MAX_SECRETS, OperationError};
use crate::http::error::ApiError;
use crate::oauth::error::{BearerError, OAuthError};

impl From<OperationError> for ApiError {
    fn from(error: OperationError) -> Self {
        const { assert!(MAX_SECRETS == 10, "the detail below names the number") };
        let (status, detail) = match error {
            OperationError::ClientNotFound => (StatusCode::NOT_FOUND, "client not found"),
            OperationError::SecretNotFound => (StatusCode::NOT_FOUND, "secret not found"),
            OperationError::TokenNotFound => (StatusCode::NOT_FOUND, "token not found"),
            OperationError::RouteNotFound => (StatusCode::NOT_FOUND, "route not found"),
            OperationError::ClientExists => (StatusCode::CONFLICT, "the client id is already in use"),
            OperationError::RouteExists => (
                StatusCode::CONFLICT,
                "a route with the same method, host and path exists",
            ),
            OperationError::NextKeyExists => (
                StatusCode::CONFLICT,
                "a new key is already published, GET /admin/keys shows when it is activated",
            ),
            OperationError::AlreadyExists => (StatusCode::CONFLICT, "already exists"),
            OperationError::TooManySecrets => (StatusCode::CONFLICT, "at most 10 secrets per client"),
            OperationError::SecretExists => (StatusCode::CONFLICT, "the client has this secret already"),
            OperationError::SecretExpired => (
                StatusCode::CONFLICT,
                "the client has this secret, and it has expired: give another, or revoke it first",
            ),
            OperationError::NotNew => (
                StatusCode::PRECONDITION_FAILED,
                "If-None-Match: * requires that the client does not exist",
            ),
            OperationError::VersionMismatch => (
                StatusCode::PRECONDITION_FAILED,
                "If-Match does not name the current version of the client",
            ),
            OperationError::AuthorityLost(duty) => {
                return BearerError::InsufficientScope(duty.scope()).into();
            }
            OperationError::NotHeld => return BearerError::NotHeld.into(),
            OperationError::MalformedClient(malformed) => return Self::MalformedMember(malformed),
            OperationError::MalformedRoute(malformed) => (StatusCode::BAD_REQUEST, malformed.text()),
            OperationError::Unavailable => return Self::Unavailable,
            OperationError::Internal => return Self::OAuth(OAuthError::ServerError),
        };
        Self::Problem(status, detail)
    }
}

/// 400, with what is wrong with the body or the query. Known names of members and parameters may be
/// part of the text, other text of the request only [`quoted`].
pub fn malformed(detail: impl Into<String>) -> ApiError {
    ApiError::Malformed(detail.into().into_boxed_str())
}

/// A name that the caller chose: escaped and bounded, because it may end up in a terminal.
pub fn quoted(name: &str) -> String {
    const MAX_SHOWN: usize = 64;
    let is_harmless = |char: &char| (' '..='~').contains(char) && !['`', '\\', '"'].contains(char);
    let escape = |char: char| match is_harmless(&char) {
        true => char.to_string(),
        false if ['\n', '\r', '\t', '\\', '"'].contains(&char) => char.escape_default().to_string(),
        false => char.escape_unicode().to_string(),
    };
    let shown: String = name.chars().take(MAX_SHOWN).map(escape).collect();
    let more = if name.chars().nth(MAX_SHOWN).is_some() {
        "..."
    } else {
        ""
    };
    format!("`{shown}{more}`")
}

/// 400, with the rule that the request violates.
pub fn bad_request(detail: &'static str) -> ApiError {
    ApiError::Problem(StatusCode::BAD_REQUEST, detail)
}
