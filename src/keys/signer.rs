//! Signs claims: JWS compact serialization (RFC 7515 §7.1), with a header that is encoded once.
//!
//! The parsed key is neither `Send` nor `Sync`, so each worker has its own signers.

use std::cell::RefCell;
use std::sync::Arc;

use crate::encoding::URL_SAFE_NO_PAD;
use base64::Engine;
use jsonwebtoken::crypto::JwtSigner;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

use super::key::algorithm;
use super::{KeyError, SigningKey};
use crate::oauth::bounds::MAX_ISSUED_TOKEN;
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::token_form::TokenType;

/// A token is not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSigned {
    /// The key cannot sign, which happens only on an exhausted machine.
    Broken(KeyError),
    /// The token would be longer than [`MAX_ISSUED_TOKEN`].
    TooLong,
}

impl From<KeyError> for NotSigned {
    fn from(error: KeyError) -> Self {
        Self::Broken(error)
    }
}

/// A key parsed for signing, with the header of its tokens.
pub struct Signer {
    kid: Arc<str>,
    /// `base64url(header) "."` for each type of token.
    headers: [String; TokenType::ALL.len()],
    key: Box<dyn JwtSigner>,
    /// Buffer for the claims as JSON, reused so that a token needs no allocation for it.
    json: RefCell<Vec<u8>>,
}

impl Signer {
    /// Parses the key.
    ///
    /// # Errors
    /// The key does not fit its algorithm.
    pub fn new(key: &SigningKey) -> Result<Self, KeyError> {
        let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm(key.alg), &key.encoding)
            .map_err(|_| KeyError(format!("key {} cannot sign", key.kid)))?;
        Ok(Self {
            kid: key.kid.clone(),
            headers: TokenType::ALL.map(|typ| header(key, typ) + "."),
            key: signer,
            json: RefCell::new(Vec::with_capacity(512)),
        })
    }

    /// The key id.
    pub fn kid(&self) -> &Arc<str> {
        &self.kid
    }

    /// Returns the signed token.
    ///
    /// # Errors
    /// As [`Signer::sign_into`].
    pub fn sign(&self, claims: &AccessTokenClaims) -> Result<String, NotSigned> {
        let mut token = Vec::new();
        self.sign_into(claims, &mut token)?;
        Ok(String::from_utf8(token).expect("base64url and dots are ASCII"))
    }

    /// Appends the signed token to `buffer`, such as that of a response, so the token is not
    /// copied.
    ///
    /// # Errors
    /// The key cannot sign, or the token would be too long. What `buffer` then ends with is no token.
    pub fn sign_into(&self, claims: &AccessTokenClaims, buffer: &mut Vec<u8>) -> Result<(), NotSigned> {
        let mut json = self.json.borrow_mut();
        json.clear();
        claims.write_json(&mut json);
        let begin = buffer.len();
        buffer.extend_from_slice(self.headers[claims.form.typ as usize].as_bytes());
        append(buffer, &json);
        let signature = self.key.try_sign(&buffer[begin..]);
        let signature = signature.map_err(|_| KeyError(format!("key {} cannot sign", self.kid)))?;
        buffer.push(b'.');
        append(buffer, &signature);
        // Measured when it is whole, because escapes and signatures differ in length. No endpoint
        // would read a longer token, so it could not be revoked.
        match buffer.len() - begin <= MAX_ISSUED_TOKEN {
            true => Ok(()),
            false => Err(NotSigned::TooLong),
        }
    }
}

/// The header of this key's tokens of a type, as base64url.
pub(super) fn header(key: &SigningKey, typ: TokenType) -> String {
    // A kid is a thumbprint or random letters and digits, so it needs no escaping.
    URL_SAFE_NO_PAD.encode(format!(
        "{{\"typ\":\"{}\",\"alg\":\"{}\",\"kid\":\"{}\"}}",
        typ.name(),
        key.alg,
        key.kid
    ))
}

/// Appends `bytes` as base64url.
fn append(buffer: &mut Vec<u8>, bytes: &[u8]) {
    let begin = buffer.len();
    let length = base64::encoded_len(bytes.len(), false).expect("a token is far shorter than what memory holds");
    buffer.resize(begin + length, 0);
    let target = &mut buffer[begin..];
    URL_SAFE_NO_PAD
        .encode_slice(bytes, target)
        .expect("the buffer has exactly the encoded length");
}
