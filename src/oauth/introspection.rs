//! Token introspection (RFC 7662): which clients may introspect a token, and the response.

use super::claims::AccessTokenClaims;
use super::client::Client;
use super::duty::Duty;
use super::json;

/// Whether a client may introspect a token: its own, one for an introspection audience of the
/// client, or any token if the client has the scope of [`Duty::Introspect`] (docs/protocol.md#p32).
/// No audience suffices for a token for `admin_audience`: an operator that may create clients could
/// otherwise read the tokens of operators with more duties.
pub fn may_introspect(client: &Client, claims: &AccessTokenClaims, admin_audience: &str) -> bool {
    *claims.client_id == *client.id.as_str()
        || !claims.aud.contains(admin_audience)
            && client
                .introspection_audiences
                .iter()
                .any(|served| claims.aud.contains(served))
        || client.scope.contains(Duty::Introspect.name())
}

/// The response for every other token. It does not contain the reason (RFC 7662 §2.2).
pub const INACTIVE: &str = r#"{"active":false}"#;

/// The response for an active token (RFC 7662 §2.2), as JSON.
pub fn active(claims: &AccessTokenClaims) -> Vec<u8> {
    const TYPICAL_BYTES: usize = 512;
    let mut json = Vec::with_capacity(TYPICAL_BYTES);
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
    json.push(b'"');
    claims.write_form(&mut json);
    json.push(b'}');
    json
}
