//! The token response (RFC 6749 §5.1) and the error response (§5.2), as JSON bytes.

use std::io::Write;

use super::error::OAuthError;

/// `{"access_token","token_type","expires_in","scope"}`; never a refresh token (§4.4.3).
///
/// Written by hand into a buffer of the right size: a token is `[A-Za-z0-9_.-]` and a scope holds neither `"`
/// nor `\` (RFC 6749 §3.3), so nothing in it can need escaping.
pub fn token(access_token: &str, expires_in: i64, scope: &str) -> Vec<u8> {
    const FRAME: usize = 96;
    let mut json = Vec::with_capacity(FRAME + access_token.len() + scope.len());
    json.extend_from_slice(b"{\"access_token\":\"");
    json.extend_from_slice(access_token.as_bytes());
    json.extend_from_slice(b"\",\"token_type\":\"Bearer\",\"expires_in\":");
    write!(json, "{expires_in}").expect("a Vec takes every byte");
    json.extend_from_slice(b",\"scope\":\"");
    json.extend_from_slice(scope.as_bytes());
    json.extend_from_slice(b"\"}");
    json
}

/// `{"error","error_description"}`: both constants without a character that JSON escapes.
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
        let answer: Value = serde_json::from_slice(&token("a.b-c_d", 3600, "x y:z")).unwrap();
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
