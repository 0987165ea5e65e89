//! Tokens that are presented: the `Authorization` header, and the token itself.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintage::http::parsers::parse_bearer;
use mintage::keys::{KeyRing, SigningKey, Verifier};
use mintage::oauth::alg::Alg;
use mintage::oauth::bounds::MAX_TOKEN;
use mintage::oauth::claims::AccessTokenClaims;
use serde_json::{Value, json};

use crate::sample::NOW;

/// The name of the symmetric key, which the seeds name too.
const KID: &str = "seed";

/// A bearer token: of the characters of RFC 6750 §2.1 and no others.
pub fn bearer(data: &[u8]) {
    const SCHEME: &[u8] = b"bearer ";
    let token = data
        .split_at_checked(SCHEME.len())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME));
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let expected = token
        .map(|(_, token)| token)
        .filter(|token| !token.is_empty() && token.iter().all(good));
    assert_eq!(parse_bearer(data).ok().map(str::as_bytes), expected);
}

/// Keys that no fuzzer knows.
struct Keys {
    verifier: Verifier,
    hmac: hmac::Key,
}

impl Keys {
    fn generate() -> Self {
        let mut keys = [Alg::Hs256, Alg::Es256, Alg::EdDsa].map(|alg| SigningKey::generate(alg, NOW, None).unwrap());
        keys[0].kid = KID.to_owned();
        let ring = KeyRing::new(&keys, None, NOW).unwrap();
        Self {
            verifier: Verifier::new(&ring).unwrap(),
            hmac: hmac::Key::new(hmac::HMAC_SHA256, &keys[0].private),
        }
    }

    /// A token of this header and these claims, signed with the symmetric key.
    fn signed(&self, header: &str, payload: &[u8]) -> String {
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.hmac, message.as_bytes()));
        format!("{message}.{signature}")
    }
}

thread_local! {
    static KEYS: Keys = Keys::generate();
}

/// A token: no key has signed it, so none verifies it. Its parts, signed with a key of ours, are
/// judged strictly.
pub fn jwt(data: &[u8]) {
    KEYS.with(|keys| {
        let text = String::from_utf8_lossy(data);
        assert!(keys.verifier.verify(&text).is_err(), "no key has signed {text:?}");
        let mut parts = text.split('.');
        let header = parts.next().unwrap_or_default();
        let payload = parts.next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        claims(keys, payload.as_deref().unwrap_or(data));
        own_header(keys, header, payload.as_deref().unwrap_or(data));
    });
}

/// Claims that a key of ours has signed.
fn claims(keys: &Keys, payload: &[u8]) {
    let header = json!({"typ": "at+jwt", "alg": "HS256", "kid": KID});
    let token = keys.signed(&URL_SAFE_NO_PAD.encode(header.to_string()), payload);
    let expected = serde_json::from_slice::<AccessTokenClaims>(payload).ok();
    let expected = expected.filter(|_| token.len() <= MAX_TOKEN);
    assert_eq!(keys.verifier.verify(&token).ok(), expected);
    let place = payload.len() % token.len();
    let other = if token.as_bytes()[place] == b'A' { "B" } else { "A" };
    let mut forged = token;
    forged.replace_range(place..=place, other);
    assert!(keys.verifier.verify(&forged).is_err(), "one character is another");
    if let Some(claims) = expected {
        let document: Value = serde_json::from_slice(payload).expect("claims are JSON");
        assert_eq!(document["sub"], document["client_id"]);
        let mut written = Vec::new();
        claims.write_json(&mut written);
        let again: AccessTokenClaims = serde_json::from_slice(&written).expect("claims are read as they are written");
        assert_eq!(again, claims);
    }
}

/// A header that comes with a good signature: it must name the key, its algorithm and the type, and
/// nothing else.
fn own_header(keys: &Keys, header: &str, payload: &[u8]) {
    if keys.verifier.verify(&keys.signed(header, payload)).is_ok() {
        let header = URL_SAFE_NO_PAD.decode(header).expect("a header is base64url");
        let header: Value = serde_json::from_slice(&header).expect("a header is JSON");
        assert_eq!(header, json!({"typ": "at+jwt", "alg": "HS256", "kid": KID}));
    }
}
