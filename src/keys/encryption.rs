//! Encryption of private keys at rest: AES-256-GCM with the key of `keys.encryption_key`.
//!
//! This protects a copied database or backup. It does not protect a machine whose configuration can
//! also be read.

use zeroize::Zeroizing;

use super::KeyError;
use crate::aead::Aead;

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
    /// The operating system provides no randomness.
    pub fn encrypt(&self, kid: &str, private: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.0
            .encrypt(kid.as_bytes(), private.to_vec())
            .ok_or_else(|| KeyError(format!("cannot encrypt key {kid}")))
    }

    /// Decrypts a result of [`KeyEncryptionKey::encrypt`].
    ///
    /// # Errors
    /// The value was encrypted with another key or for another `kid`, or was changed.
    pub fn decrypt(&self, kid: &str, encrypted: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.0.decrypt(kid.as_bytes(), encrypted).ok_or_else(|| {
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
}
