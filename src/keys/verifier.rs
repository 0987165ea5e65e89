//! Verifies the form and signature of a token: JWS compact serialization (RFC 7515 §5.2, RFC 8725
//! §3).
//!
//! The header is checked first: a token must name one of our keys, the algorithm of that key and
//! one of our types of tokens, whichever are configured now. Otherwise it is rejected. Key material
//! and extensions that a token contains (`jwk`, `jku`, `x5u`, `x5c`, `crit`) are never used or
//! fetched.

use std::collections::HashMap;
use std::sync::Arc;

use crate::encoding::URL_SAFE_NO_PAD;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::JwtVerifier;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::signature;
use serde::Deserialize;

use super::key::algorithm;
use super::signer;
use super::{KeyError, KeyRing, SigningKey};
use crate::oauth::alg::Alg;
use crate::oauth::bounds::MAX_TOKEN;
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::token_form::TokenType;

/// The token was not signed by this server. The caller does not learn more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectedToken;

/// Every key of a ring, parsed for verification. Each worker has its own, like its signers.
pub struct Verifier {
    keys: HashMap<Arc<str>, (Alg, Box<dyn JwtVerifier>)>,
    /// The encoded headers that our signers write, with their kid and type. Nearly every token has
    /// one of these headers, so it is not parsed again.
    headers: HashMap<String, (Arc<str>, TokenType)>,
}

/// Unknown members are rejected, including `jwk`, `jku`, `x5u`, `x5c` and `crit`. The headers of
/// our tokens have exactly these three members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    #[serde(borrow)]
    typ: &'a str,
    alg: &'a str,
    kid: &'a str,
}

impl Verifier {
    /// Parses the keys of a ring.
    ///
    /// # Errors
    /// A key does not fit its algorithm.
    pub fn new(ring: &KeyRing) -> Result<Self, KeyError> {
        let mut keys = HashMap::new();
        let mut headers = HashMap::new();
        for key in ring.keys() {
            for typ in TokenType::ALL {
                headers.insert(signer::header(key, typ), (key.kid.clone(), typ));
            }
            keys.insert(key.kid.clone(), (key.alg, verifier_of(key)?));
        }
        Ok(Self { keys, headers })
    }

    /// The claims of a token that one of our keys signed. The caller must check time, issuer and
    /// audience.
    ///
    /// # Errors
    /// [`RejectedToken`] for every other token.
    pub fn verify(&self, token: &str) -> Result<AccessTokenClaims, RejectedToken> {
        if token.len() > MAX_TOKEN {
            return Err(RejectedToken);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(RejectedToken)?;
        let (header, payload) = message.split_once('.').ok_or(RejectedToken)?;
        if payload.contains('.') {
            return Err(RejectedToken);
        }
        let known = self.headers.get(header);
        let (key, typ) = match known.and_then(|(kid, typ)| Some((self.keys.get(kid)?, *typ))) {
            Some(((_, key), typ)) => (&**key, typ),
            None => self.key_of(&decode(header)?)?,
        };
        key.verify(message.as_bytes(), &decode(signature)?)
            .map_err(|_| RejectedToken)?;
        let mut claims: AccessTokenClaims = serde_json::from_slice(&decode(payload)?).map_err(|_| RejectedToken)?;
        claims.form.typ = typ;
        Ok(claims)
    }

    /// The key and the type that a header names. For headers in another notation than that of our
    /// signers, which another version of this server may write.
    fn key_of(&self, header: &[u8]) -> Result<(&dyn JwtVerifier, TokenType), RejectedToken> {
        let header: Header<'_> = serde_json::from_slice(header).map_err(|_| RejectedToken)?;
        let (alg, key) = self.keys.get(header.kid).ok_or(RejectedToken)?;
        match header.typ.parse() {
            Ok(typ) if header.alg == alg.name() => Ok((&**key, typ)),
            _ => Err(RejectedToken),
        }
    }
}

/// A public key that is parsed once. The verifiers of jsonwebtoken for elliptic curves parse it at
/// each call.
struct Parsed {
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

impl signature::Verifier<Vec<u8>> for Parsed {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.key
            .verify_sig(message, signature)
            .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Parsed {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn verifier_of(key: &SigningKey) -> Result<Box<dyn JwtVerifier>, KeyError> {
    let cannot = || KeyError(format!("key {} cannot verify", key.kid));
    let algorithm = algorithm(key.alg);
    let scheme: &'static dyn VerificationAlgorithm = match key.alg {
        Alg::Es256 => &ECDSA_P256_SHA256_FIXED,
        Alg::EdDsa => &ED25519,
        Alg::Rs256 | Alg::Ps256 | Alg::Hs256 => {
            return (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key.decoding).map_err(|_| cannot());
        }
    };
    let bytes = key.decoding.try_get_as_bytes().map_err(|_| cannot())?;
    let key = ParsedPublicKey::new(scheme, bytes).map_err(|_| cannot())?;
    Ok(Box::new(Parsed { algorithm, key }))
}

fn decode(part: &str) -> Result<Vec<u8>, RejectedToken> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| RejectedToken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Signer, SigningKey, StoredKey};
    use crate::oauth::claims::Audience;
    use crate::oauth::custom_claims::CustomClaims;
    use crate::oauth::scope::Scope;
    use crate::oauth::token_form::{ScopeClaim, TokenForm};
    use crate::oauth::token_id::TokenId;
    use crate::time::UnixMillis;

    const NOW: UnixMillis = UnixMillis(2);

    fn claims() -> AccessTokenClaims {
        AccessTokenClaims {
            iss: "https://issuer".into(),
            sub: "demo".into(),
            aud: Audience::One("https://issuer".into()),
            client_id: "demo".into(),
            scope: Scope::parse("a b").unwrap(),
            iat: 1,
            exp: 2,
            jti: TokenId::new(UnixMillis(1000), [1; 10]),
            one_time: false,
            secret_id: None,
            form: TokenForm::default(),
        }
    }

    fn ring() -> KeyRing {
        let keys: Vec<StoredKey> = Alg::ALL
            .into_iter()
            .map(|alg| SigningKey::generate(alg, UnixMillis(1), None).unwrap())
            .collect();
        KeyRing::new(&keys, None, NOW).unwrap()
    }

    fn with_header(token: &str, header: &str) -> String {
        let (_, rest) = token.split_once('.').unwrap();
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
    }

    #[test]
    fn p29_the_verifier_accepts_the_tokens_of_the_signer() {
        let ring = ring();
        let verifier = Verifier::new(&ring).unwrap();
        for alg in Alg::ALL {
            let token = Signer::new(ring.signer(alg, NOW).unwrap())
                .unwrap()
                .sign(&claims())
                .unwrap();
            assert_eq!(verifier.verify(&token), Ok(claims()), "{alg}");
        }
    }

    #[test]
    fn p27_both_types_of_tokens_are_accepted_and_no_other_even_if_signed() {
        let ring = ring();
        let verifier = Verifier::new(&ring).unwrap();
        let key = ring.signer(Alg::Hs256, NOW).unwrap();
        for typ in TokenType::ALL {
            let form = TokenForm {
                custom: CustomClaims::parse(r#"{"roles":["x"],"exp_at":1}"#).unwrap(),
                scope_claim: ScopeClaim::Scp,
                typ,
            };
            let claims = AccessTokenClaims { form, ..claims() };
            let token = Signer::new(key).unwrap().sign(&claims).unwrap();
            let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
            let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
            assert_eq!(header["typ"], typ.name());
            assert_eq!(verifier.verify(&token), Ok(claims));
        }
        let (kid, signer) = (
            &key.kid,
            (DEFAULT_PROVIDER.signer_factory)(&algorithm(key.alg), &key.encoding).unwrap(),
        );
        let mut json = Vec::new();
        claims().write_json(&mut json);
        let id_token = br#"{"iss":"https://issuer","sub":"demo","aud":"demo","iat":1,"exp":2,"nonce":"n"}"#;
        let signed = |typ: &str, payload: &[u8]| {
            let header = format!(r#"{{"alg":"HS256",{typ}"kid":"{kid}"}}"#);
            let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
            let signature = signer.sign(message.as_bytes());
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
        };
        for typ in [r#""typ":"at+jwt","#, r#""typ":"JWT","#] {
            assert!(verifier.verify(&signed(typ, &json)).is_ok(), "{typ}");
            assert_eq!(verifier.verify(&signed(typ, id_token)), Err(RejectedToken), "{typ}");
        }
        for typ in [
            "",
            r#""typ":"jwt","#,
            r#""typ":"logout+jwt","#,
            r#""typ":"application/at+jwt","#,
        ] {
            assert_eq!(verifier.verify(&signed(typ, &json)), Err(RejectedToken), "{typ}");
        }
    }

    #[test]
    fn p51_every_edited_byte_and_every_truncation_is_rejected() {
        let ring = ring();
        let verifier = Verifier::new(&ring).unwrap();
        let token = Signer::new(ring.signer(Alg::Es256, NOW).unwrap())
            .unwrap()
            .sign(&claims())
            .unwrap();
        for at in 0..token.len() {
            assert_eq!(verifier.verify(&token[..at]), Err(RejectedToken), "cut at {at}");
            let mut edited = token.clone().into_bytes();
            edited[at] = if edited[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                verifier.verify(&String::from_utf8(edited).unwrap()),
                Err(RejectedToken),
                "edited at {at}"
            );
        }
    }

    #[test]
    fn p51_a_foreign_header_is_rejected() {
        let ring = ring();
        let verifier = Verifier::new(&ring).unwrap();
        let key = ring.signer(Alg::Es256, NOW).unwrap();
        let token = Signer::new(key).unwrap().sign(&claims()).unwrap();
        let kid = &key.kid;
        for header in [
            format!(r#"{{"typ":"at+jwt","alg":"none","kid":"{kid}"}}"#),
            format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{kid}"}}"#),
            format!(r#"{{"typ":"JWT","alg":"ES256","kid":"{kid}"}}"#),
            format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}","crit":["x"]}}"#),
            format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}","jwk":{{}}}}"#),
            format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}","jku":"http://127.0.0.1/"}}"#),
            r#"{"typ":"at+jwt","alg":"ES256","kid":"../../etc/passwd"}"#.into(),
            r#"{"typ":"at+jwt","alg":"ES256"}"#.into(),
            "[]".into(),
        ] {
            assert_eq!(
                verifier.verify(&with_header(&token, &header)),
                Err(RejectedToken),
                "{header}"
            );
        }
    }

    #[test]
    fn p51_five_parts_and_long_tokens_are_rejected() {
        let verifier = Verifier::new(&ring()).unwrap();
        for bad in ["", ".", "..", "a.b.c.d.e", &"a.".repeat(5000), &"A".repeat(1 << 20)] {
            assert_eq!(verifier.verify(bad), Err(RejectedToken));
        }
    }
}
