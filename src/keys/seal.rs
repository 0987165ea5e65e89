//! Encryption of private keys at rest: AES-256-GCM with the key of `keys.encryption_key`.
//!
//! It protects a copied database or backup. It does not protect a machine whose configuration can be read as well.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::KeyError;

/// The key that private keys are encrypted with.
pub struct KeySeal(LessSafeKey);

impl KeySeal {
    /// From 32 bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        let unbound = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes exactly 32 bytes");
        Self(LessSafeKey::new(unbound))
    }

    /// Encrypts `private`, bound to `kid` so that rows cannot be swapped: a fresh nonce, then the ciphertext with its tag.
    ///
    /// # Errors
    /// When the machine gives no randomness.
    pub fn seal(&self, kid: &str, private: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| KeyError("the machine gives no randomness".into()))?;
        let mut text = private.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(kid.as_bytes()),
                &mut text,
            )
            .map_err(|_| KeyError(format!("cannot encrypt key {kid}")))?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// Decrypts what [`KeySeal::seal`] made.
    ///
    /// # Errors
    /// When it was sealed with another key, or changed since.
    pub fn open(&self, kid: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let wrong = || {
            KeyError(format!(
                "cannot decrypt key {kid}: keys.encryption_key is not the one it was encrypted with"
            ))
        };
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or_else(wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(kid.as_bytes()), &mut text)
            .map_err(|_| wrong())?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

impl fmt::Debug for KeySeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySeal(…)")
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
