//! Seals for the cursors of lists: nobody but the server can make one, and it fits only the list that it was made for.
//!
//! Their keys are derived from the HS256 signing keys of the ring, which every instance has and which outlive restarts; a
//! cursor counts for as long as the key that it was made with is in the ring.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{KeyRing, SigningKey};
use crate::time::UnixMillis;

/// What the keys are derived for; a token's signature is made with another key then, so neither can pass for the other.
const PURPOSE: &[u8] = b"mintage cursors of lists, version 1";

/// The length of an HMAC-SHA-256 tag, in bytes.
const TAG: usize = 32;

/// The keys that cursors are sealed with: the one that seals comes first.
pub struct PageKeys(Vec<Key>);

impl PageKeys {
    /// Those of a ring; `None` if it has none.
    pub fn of(ring: &KeyRing, now: UnixMillis) -> Option<Self> {
        let symmetric = || ring.keys().iter().filter(|key| key.alg.is_symmetric());
        // The newest that signs: the other instances know it for sure.
        let sealing = symmetric().rfind(|key| key.activates_at <= now)?;
        let others = symmetric().filter(|key| key.kid != sealing.kid);
        Some(Self(
            std::iter::once(sealing).chain(others).map(|key| derived(key)).collect(),
        ))
    }

    /// A cursor that stands for `position` in `list`, which also names what the list is filtered by.
    pub fn seal(&self, list: &str, position: &str) -> String {
        let tag = sign(&self.0[0], &message(list, position));
        URL_SAFE_NO_PAD.encode([tag.as_ref(), position.as_bytes()].concat())
    }

    /// The position that a cursor stands for; `None` when it was not made here, or for another list.
    pub fn open(&self, list: &str, cursor: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (tag, position) = bytes.split_at_checked(TAG)?;
        let position = std::str::from_utf8(position).ok()?;
        let message = message(list, position);
        let ours = self.0.iter().any(|key| verify(key, &message, tag).is_ok());
        ours.then(|| position.to_owned())
    }
}

fn derived(key: &SigningKey) -> Key {
    let root = Key::new(HMAC_SHA256, key.encoding.as_bytes());
    Key::new(HMAC_SHA256, sign(&root, PURPOSE).as_ref())
}

/// The length in front keeps the two parts apart.
fn message(list: &str, position: &str) -> Vec<u8> {
    let length = (list.len() as u64).to_be_bytes();
    [&length, list.as_bytes(), position.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::StoredKey;
    use crate::oauth::alg::Alg;

    fn key(alg: Alg, activates_at: i64) -> StoredKey {
        SigningKey::generate(alg, UnixMillis(activates_at), None).unwrap()
    }

    fn of(stored: &[&StoredKey], now: i64) -> Option<PageKeys> {
        let stored: Vec<StoredKey> = stored.iter().map(|key| copy(key)).collect();
        PageKeys::of(&KeyRing::new(&stored, None, UnixMillis(now)).unwrap(), UnixMillis(now))
    }

    fn copy(key: &StoredKey) -> StoredKey {
        StoredKey {
            kid: key.kid.clone(),
            private: key.private.clone(),
            ..*key
        }
    }

    #[test]
    fn a_cursor_opens_for_its_own_list_only() {
        let keys = of(&[&key(Alg::Hs256, 1)], 2).unwrap();
        let cursor = keys.seal("clients", "ab");
        assert_eq!(keys.open("clients", &cursor).as_deref(), Some("ab"));
        for other in ["", "client", "clientsa", "audit", "clients ab"] {
            assert_eq!(keys.open(other, &cursor), None, "{other}");
        }
    }

    #[test]
    fn a_cursor_that_was_changed_or_made_elsewhere_does_not_open() {
        let keys = of(&[&key(Alg::Hs256, 1)], 2).unwrap();
        let cursor = keys.seal("clients", "some position");
        for at in 0..cursor.len() {
            let mut other = cursor.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(keys.open("clients", std::str::from_utf8(&other).unwrap()), None, "{at}");
            assert_eq!(keys.open("clients", &cursor[..at]), None, "{at}");
        }
        let elsewhere = of(&[&key(Alg::Hs256, 1)], 2).unwrap();
        assert_eq!(elsewhere.open("clients", &cursor), None);
    }

    #[test]
    fn the_newest_key_that_signs_seals_and_every_key_opens() {
        let [old, new, future] = [1, 5, 50].map(|moment| key(Alg::Hs256, moment));
        let before = of(&[&old], 10).unwrap().seal("l", "p");
        let after = of(&[&old, &new, &future], 10).unwrap();
        assert_eq!(after.open("l", &before).as_deref(), Some("p"));
        assert!(of(&[&new], 10).unwrap().open("l", &after.seal("l", "p")).is_some());
        assert!(of(&[&new], 10).unwrap().open("l", &before).is_none(), "its key is gone");
        let early = of(&[&future], 60).unwrap().seal("l", "p");
        assert!(after.open("l", &early).is_some(), "the clock of the other is ahead");
    }

    #[test]
    fn without_a_shared_key_there_are_no_cursors() {
        assert!(of(&[&key(Alg::EdDsa, 1)], 2).is_none());
    }

    #[test]
    fn a_cursor_is_not_sealed_with_the_key_of_the_tokens_itself() {
        let stored = key(Alg::Hs256, 1);
        let cursor = of(&[&stored], 2).unwrap().seal("l", "p");
        let tag = sign(&Key::new(HMAC_SHA256, &stored.private), &message("l", "p"));
        assert_ne!(URL_SAFE_NO_PAD.decode(cursor).unwrap()[..TAG], *tag.as_ref());
    }
}
