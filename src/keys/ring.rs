//! The key ring: an immutable snapshot of all keys, with the one that signs for each algorithm and the JWKS.

use std::sync::Arc;

use jsonwebtoken::jwk::{Jwk, JwkSet};

use super::{KeyError, KeySeal, SigningKey, StoredKey};
use crate::oauth::alg::Alg;
use crate::oauth::time::UnixMillis;

/// All keys at one moment.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<Arc<SigningKey>>,
    active: [Option<Arc<SigningKey>>; Alg::ALL.len()],
    jwks: String,
}

impl KeyRing {
    /// Reads the stored keys as they stand at `now`: those retired are left out, and the one that signs for an
    /// algorithm is the newest that is active.
    ///
    /// # Errors
    /// When a key cannot be decrypted or is none: a server must not start with half of its keys.
    pub fn new(stored: &[StoredKey], seal: Option<&KeySeal>, now: UnixMillis) -> Result<Self, KeyError> {
        let mut keys = Vec::with_capacity(stored.len());
        for row in stored {
            if row.retires_at.is_none_or(|end| now < end) {
                keys.push(Arc::new(SigningKey::from_stored(row, seal)?));
            }
        }
        keys.sort_by(|a, b| (a.activates_at, &a.kid).cmp(&(b.activates_at, &b.kid)));
        let mut active: [Option<Arc<SigningKey>>; Alg::ALL.len()] = Default::default();
        for key in keys.iter().filter(|key| key.activates_at <= now) {
            active[key.alg.index()] = Some(key.clone());
        }
        let public: Vec<Jwk> = keys.iter().filter_map(|key| key.public.clone()).collect();
        let jwks = serde_json::to_string(&JwkSet { keys: public }).expect("a JWK is made of strings");
        Ok(Self { keys, active, jwks })
    }

    /// The key that signs for `alg`, if there is one.
    pub fn active(&self, alg: Alg) -> Option<&Arc<SigningKey>> {
        self.active[alg.index()].as_ref()
    }

    /// All keys, oldest first.
    pub fn keys(&self) -> &[Arc<SigningKey>] {
        &self.keys
    }

    /// The public keys as JSON (RFC 7517 §5), without any symmetric key.
    pub fn jwks(&self) -> &str {
        &self.jwks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn stored(alg: Alg, activates_at: i64, retires_at: Option<i64>) -> StoredKey {
        let mut key = SigningKey::generate(alg, UnixMillis(activates_at), None).unwrap();
        key.retires_at = retires_at.map(UnixMillis);
        key
    }

    #[test]
    fn the_newest_active_key_signs() {
        let keys = [
            stored(Alg::Es256, 20, None),
            stored(Alg::Es256, 10, None),
            stored(Alg::Es256, 30, None),
        ];
        let ring = KeyRing::new(&keys, None, UnixMillis(25)).unwrap();
        assert_eq!(*ring.active(Alg::Es256).unwrap().kid, *keys[0].kid);
        assert_eq!(ring.keys().len(), 3);
        assert!(ring.active(Alg::EdDsa).is_none());
    }

    #[test]
    fn a_retired_key_is_gone() {
        let keys = [stored(Alg::EdDsa, 10, Some(20))];
        assert_eq!(KeyRing::new(&keys, None, UnixMillis(19)).unwrap().keys().len(), 1);
        assert_eq!(KeyRing::new(&keys, None, UnixMillis(20)).unwrap().keys().len(), 0);
    }

    #[test]
    fn p49_the_jwks_has_every_public_key_and_no_private_member() {
        let keys: Vec<StoredKey> = Alg::ALL.into_iter().map(|alg| stored(alg, 1, None)).collect();
        let ring = KeyRing::new(&keys, None, UnixMillis(2)).unwrap();
        let jwks: Value = serde_json::from_str(ring.jwks()).unwrap();
        let listed = jwks["keys"].as_array().unwrap();
        assert_eq!(listed.len(), 4);
        for key in listed {
            assert_eq!(key["use"], "sig");
            assert!(key["alg"] != "HS256" && key["kid"].is_string());
            for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
                assert!(key.get(private).is_none(), "{private}");
            }
        }
    }
}
