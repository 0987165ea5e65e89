//! The one table of protocol errors: RFC code, description, HTTP status.
//!
//! Codes come from the registry of RFC 6749 §11.4 (with `invalid_target` from RFC 8707 §2 and
//! `temporarily_unavailable` from §4.1.2.1). A description is a constant: it echoes no input, so it can
//! neither leak a credential nor leave the charset that §5.2 allows.

/// Seconds until it is worth trying again, for `Retry-After` (RFC 9110 §10.2.3); at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub u32);

/// Every code that a [`Row`] may have.
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

/// Why a request to an OAuth endpoint was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OAuthError {
    /// The request cannot be read; the text says what is wrong with it.
    InvalidRequest(&'static str),
    /// The media type is not one this endpoint reads.
    UnsupportedMediaType,
    /// The body is, or declares itself, larger than `server.max_body`.
    BodyTooLarge,
    /// The body did not arrive within `server.request_timeout`.
    BodyTimeout,
    /// The method is not POST.
    MethodNotAllowed,
    /// Client authentication failed, for whatever reason: the answer never tells which.
    InvalidClient,
    /// Too many authentications failed (P17); no credential was looked at.
    TooManyFailures(RetryAfter),
    /// The client may not use this grant.
    UnauthorizedClient,
    /// The token was issued to another client (RFC 7009 §2.1).
    AnothersToken,
    /// The grant type is not one this server knows.
    UnsupportedGrantType,
    /// The scope is malformed or more than the client may have.
    InvalidScope(&'static str),
    /// A `resource` is malformed or not one the client may name.
    InvalidTarget,
    /// The store cannot be reached, or a bounded queue is full.
    TemporarilyUnavailable,
    /// A fault of ours that a retry will not cure.
    ServerError,
}

/// One row of the table.
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
            Self::InvalidRequest(what) => ("invalid_request", what, 400),
            Self::UnsupportedMediaType => (
                "invalid_request",
                "the media type of the body is not accepted here",
                415,
            ),
            Self::BodyTooLarge => ("invalid_request", "the body is too large", 413),
            Self::BodyTimeout => ("invalid_request", "the body did not arrive in time", 408),
            Self::MethodNotAllowed => ("invalid_request", "the method is not one that this resource knows", 405),
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
            Self::InvalidScope(what) => ("invalid_scope", what, 400),
            Self::InvalidTarget => (
                "invalid_target",
                "the resource is not an absolute URI that the client may name",
                400,
            ),
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

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [OAuthError; 14] = [
        OAuthError::InvalidRequest("a parameter is repeated"),
        OAuthError::UnsupportedMediaType,
        OAuthError::BodyTooLarge,
        OAuthError::BodyTimeout,
        OAuthError::MethodNotAllowed,
        OAuthError::InvalidClient,
        OAuthError::TooManyFailures(RetryAfter(1)),
        OAuthError::UnauthorizedClient,
        OAuthError::AnothersToken,
        OAuthError::UnsupportedGrantType,
        OAuthError::InvalidScope("the scope is malformed"),
        OAuthError::InvalidTarget,
        OAuthError::TemporarilyUnavailable,
        OAuthError::ServerError,
    ];

    #[test]
    fn p24_descriptions_stay_in_the_allowed_charset() {
        for error in ALL {
            let row = error.row();
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
