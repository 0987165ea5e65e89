//! The stored form of a client secret: a digest or a password hash.
//!
//! A generated secret has 256 random bits, so a password hash would not make it safer and would add
//! milliseconds to every token request. It is stored as SHA-256. An imported secret that looks
//! chosen keeps a password hash (ADR 18).

use std::fmt;
use std::sync::Arc;

use super::client_secret::ClientSecret;
use super::password_hash::PasswordHash;
use crate::encoding::{from_hex, hex};

/// The hash of a secret.
#[derive(Clone)]
pub enum SecretHash {
    /// SHA-256.
    Digest([u8; 32]),
    /// A password hash: imported and not used yet, or of a secret that looks chosen.
    Password(Arc<PasswordHash>),
}

/// The prefix of the stored form of a digest; password hashes begin with `$`.
pub const STORED_PREFIX: &str = "sha256:";

impl SecretHash {
    /// The digest of a generated secret.
    pub fn of(secret: &ClientSecret) -> Self {
        Self::Digest(secret.digest())
    }

    /// Whether this is the same hash. Of two password hashes of one secret, each has its own salt.
    pub fn is(&self, other: &Self) -> bool {
        self.to_stored() == other.to_stored()
    }

    /// The form in the database: `sha256:` and 64 hexadecimal digits, or the password hash as it
    /// was imported.
    pub fn to_stored(&self) -> String {
        let bytes = match self {
            Self::Digest(bytes) => bytes,
            Self::Password(hash) => return hash.text().to_owned(),
        };
        format!("{STORED_PREFIX}{}", hex(bytes))
    }

    /// Parses the stored form. `None` if it is malformed.
    pub fn from_stored(text: &str) -> Option<Self> {
        if PasswordHash::looks_like_one(text) {
            return PasswordHash::parse(text)
                .ok()
                .map(|hash| Self::Password(Arc::new(hash)));
        }
        Self::from_digest(text.strip_prefix(STORED_PREFIX)?)
    }

    /// A SHA-256 digest of 64 hexadecimal digits. `None` for any other text.
    pub fn from_digest(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = from_hex(pair[0], pair[1])?;
        }
        Some(Self::Digest(bytes))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_hash_reads_back_and_other_forms_do_not() {
        let hash = SecretHash::of(&ClientSecret::generate());
        let text = hash.to_stored();
        assert_eq!(
            SecretHash::from_stored(&text).map(|back| back.to_stored()),
            Some(text.clone())
        );
        for bad in ["", "sha256:", "sha256:zz", "md5:00", &text[1..], &text[..70]] {
            assert!(SecretHash::from_stored(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn g8_debug_does_not_reveal_a_secret() {
        let secret = ClientSecret::new("hunter2".into());
        assert_eq!(
            format!("{secret:?} {:?}", SecretHash::of(&secret)),
            "ClientSecret(…) SecretHash(…)"
        );
    }
}
