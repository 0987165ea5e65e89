//! The key ring: an immutable snapshot of all keys, with the JWKS. Which key signs depends on the
//! time.

use std::sync::Arc;

use jsonwebtoken::jwk::{Jwk, JwkSet};

use super::{KeyEncryptionKey, KeyError, SigningKey, StoredKey};
use super::{KeyRecord, rotation};
use crate::oauth::alg::Alg;
use crate::oauth::response;
use crate::time::UnixMillis;

/// All keys as they were stored at one moment.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<Arc<SigningKey>>,
    /// The records of all rows, including those that have expired.
    records: Vec<KeyRecord>,
    jwks: String,
}

impl KeyRing {
    /// Parses the stored keys, except those that have expired at `now`.
    ///
    /// # Errors
    /// A key is malformed or cannot be decrypted. A server must not start with only a part of its
    /// keys.
    pub fn new(
        stored: &[StoredKey],
        encryption_key: Option<&KeyEncryptionKey>,
        now: UnixMillis,
    ) -> Result<Self, KeyError> {
        let records: Vec<KeyRecord> = stored.iter().map(KeyRecord::from).collect();
        let mut keys = Vec::with_capacity(stored.len());
        for (row, record) in stored.iter().zip(&records) {
            if !record.is_expired(now) {
                keys.push(Arc::new(SigningKey::from_stored(row, encryption_key)?));
            }
        }
        keys.sort_by(|a, b| (a.activates_at, &a.kid).cmp(&(b.activates_at, &b.kid)));
        let public: Vec<Jwk> = keys.iter().filter_map(|key| key.public.clone()).collect();
        let jwks = response::line(&JwkSet { keys: public });
        Ok(Self { keys, records, jwks })
    }

    /// This ring for an instance that had `previous` until `now`. A key that is new to the instance
    /// signs here only after its whole publication time in the JWKS of this instance. So neither
    /// clock skew nor a change that was received late shortens that time.
    pub(super) fn following(mut self, previous: &KeyRing, now: UnixMillis) -> Self {
        for record in &mut self.records {
            let known = previous.records.iter().find(|known| known.kid == record.kid);
            record.activates_at = match known {
                Some(known) => known.activates_at,
                None => {
                    let lead = record.activates_at.since(record.created_at).max(0);
                    record.activates_at.max(UnixMillis(now.0.saturating_add(lead)))
                }
            };
        }
        self
    }

    /// The key that signs for `alg`, if any.
    pub fn signer(&self, alg: Alg, now: UnixMillis) -> Option<&Arc<SigningKey>> {
        let signer = rotation::signer(&self.records, alg, now)?;
        self.keys.iter().find(|key| *key.kid == *signer.kid)
    }

    /// When the result of [`KeyRing::signer`] changes next. `None`: never for this ring.
    pub fn next_activation(&self, now: UnixMillis) -> Option<UnixMillis> {
        rotation::next_activation(&self.records, now)
    }

    /// All keys, oldest first.
    pub fn keys(&self) -> &[Arc<SigningKey>] {
        &self.keys
    }

    /// The record of each stored key.
    pub fn records(&self) -> &[KeyRecord] {
        &self.records
    }

    /// The algorithms of the public keys.
    pub fn published_algs(&self) -> Vec<Alg> {
        let is_published = |alg: &Alg| self.keys.iter().any(|key| key.alg == *alg && key.public.is_some());
        Alg::ALL.into_iter().filter(is_published).collect()
    }

    /// The public keys as a line of JSON (RFC 7517 §5), without any symmetric key.
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
        let signer = |now| ring.signer(Alg::Es256, UnixMillis(now)).unwrap().kid.clone();
        assert_eq!((&*signer(25), &*signer(30)), (&*keys[0].kid, &*keys[2].kid));
        assert_eq!(ring.next_activation(UnixMillis(25)), Some(UnixMillis(30)));
        assert_eq!(ring.keys().len(), 3);
        assert_eq!(ring.published_algs(), [Alg::Es256]);
        assert!(ring.signer(Alg::EdDsa, UnixMillis(25)).is_none());
    }

    #[test]
    fn p50_a_key_received_late_or_from_another_clock_signs_later() {
        let known = stored(Alg::Es256, 10, None);
        let mut new = stored(Alg::Es256, 100, None);
        new.activates_at = UnixMillis(160);
        let keys = [known, new];
        let previous = KeyRing::new(&keys[..1], None, UnixMillis(50)).unwrap();
        let read_at = |now| KeyRing::new(&keys, None, UnixMillis(now)).unwrap();
        let late = read_at(150).following(&previous, UnixMillis(150));
        assert_eq!(late.next_activation(UnixMillis(150)), Some(UnixMillis(210)));
        let early = read_at(90).following(&previous, UnixMillis(90));
        assert_eq!(early.next_activation(UnixMillis(90)), Some(UnixMillis(160)));
        // An activation time that was set once does not change.
        let again = read_at(200).following(&late, UnixMillis(200));
        assert_eq!(again.next_activation(UnixMillis(200)), Some(UnixMillis(210)));
        assert_eq!(*again.signer(Alg::Es256, UnixMillis(209)).unwrap().kid, *keys[0].kid);
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
