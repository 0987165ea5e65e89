//! The token response (RFC 6749 §5.1) and the error response (§5.2), as JSON bytes.

use super::error::OAuthError;
use super::json;

/// The token response: `{"access_token","token_type","expires_in","scope"}`, and never a refresh
/// token (RFC 6749 §4.4.3).
///
/// `write` appends the token, so it is signed directly into the response. A token is
/// `[A-Za-z0-9_.-]` and a scope contains neither `"` nor `\` (RFC 6749 §3.3), so neither needs
/// escaping.
///
/// # Errors
/// The errors of `write`.
pub fn token<E>(expires_in: i64, scope: &str, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Vec<u8>, E> {
    // Enough for the usual claims, an ES256 signature and a scope of a few tokens.
    const TYPICAL_BYTES: usize = 1024;
    let mut json = Vec::with_capacity(TYPICAL_BYTES);
    json.extend_from_slice(b"{\"access_token\":\"");
    write(&mut json)?;
    json.extend_from_slice(b"\",\"token_type\":\"Bearer\",\"expires_in\":");
    json::number(&mut json, expires_in);
    json.extend_from_slice(b",\"scope\":\"");
    json.extend_from_slice(scope.as_bytes());
    json.extend_from_slice(b"\"}");
    Ok(json)
}

/// The error response: `{"error","error_description"}`. Both are constants without characters that
/// JSON escapes.
pub fn error(error: OAuthError) -> String {
    let row = error.row();
    format!(
        "{{\"error\":\"{}\",\"error_description\":\"{}\"}}",
        row.code, row.description
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn p23_the_answer_is_json_with_exactly_these_members() {
        let signed = |answer: &mut Vec<u8>| {
            answer.extend_from_slice(b"a.b-c_d");
            Ok::<(), ()>(())
        };
        let answer: Value = serde_json::from_slice(&token(3600, "x y:z", signed).unwrap()).unwrap();
        assert_eq!(
            answer,
            json!({"access_token": "a.b-c_d", "token_type": "Bearer", "expires_in": 3600, "scope": "x y:z"})
        );
    }

    #[test]
    fn p24_an_error_is_json_with_code_and_description() {
        let answer: Value = serde_json::from_str(&error(OAuthError::InvalidClient)).unwrap();
        assert_eq!(
            answer,
            json!({"error": "invalid_client", "error_description": "client authentication failed"})
        );
    }
}
