//! How each failure of an operation is answered: the one table of statuses and details of the admin API.

use actix_web::http::StatusCode;

use crate::admin::{MAX_SECRETS, OperationError};
use crate::http::error::ApiError;
use crate::oauth::error::OAuthError;

impl From<OperationError> for ApiError {
    fn from(error: OperationError) -> Self {
        const { assert!(MAX_SECRETS == 10, "the detail below names the number") };
        let (status, detail) = match error {
            OperationError::ClientNotFound => (StatusCode::NOT_FOUND, "there is no client with this id"),
            OperationError::SecretNotFound => (StatusCode::NOT_FOUND, "the client has no secret with this id"),
            OperationError::TokenNotFound => (StatusCode::NOT_FOUND, "there is no token with this id"),
            OperationError::RouteNotFound => (StatusCode::NOT_FOUND, "there is no route with this id"),
            OperationError::ClientExists => (StatusCode::CONFLICT, "there is a client with this id already"),
            OperationError::RouteExists => (
                StatusCode::CONFLICT,
                "there is a route for the same method, host and path already",
            ),
            OperationError::NextKeyExists => (
                StatusCode::CONFLICT,
                "a new key waits already, GET /admin/keys says from when on it signs",
            ),
            OperationError::AlreadyExists => (StatusCode::CONFLICT, "there is one already"),
            OperationError::TooManySecrets => (
                StatusCode::CONFLICT,
                "the client has 10 secrets already: revoke one of them first",
            ),
            OperationError::VersionMismatch => (
                StatusCode::PRECONDITION_FAILED,
                "the client is not the version that If-Match names",
            ),
            OperationError::MalformedClient(malformed) => return Self::MalformedMember(malformed),
            OperationError::MalformedRoute(malformed) => (StatusCode::BAD_REQUEST, malformed.text()),
            OperationError::Unavailable => return Self::Unavailable,
            OperationError::Internal => return Self::OAuth(OAuthError::ServerError),
        };
        Self::Problem(status, detail)
    }
}

/// 400, with what the request must be like.
pub fn bad_request(detail: &'static str) -> ApiError {
    ApiError::Problem(StatusCode::BAD_REQUEST, detail)
}
