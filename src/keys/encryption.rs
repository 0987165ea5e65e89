//! Encryption of private keys at rest: AES-256-GCM with the key of `keys.encryption_key`. The same
//! key attests the algorithm and the times of a key ([`super::trust`]).
//!
//! This protects a copied database or backup. It does not protect a machine whose configuration can
//! also be read.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{KeyError, KeyRecord};
use crate::aead::Aead;
use crate::time::UnixMillis;

/// The context of an attestation is this and the kid.
const ATTESTATION: &str = "mintage key attestation\0";

/// The context of a private key is this and the kid, so neither can be put in the place of the
/// other. In version 0.1, it was the kid alone.
const PRIVATE_KEY: &str = "mintage private key\0";

/// The key that encrypts private keys.
#[derive(Debug)]
pub struct KeyEncryptionKey(Aead);

impl KeyEncryptionKey {
    /// From 32 bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aead::gcm(key))
    }

    /// Encrypts `private`: a random nonce, then the ciphertext with its tag. The result is bound to
    /// `kid`, so that rows cannot be swapped.
    ///
    /// # Errors
    /// The operating system provides no randomness, or `kid` is none that a key is generated with.
    pub fn encrypt(&self, kid: &str, private: &[u8]) -> Result<Vec<u8>, KeyError> {
        let cannot = || KeyError(format!("cannot encrypt key {kid}"));
        if is_impossible(kid) {
            return Err(cannot());
        }
        self.0
            .encrypt(&context(PRIVATE_KEY, kid), private.to_vec())
            .ok_or_else(cannot)
    }

    /// Decrypts a result of [`KeyEncryptionKey::encrypt`], of this version or of 0.1.
    ///
    /// # Errors
    /// The value was encrypted with another key or for another `kid`, or was changed.
    pub fn decrypt(&self, kid: &str, encrypted: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let of_this_version = self.0.decrypt(&context(PRIVATE_KEY, kid), encrypted);
        let of_0_1 = || {
            self.0
                .decrypt(kid.as_bytes(), encrypted)
                .filter(|_| !is_impossible(kid))
        };
        of_this_version.or_else(of_0_1).ok_or_else(|| {
            KeyError(format!(
                "cannot decrypt key {kid}: keys.encryption_key is not the one it was encrypted with"
            ))
        })
    }

    /// Whether this version encrypted the private key. It attests each one that it encrypts.
    pub fn is_of_this_version(&self, kid: &str, encrypted: &[u8]) -> bool {
        self.0.decrypt(&context(PRIVATE_KEY, kid), encrypted).is_some()
    }

    /// Attests the algorithm and the times of a key.
    ///
    /// # Errors
    /// The operating system provides no randomness.
    pub fn attest(&self, record: &KeyRecord) -> Result<Vec<u8>, KeyError> {
        let attested = Attested {
            alg: record.alg.name().to_owned(),
            created_at: record.created_at.0,
            activates_at: record.activates_at.0,
            retires_at: record.retires_at.map(|at| at.0),
        };
        let text = serde_json::to_vec(&attested).expect("it consists of strings and numbers");
        self.0
            .encrypt(&context(ATTESTATION, &record.kid), text)
            .ok_or_else(|| KeyError(format!("cannot attest key {}", record.kid)))
    }

    /// The record of an encrypted key that [`KeyEncryptionKey::attest`] was called with. `None` if
    /// this is not its result for this key and `kid`.
    pub(super) fn attested(&self, kid: &str, attestation: &[u8]) -> Option<KeyRecord> {
        let text = self.0.decrypt(&context(ATTESTATION, kid), attestation)?;
        let attested: Attested = serde_json::from_slice(&text).ok()?;
        Some(KeyRecord {
            kid: kid.to_owned(),
            alg: attested.alg.parse().ok()?,
            encrypted: true,
            created_at: UnixMillis(attested.created_at),
            activates_at: UnixMillis(attested.activates_at),
            retires_at: attested.retires_at.map(UnixMillis),
        })
    }
}

/// The content of an attestation; times are milliseconds since the epoch.
#[derive(Serialize, Deserialize)]
struct Attested {
    alg: String,
    created_at: i64,
    activates_at: i64,
    retires_at: Option<i64>,
}

fn context(kind: &str, kid: &str) -> Vec<u8> {
    [kind, kid].concat().into_bytes()
}

/// Whether a key is never generated with `kid`, because as a context of version 0.1 it could be
/// that of something else.
fn is_impossible(kid: &str) -> bool {
    kid.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_decrypts_with_the_same_key_and_kid_only() {
        let key = KeyEncryptionKey::new(&[7; 32]);
        let encrypted = key.encrypt("kid", b"private").unwrap();
        assert!(!encrypted.windows(7).any(|window| window == b"private"));
        assert_eq!(key.decrypt("kid", &encrypted).unwrap().as_slice(), b"private");
        assert!(key.decrypt("other", &encrypted).is_err());
        assert!(KeyEncryptionKey::new(&[8; 32]).decrypt("kid", &encrypted).is_err());
        assert!(key.decrypt("kid", &encrypted[..encrypted.len() - 1]).is_err());
        assert!(key.decrypt("kid", b"short").is_err());
    }

    /// Version 0.1 used the kid as the context.
    fn encrypted_by_0_1(kid: &str) -> Vec<u8> {
        Aead::gcm(&[7; 32])
            .encrypt(kid.as_bytes(), b"private".to_vec())
            .unwrap()
    }

    #[test]
    fn private_keys_of_0_1_are_read_and_told_apart() {
        let key = KeyEncryptionKey::new(&[7; 32]);
        let old = encrypted_by_0_1("kid");
        assert_eq!(key.decrypt("kid", &old).unwrap().as_slice(), b"private");
        assert!(key.decrypt("other", &old).is_err());
        assert!(!key.is_of_this_version("kid", &old));
        let new = key.encrypt("kid", b"private").unwrap();
        assert!(key.is_of_this_version("kid", &new) && !key.is_of_this_version("other", &new));
    }

    #[test]
    fn an_attestation_and_a_private_key_cannot_replace_each_other() {
        let key = KeyEncryptionKey::new(&[7; 32]);
        let record = KeyRecord {
            kid: "kid".into(),
            alg: crate::oauth::alg::Alg::Hs256,
            encrypted: true,
            created_at: UnixMillis(1),
            activates_at: UnixMillis(2),
            retires_at: None,
        };
        let attestation = key.attest(&record).unwrap();
        assert_eq!(key.attested("kid", &attestation), Some(record));
        assert_eq!(key.attested("other", &attestation), None);
        assert!(key.decrypt("kid", &attestation).is_err());
        let private = key.encrypt("kid", br#"{"alg":"HS256"}"#).unwrap();
        assert_eq!(key.attested("kid", &private), None);
        for kind in [ATTESTATION, PRIVATE_KEY] {
            let kid = [kind, "kid"].concat();
            assert!(key.encrypt(&kid, b"private").is_err());
            assert!(key.decrypt(&kid, &encrypted_by_0_1(&kid)).is_err());
        }
        // As the private key of a row of 0.1 whose kid is the context of the attestation.
        assert!(key.decrypt("mintage key attestation\0kid", &attestation).is_err());
    }
}
