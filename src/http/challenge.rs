//! Every value of `WWW-Authenticate`: the schemes by which a caller may authenticate (RFC 9110
//! §11.6.1).

use actix_web::http::header::HeaderValue;

use crate::oauth::error::BearerError;

const REALM: &str = "Bearer realm=\"mintage\"";

/// Client authentication by HTTP Basic (RFC 7617 §2).
pub fn basic() -> HeaderValue {
    HeaderValue::from_static("Basic realm=\"mintage\", charset=\"UTF-8\"")
}

/// A bearer token, without an error code.
pub fn bearer_realm() -> HeaderValue {
    HeaderValue::from_static(REALM)
}

/// What is wrong with the bearer token (RFC 6750 §3). The challenge for a request without one names
/// no error code (§3.1).
pub fn bearer(error: &BearerError) -> HeaderValue {
    let code = error.row().code;
    let challenge = match error {
        BearerError::NoToken => return bearer_realm(),
        BearerError::InsufficientScope(scope) => format!("{REALM}, error=\"{code}\", scope=\"{scope}\""),
        BearerError::MalformedToken | BearerError::InvalidToken | BearerError::NotHeld => {
            format!("{REALM}, error=\"{code}\"")
        }
    };
    HeaderValue::try_from(challenge).expect("codes and scopes are printable ASCII without quotes")
}
