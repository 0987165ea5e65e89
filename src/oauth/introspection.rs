//! Token introspection (RFC 7662): who may ask about a token, and what the answer says.

use super::claims::AccessTokenClaims;
use super::client::Client;
use super::json;

/// A client with this scope among its own may ask about every token.
pub const INTROSPECT_SCOPE: &str = "mintage:introspect";

/// Whether a client may ask about a token: its own, one for an introspection audience of the client, or any with [`INTROSPECT_SCOPE`] (P32).
pub fn may_ask(client: &Client, claims: &AccessTokenClaims) -> bool {
    *claims.client_id == *client.id.as_str()
        || client
            .introspection_audiences
            .iter()
            .any(|served| claims.aud.contains(served))
        || client.scope.contains(INTROSPECT_SCOPE)
}

/// The answer for everything else: it tells nothing about why (§2.2).
pub const INACTIVE: &str = r#"{"active":false}"#;

/// The answer for a token that is active (RFC 7662 §2.2), as JSON.
pub fn active(claims: &AccessTokenClaims) -> Vec<u8> {
    const USUAL: usize = 512;
    let mut json = Vec::with_capacity(USUAL);
    json.extend_from_slice(b"{\"active\":true,\"scope\":");
    json::text(&mut json, claims.scope.as_str());
    json.extend_from_slice(b",\"client_id\":");
    json::text(&mut json, &claims.client_id);
    json.extend_from_slice(b",\"token_type\":\"Bearer\",\"exp\":");
    json::number(&mut json, claims.exp);
    json.extend_from_slice(b",\"iat\":");
    json::number(&mut json, claims.iat);
    json.extend_from_slice(b",\"sub\":");
    json::text(&mut json, &claims.sub);
    json.extend_from_slice(b",\"aud\":");
    claims.aud.write_json(&mut json);
    json.extend_from_slice(b",\"iss\":");
    json::text(&mut json, &claims.iss);
    json.extend_from_slice(b",\"jti\":\"");
    json.extend_from_slice(&claims.jti.text());
    json.extend_from_slice(b"\"}");
    json
}
