//! [`KeyRecord`]: everything about a key except its key material.

use crate::oauth::alg::Alg;
use crate::time::UnixMillis;

/// Everything about a key except its key material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key id, as in token headers and in the JWKS.
    pub kid: String,
    /// The algorithm.
    pub alg: Alg,
    /// Whether it is stored encrypted.
    pub encrypted: bool,
    /// When the key was published.
    pub created_at: UnixMillis,
    /// The key signs from this moment on.
    pub activates_at: UnixMillis,
    /// The key is removed at this moment. `None` until a successor is published.
    pub retires_at: Option<UnixMillis>,
}

impl KeyRecord {
    /// Whether no token that the key signed can still be valid.
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.retires_at.is_some_and(|end| end <= now)
    }

    /// Sort key for the order of activation.
    pub(super) fn order(&self) -> (UnixMillis, &str) {
        (self.activates_at, &self.kid)
    }
}
