//! Every error code of the protocol, in two tables: [`OAuthError`] for the OAuth endpoints (RFC
//! 6749 §5.2, RFC 8707) and [`BearerError`] for requests that carry a bearer token (RFC 6750 §3.1).
//!
//! `temporarily_unavailable` and `access_denied` are the codes of RFC 6749 §4.1.2.1. A description
//! is a constant: it echoes no input, so it can neither leak a credential nor leave the charset
//! that §5.2 allows.

use super::scope::Scope;

/// The delay in seconds after which a retry makes sense, for `Retry-After` (RFC 9110 §10.2.3); at
/// least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub u32);

/// Every code of [`OAuthError`], as `mintage_token_errors_total` is labelled.
pub const CODES: [&str; 8] = [
    "invalid_request",
    "invalid_client",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "temporarily_unavailable",
    "server_error",
];

/// Why a request to an OAuth endpoint is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OAuthError {
    /// The request is malformed; the text is the description.
    InvalidRequest(&'static str),
    /// The endpoint does not accept the media type of the body; the text names those it does.
    UnsupportedMediaType(&'static str),
    /// The body is larger than `server.max_body`, or its `Content-Length` says so.
    BodyTooLarge,
    /// The body did not arrive within `server.request_timeout`.
    BodyTimeout,
    /// The endpoint does not support the method.
    MethodNotAllowed,
    /// Client authentication failed. The response is the same for every cause (P15).
    InvalidClient,
    /// Too many authentications have failed (P17); the credentials were not verified.
    TooManyFailures(RetryAfter),
    /// The client may not use this grant.
    UnauthorizedClient,
    /// The token was issued to another client (RFC 7009 §2.1).
    AnothersToken,
    /// The server does not support the grant type.
    UnsupportedGrantType,
    /// The scope is malformed, exceeds what the client may have, or makes the token too long; the
    /// text is the description.
    InvalidScope(&'static str),
    /// A `resource` is malformed or the client may not name it, or a token for all of them would be
    /// too long; the text is the description.
    InvalidTarget(&'static str),
    /// The database cannot be reached, or a bounded queue is full.
    TemporarilyUnavailable,
    /// A fault of the server that a retry does not fix.
    ServerError,
}

/// Why a bearer token does not give access (RFC 6750 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BearerError {
    /// The request carries no bearer token. Its challenge names no error code (RFC 6750 §3.1).
    NoToken,
    /// The Authorization header is malformed or repeated.
    MalformedToken,
    /// The token is malformed, expired, revoked, redeemed, or for another audience.
    InvalidToken,
    /// The token is active but lacks this scope.
    InsufficientScope(Scope),
    /// The operator would grant a scope that it does not hold, or change a client that has one.
    NotHeld,
}

/// One row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The `error` member.
    pub code: &'static str,
    /// The `error_description` member.
    pub description: &'static str,
    /// The HTTP status.
    pub status: u16,
}

impl OAuthError {
    /// The row of this error.
    pub fn row(self) -> Row {
        let (code, description, status) = match self {
            Self::InvalidRequest(description) => ("invalid_request", description, 400),
            Self::UnsupportedMediaType(description) => ("invalid_request", description, 415),
            Self::BodyTooLarge => ("invalid_request", "the body is too large", 413),
            Self::BodyTimeout => ("invalid_request", "the body did not arrive in time", 408),
            Self::MethodNotAllowed => ("invalid_request", "method not allowed", 405),
            Self::InvalidClient => ("invalid_client", "client authentication failed", 401),
            Self::TooManyFailures(_) => (
                "temporarily_unavailable",
                "too many failed authentications, try again later",
                429,
            ),
            Self::UnauthorizedClient => ("unauthorized_client", "the client may not use this grant type", 400),
            Self::AnothersToken => ("unauthorized_client", "the token was issued to another client", 400),
            Self::UnsupportedGrantType => (
                "unsupported_grant_type",
                "the grant type must be client_credentials",
                400,
            ),
            Self::InvalidScope(description) => ("invalid_scope", description, 400),
            Self::InvalidTarget(description) => ("invalid_target", description, 400),
            Self::TemporarilyUnavailable => (
                "temporarily_unavailable",
                "the server cannot answer now, try again later",
                503,
            ),
            Self::ServerError => ("server_error", "the server met an unexpected condition", 500),
        };
        Row {
            code,
            description,
            status,
        }
    }
}

impl BearerError {
    /// The row of this error.
    pub fn row(&self) -> Row {
        let (code, description, status) = match self {
            Self::NoToken => ("invalid_request", "a bearer token is required", 401),
            Self::MalformedToken => (
                "invalid_request",
                "there must be one Authorization header of the form: Bearer TOKEN",
                400,
            ),
            Self::InvalidToken => ("invalid_token", "the token is not active", 401),
            Self::InsufficientScope(_) => ("insufficient_scope", "the token lacks the scope for this", 403),
            Self::NotHeld => (
                "insufficient_scope",
                "scopes that begin with mintage: can be granted, and a client that has them changed, only by an \
                 operator that holds them",
                403,
            ),
        };
        Row {
            code,
            description,
            status,
        }
    }
}

/// The request is denied whatever its token (RFC 6749 §4.1.2.1).
pub fn access_denied(description: &'static str) -> Row {
    Row {
        code: "access_denied",
        description,
        status: 403,
    }
}

/// The response of the authorization endpoint to every request (RFC 6749 §4.1.2.1).
pub fn unsupported_response_type() -> Row {
    Row {
        code: "unsupported_response_type",
        description: "no response type is supported: use the client_credentials grant at the token endpoint",
        status: 400,
    }
}

/// A request that cannot be served for a reason that no table lists, such as an unknown path.
pub fn invalid_request(description: &'static str, status: u16) -> Row {
    Row {
        code: "invalid_request",
        description,
        status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [OAuthError; 14] = [
        OAuthError::InvalidRequest("a parameter is repeated"),
        OAuthError::UnsupportedMediaType("the media type must be application/json"),
        OAuthError::BodyTooLarge,
        OAuthError::BodyTimeout,
        OAuthError::MethodNotAllowed,
        OAuthError::InvalidClient,
        OAuthError::TooManyFailures(RetryAfter(1)),
        OAuthError::UnauthorizedClient,
        OAuthError::AnothersToken,
        OAuthError::UnsupportedGrantType,
        OAuthError::InvalidScope("the scope is malformed"),
        OAuthError::InvalidTarget("the token would be too long: name fewer resources"),
        OAuthError::TemporarilyUnavailable,
        OAuthError::ServerError,
    ];

    const BEARER: [BearerError; 4] = [
        BearerError::NoToken,
        BearerError::MalformedToken,
        BearerError::InvalidToken,
        BearerError::NotHeld,
    ];

    #[test]
    fn p24_descriptions_stay_in_the_allowed_charset() {
        let bearer = BEARER.map(|error| error.row());
        for row in ALL.map(OAuthError::row).into_iter().chain(bearer) {
            let allowed = |c: char| matches!(c, ' '..='!' | '#'..='[' | ']'..='~');
            assert!(row.description.chars().all(allowed), "{}", row.description);
        }
    }

    #[test]
    fn every_code_is_listed_and_every_listed_code_is_used() {
        for error in ALL {
            assert!(CODES.contains(&error.row().code), "{error:?}");
        }
        for code in CODES {
            assert!(ALL.iter().any(|error| error.row().code == code), "{code}");
        }
    }
}
