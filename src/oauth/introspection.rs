//! Token introspection (RFC 7662): who may ask about a token, and what the answer says.

use serde::Serialize;

use super::claims::{AccessTokenClaims, Audience};
use super::client::Client;

/// A client with this scope among its own may ask about every token.
pub const INTROSPECT_SCOPE: &str = "mintage:introspect";

/// Whether a client may ask about a token: its own, one whose audience it serves, or any with [`INTROSPECT_SCOPE`] (P32).
pub fn may_ask(client: &Client, claims: &AccessTokenClaims) -> bool {
    *claims.client_id == *client.id.as_str()
        || client.serves.iter().any(|served| claims.aud.contains(served))
        || client.scope.contains(INTROSPECT_SCOPE)
}

/// The answer for a token that is active (RFC 7662 §2.2).
#[derive(Serialize)]
struct Active<'a> {
    active: bool,
    scope: &'a str,
    client_id: &'a str,
    token_type: &'static str,
    exp: i64,
    iat: i64,
    sub: &'a str,
    aud: &'a Audience,
    iss: &'a str,
    jti: String,
}

/// The answer for everything else: it tells nothing about why (§2.2).
pub const INACTIVE: &str = r#"{"active":false}"#;

/// The answer for an active token, as JSON.
pub fn active(claims: &AccessTokenClaims) -> Vec<u8> {
    let document = Active {
        active: true,
        scope: claims.scope.as_str(),
        client_id: &claims.client_id,
        token_type: "Bearer",
        exp: claims.exp,
        iat: claims.iat,
        sub: &claims.sub,
        aud: &claims.aud,
        iss: &claims.iss,
        jti: claims.jti.to_string(),
    };
    serde_json::to_vec(&document).expect("claims are made of strings and numbers")
}
