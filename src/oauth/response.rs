//! The token response (RFC 6749 §5.1) and the error response (§5.2), as JSON bytes.
//!
//! Each body ends with a newline, so that a terminal shows the next prompt on a line of its own.

use serde::Serialize;

use super::error::Row;
use super::json;

/// The response with a token: `{"access_token","token_type","expires_in","scope"}`; never a refresh
/// token (§4.4.3).
///
/// `write` appends the signed token in place. A token is `[A-Za-z0-9_.-]` and a scope holds neither
/// `"` nor `\` (RFC 6749 §3.3), so neither needs escaping.
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
    json.extend_from_slice(b"\"}\n");
    Ok(json)
}

/// A document as one line of JSON.
pub fn line(document: &impl Serialize) -> String {
    let mut text = serde_json::to_string(document).expect("a document has string keys and no failing type");
    text.push('\n');
    text
}

/// The members of an error response (RFC 6749 §5.2).
#[derive(Serialize)]
struct ErrorDocument {
    error: &'static str,
    error_description: &'static str,
}

/// An error response: `{"error","error_description"}`.
pub fn error(row: Row) -> String {
    let document = ErrorDocument {
        error: row.code,
        error_description: row.description,
    };
    line(&document)
}

#[cfg(test)]
mod tests {
    use super::super::error::OAuthError;
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
        let answer: Value = serde_json::from_str(&error(OAuthError::InvalidClient.row())).unwrap();
        assert_eq!(
            answer,
            json!({"error": "invalid_client", "error_description": "client authentication failed"})
        );
    }
}
