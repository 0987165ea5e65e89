//! Encryption of private keys at rest: AES-256-GCM with the key of `keys.encryption_key`.
//!
//! It protects a copied database or backup. It does not protect a machine whose configuration can be read as well.

use zeroize::Zeroizing;

use super::KeyError;
use crate::aead::Aead;

/// The key that private keys are encrypted with.
#[derive(Debug)]
pub struct KeySeal(Aead);

impl KeySeal {
    /// From 32 bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aead::gcm(key))
    }

    /// Encrypts `private`, bound to `kid` so that rows cannot be swapped: a fresh nonce, then the ciphertext with its tag.
    ///
    /// # Errors
    /// When the machine gives no randomness.
    pub fn seal(&self, kid: &str, private: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.0
            .encrypt(kid.as_bytes(), private.to_vec())
            .ok_or_else(|| KeyError(format!("cannot encrypt key {kid}")))
    }

    /// Decrypts what [`KeySeal::seal`] made.
    ///
    /// # Errors
    /// When it was sealed with another key, or changed since.
    pub fn open(&self, kid: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.0.decrypt(kid.as_bytes(), sealed).ok_or_else(|| {
            KeyError(format!(
                "cannot decrypt key {kid}: keys.encryption_key is not the one it was encrypted with"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_kid_only() {
        let seal = KeySeal::new(&[7; 32]);
        let sealed = seal.seal("kid", b"private").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"private"));
        assert_eq!(seal.open("kid", &sealed).unwrap().as_slice(), b"private");
        assert!(seal.open("other", &sealed).is_err());
        assert!(KeySeal::new(&[8; 32]).open("kid", &sealed).is_err());
        assert!(seal.open("kid", &sealed[..sealed.len() - 1]).is_err());
        assert!(seal.open("kid", b"short").is_err());
    }
}
