//! Authenticated encryption with AES-256. A value decrypts only for the context that it was
//! encrypted for.
//!
//! The result is a random nonce of 12 bytes, then the ciphertext with its tag (RFC 5116 §5.2, RFC
//! 8452).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, AES_256_GCM_SIV, Aad, Algorithm, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

/// A key for one of the algorithms.
pub struct Aead(LessSafeKey);

impl Aead {
    /// AES-256-GCM. For few values only, because reuse of a nonce reveals both plaintexts.
    pub fn gcm(key: &[u8; 32]) -> Self {
        Self::new(&AES_256_GCM, key)
    }

    /// AES-256-GCM-SIV. For many values of several writers with random nonces: reuse of a nonce
    /// reveals at most that two plaintexts are equal.
    pub fn gcm_siv(key: &[u8; 32]) -> Self {
        Self::new(&AES_256_GCM_SIV, key)
    }

    fn new(algorithm: &'static Algorithm, key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(
            UnboundKey::new(algorithm, key).expect("AES-256 takes exactly 32 bytes"),
        ))
    }

    /// Encrypts `text` for `context`. `None` if the operating system provides no randomness.
    pub fn encrypt(&self, context: &[u8], mut text: Vec<u8>) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut text)
            .ok()?;
        let mut encrypted = nonce.to_vec();
        encrypted.append(&mut text);
        Some(encrypted)
    }

    /// Decrypts a result of [`Aead::encrypt`]. `None` if the key or the context differs, or any
    /// byte was changed.
    pub fn decrypt(&self, context: &[u8], encrypted: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, text) = encrypted.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self.0.open_in_place(nonce, Aad::from(context), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

impl fmt::Debug for Aead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aead(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_decrypts_with_its_key_and_context_only() {
        for (key, other) in [
            (Aead::gcm(&[7; 32]), Aead::gcm(&[8; 32])),
            (Aead::gcm_siv(&[7; 32]), Aead::gcm_siv(&[8; 32])),
        ] {
            let encrypted = key.encrypt(b"context", b"private".to_vec()).unwrap();
            assert!(!encrypted.windows(7).any(|window| window == b"private"));
            assert_eq!(key.decrypt(b"context", &encrypted).unwrap().as_slice(), b"private");
            assert!(key.decrypt(b"other", &encrypted).is_none());
            assert!(other.decrypt(b"context", &encrypted).is_none());
            assert!(key.decrypt(b"context", &encrypted[..encrypted.len() - 1]).is_none());
            assert!(key.decrypt(b"context", b"short").is_none());
        }
    }
}
