//! A signing key: generated for an algorithm, identified by its thumbprint (RFC 7638), published as
//! a JWK.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use base64::Engine;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use zeroize::Zeroizing;

use super::{KeyEncryptionKey, KeyError, KeyRecord};
use crate::encoding::STANDARD;
use crate::oauth::alg::Alg;
use crate::random::random_text;
use crate::time::UnixMillis;

/// Length of an HMAC key. A key shorter than the hash would weaken it (RFC 7518 §3.2).
const HMAC_KEY_BYTES: usize = 32;

/// A key as it is stored in the database.
pub struct StoredKey {
    /// The key id, as in token headers and in the JWKS.
    pub kid: String,
    /// The algorithm.
    pub alg: Alg,
    /// PKCS#8, or the bytes of an HMAC key. Encrypted if [`StoredKey::encrypted`] is set.
    pub private: Zeroizing<Vec<u8>>,
    /// Whether `private` is encrypted.
    pub encrypted: bool,
    /// When the key was generated.
    pub created_at: UnixMillis,
    /// The key signs from this moment on.
    pub activates_at: UnixMillis,
    /// The key is removed at this moment. `None` until a successor is published.
    pub retires_at: Option<UnixMillis>,
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredKey({} {})", self.alg, self.kid)
    }
}

impl From<&StoredKey> for KeyRecord {
    fn from(stored: &StoredKey) -> Self {
        Self {
            kid: stored.kid.clone(),
            alg: stored.alg,
            encrypted: stored.encrypted,
            created_at: stored.created_at,
            activates_at: stored.activates_at,
            retires_at: stored.retires_at,
        }
    }
}

/// A key ready for use.
pub struct SigningKey {
    /// The key id.
    pub kid: Arc<str>,
    /// The algorithm.
    pub alg: Alg,
    /// When the key was generated.
    pub created_at: UnixMillis,
    /// The key signs from this moment on.
    pub activates_at: UnixMillis,
    /// The key is removed at this moment. `None` until a successor is published.
    pub retires_at: Option<UnixMillis>,
    /// The public key; `None` for a symmetric key.
    pub public: Option<Jwk>,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.alg, self.kid)
    }
}

impl SigningKey {
    /// Generates a key that signs from `now` on, in its stored form.
    ///
    /// # Errors
    /// The operating system provides no randomness, or the key cannot be encrypted.
    pub fn generate(
        alg: Alg,
        now: UnixMillis,
        encryption_key: Option<&KeyEncryptionKey>,
    ) -> Result<StoredKey, KeyError> {
        let private = generate_private(alg)?;
        let kid = match public_jwk(alg, &encoding_key(alg, &private)?)? {
            Some(jwk) => jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| unusable(alg))?,
            None => random_text(43),
        };
        let stored = match encryption_key {
            Some(encryption_key) => Zeroizing::new(encryption_key.encrypt(&kid, &private)?),
            None => private,
        };
        Ok(StoredKey {
            kid,
            alg,
            private: stored,
            encrypted: encryption_key.is_some(),
            created_at: now,
            activates_at: now,
            retires_at: None,
        })
    }

    /// Parses a stored key.
    ///
    /// # Errors
    /// The key is malformed, or it is encrypted and `encryption_key` is missing or wrong.
    pub fn from_stored(stored: &StoredKey, encryption_key: Option<&KeyEncryptionKey>) -> Result<Self, KeyError> {
        let kid = &stored.kid;
        let private = match (stored.encrypted, encryption_key) {
            (false, _) => stored.private.clone(),
            (true, Some(encryption_key)) => encryption_key.decrypt(kid, &stored.private)?,
            (true, None) => {
                return Err(KeyError(format!(
                    "key {kid} is encrypted: set keys.encryption_key to the key it was encrypted with"
                )));
            }
        };
        if stored.alg.is_symmetric() && private.len() < HMAC_KEY_BYTES {
            return Err(KeyError(format!("key {kid} has fewer than 256 bits")));
        }
        let encoding = encoding_key(stored.alg, &private)?;
        let mut public = public_jwk(stored.alg, &encoding)?;
        let decoding = match &mut public {
            Some(jwk) => {
                jwk.common.key_id = Some(kid.clone());
                jwk.common.public_key_use = Some(PublicKeyUse::Signature);
                DecodingKey::from_jwk(jwk).map_err(|_| unusable(stored.alg))?
            }
            None => DecodingKey::from_secret(&private),
        };
        Ok(Self {
            kid: kid.as_str().into(),
            alg: stored.alg,
            created_at: stored.created_at,
            activates_at: stored.activates_at,
            retires_at: stored.retires_at,
            public,
            encoding,
            decoding,
        })
    }
}

/// The corresponding algorithm of jsonwebtoken.
pub(super) fn algorithm(alg: Alg) -> Algorithm {
    match alg {
        Alg::Es256 => Algorithm::ES256,
        Alg::EdDsa => Algorithm::EdDSA,
        Alg::Rs256 => Algorithm::RS256,
        Alg::Ps256 => Algorithm::PS256,
        Alg::Hs256 => Algorithm::HS256,
    }
}

fn unusable(alg: Alg) -> KeyError {
    KeyError(format!("the stored {alg} key is malformed"))
}

fn generate_private(alg: Alg) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let failed = |_| KeyError(format!("cannot generate a key for {alg}"));
    Ok(Zeroizing::new(match alg {
        Alg::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
            pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()
        }
        Alg::EdDsa => {
            // PKCS#8 version 1, without the public key: jsonwebtoken recognizes the curve by the
            // length of this form.
            let pair = Ed25519KeyPair::generate().map_err(failed)?;
            pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()
        }
        Alg::Rs256 | Alg::Ps256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
            pair.as_der().map_err(failed)?.as_ref().to_vec()
        }
        Alg::Hs256 => {
            let mut bytes = vec![0; HMAC_KEY_BYTES];
            rand::fill(&mut bytes).map_err(failed)?;
            bytes
        }
    }))
}

fn encoding_key(alg: Alg, private: &[u8]) -> Result<EncodingKey, KeyError> {
    match alg {
        Alg::Es256 => Ok(EncodingKey::from_ec_der(private)),
        Alg::EdDsa => Ok(EncodingKey::from_ed_der(private)),
        Alg::Hs256 => Ok(EncodingKey::from_secret(private)),
        // jsonwebtoken needs the PKCS#1 key inside the PKCS#8 structure, and extracts it only from
        // a PEM text.
        Alg::Rs256 | Alg::Ps256 => {
            let body = Zeroizing::new(STANDARD.encode(private));
            let pem = Zeroizing::new(format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                *body
            ));
            EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| unusable(alg))
        }
    }
}

fn public_jwk(alg: Alg, encoding: &EncodingKey) -> Result<Option<Jwk>, KeyError> {
    if alg.is_symmetric() {
        return Ok(None);
    }
    Jwk::from_encoding_key(encoding, algorithm(alg))
        .map(Some)
        .map_err(|_| unusable(alg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p27_the_kid_is_the_thumbprint_and_random_for_a_shared_secret() {
        let stored = SigningKey::generate(Alg::Es256, UnixMillis(1), None).unwrap();
        let key = SigningKey::from_stored(&stored, None).unwrap();
        let jwk = key.public.clone().unwrap();
        assert_eq!(jwk.thumbprint(ThumbprintHash::SHA256).unwrap(), stored.kid);
        let shared = SigningKey::generate(Alg::Hs256, UnixMillis(1), None).unwrap();
        assert_eq!(shared.kid.len(), 43);
        assert!(SigningKey::from_stored(&shared, None).unwrap().public.is_none());
    }

    #[test]
    fn p29_a_key_of_every_algorithm_is_generated_and_parsed() {
        for alg in Alg::ALL {
            let stored = SigningKey::generate(alg, UnixMillis(1), None).unwrap();
            assert_eq!(SigningKey::from_stored(&stored, None).unwrap().alg, alg);
        }
    }

    #[test]
    fn p29_a_short_hmac_key_is_rejected() {
        let mut stored = SigningKey::generate(Alg::Hs256, UnixMillis(1), None).unwrap();
        stored.private = Zeroizing::new(vec![1; 31]);
        assert!(
            SigningKey::from_stored(&stored, None)
                .unwrap_err()
                .0
                .contains("256 bits")
        );
    }

    #[test]
    fn an_encrypted_key_needs_its_key() {
        let encryption_key = KeyEncryptionKey::new(&[1; 32]);
        let stored = SigningKey::generate(Alg::EdDsa, UnixMillis(1), Some(&encryption_key)).unwrap();
        assert!(SigningKey::from_stored(&stored, Some(&encryption_key)).is_ok());
        assert!(
            SigningKey::from_stored(&stored, None)
                .unwrap_err()
                .0
                .contains("keys.encryption_key")
        );
        assert!(SigningKey::from_stored(&stored, Some(&KeyEncryptionKey::new(&[2; 32]))).is_err());
    }

    #[test]
    fn a_broken_key_is_an_error() {
        for alg in [Alg::Es256, Alg::EdDsa, Alg::Rs256, Alg::Ps256] {
            let mut stored = SigningKey::generate(alg, UnixMillis(1), None).unwrap();
            stored.private = Zeroizing::new(b"no key at all".to_vec());
            assert!(SigningKey::from_stored(&stored, None).is_err(), "{alg}");
        }
    }
}
