//! Token requests, introspection and revocation requests, and the content of tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::client::TestClient;
use crate::http::Request;

/// A token request with Basic credentials; `grant_type` is added.
pub fn token_request(client: &TestClient, parameters: &[(&str, &str)]) -> Request {
    let grant = ("grant_type", "client_credentials");
    Request::post("/token")
        .basic(client)
        .form(&[&[grant], parameters].concat())
}

/// An introspection or revocation request for a token.
pub fn about_token(endpoint: &str, client: &TestClient, token: &str) -> Request {
    Request::post(endpoint).basic(client).form(&[("token", token)])
}

/// Header (0) or claims (1) of a token, not verified.
pub fn part(token: &str, part: usize) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(part).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// The claims of a token, not verified.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

/// How the header and the payload of every token begin, to search for tokens that no test knows.
///
/// Both always begin with `eyJ`, but so short a text also occurs in random ids: the ids of five
/// signing keys contain it once in about a thousand times.
pub fn beginnings() -> [String; 2] {
    [r#"{"typ":"at+j"#, r#"{"iss":"http"#].map(|json| URL_SAFE_NO_PAD.encode(json))
}

/// The id of a token.
pub fn jti(token: &str) -> String {
    claims(token)["jti"].as_str().unwrap().to_owned()
}
