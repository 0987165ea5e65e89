//! The secrets of a client as they are stored, and the comparison of a presented one with them in constant time.
//!
//! The comparison does not stop at the first difference. A secret that is stored as a password hash is for
//! `actors::password_verifier`, because verifying one takes from milliseconds to a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::client_secret::ClientSecret;
use super::password_hash::PasswordHash;
use super::secret_hash::SecretHash;
use crate::random::random_text;
use crate::time::UnixMillis;

/// A secret as a client has it: its hash and how long it is valid.
#[derive(Clone, Debug)]
pub struct StoredSecret {
    /// Names the secret in commands and answers; not a secret itself.
    pub id: String,
    /// What a presented secret is compared with.
    pub hash: SecretHash,
    /// When it was made.
    pub created_at: UnixMillis,
    /// From this moment on it is no longer valid.
    pub expires_at: Option<UnixMillis>,
    /// When it was last used, to the minute.
    pub last_used: LastUsed,
}

impl StoredSecret {
    /// What is stored of a secret that was just made; it does not expire.
    pub fn new(secret: &ClientSecret, now: UnixMillis) -> Self {
        Self::with_hash(SecretHash::of(secret), now)
    }

    /// What is stored of a secret from elsewhere; it does not expire.
    pub fn with_hash(hash: SecretHash, now: UnixMillis) -> Self {
        Self {
            id: random_text(SECRET_ID_LENGTH),
            hash,
            created_at: now,
            expires_at: None,
            last_used: LastUsed::default(),
        }
    }

    /// The password hash that it is stored as, if it is.
    pub fn password_hash(&self) -> Option<&Arc<PasswordHash>> {
        match &self.hash {
            SecretHash::Digest(_) => None,
            SecretHash::Password(hash) => Some(hash),
        }
    }

    /// Whether it has not expired.
    pub fn is_valid(&self, now: UnixMillis) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// The longest time that a secret may be given, in seconds: ten years.
pub const MAX_LIFETIME_SECONDS: i64 = 10 * 366 * 24 * 3600;

/// Letters and digits of a secret's id.
const SECRET_ID_LENGTH: usize = 16;

/// When a secret was last used. It is noted in the client that a worker's cache holds, without a lock and without a write
/// to the database for each request.
#[derive(Debug, Default)]
pub struct LastUsed(AtomicI64);

/// Uses within this time count as one, in milliseconds.
const USE_PRECISION: i64 = 60_000;

impl LastUsed {
    /// As the database has it.
    pub fn at(moment: Option<UnixMillis>) -> Self {
        Self(AtomicI64::new(moment.map_or(0, |moment| moment.0)))
    }

    /// The moment; `None` if it was never used.
    pub fn moment(&self) -> Option<UnixMillis> {
        let moment = self.0.load(Ordering::Relaxed);
        (moment > 0).then_some(UnixMillis(moment))
    }

    /// Notes a use; `true` when it is news that somebody should write down.
    pub fn note(&self, now: UnixMillis) -> bool {
        let news = now.0 - self.0.load(Ordering::Relaxed) >= USE_PRECISION;
        if news {
            self.0.store(now.0, Ordering::Relaxed);
        }
        news
    }
}

impl Clone for LastUsed {
    fn clone(&self) -> Self {
        Self::at(self.moment())
    }
}

/// Whether two digests are equal, in the same time whatever they hold: eight bytes at a time, and all of them.
fn are_equal(a: &[u8; 32], b: &[u8; 32]) -> subtle::Choice {
    let ((a, _), (b, _)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let differences = a.iter().zip(b).fold(0, |differences, (a, b)| {
        differences | (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b))
    });
    differences.ct_eq(&0)
}

/// The one of `secrets` that `presented` is, unless it has expired at `now`, or is stored as a password hash.
///
/// Every secret is compared, and at least one comparison is made: a client without secrets (or no client at
/// all) costs what a wrong secret costs, so the time tells nothing about which of them it was (P15).
pub fn verify<'a>(presented: &ClientSecret, secrets: &'a [StoredSecret], now: UnixMillis) -> Option<&'a StoredSecret> {
    /// What a secret without a digest is compared with: nothing has this one.
    const NO_DIGEST: [u8; 32] = [0; 32];
    let digest = presented.digest();
    let mut found = subtle::Choice::from(0);
    let mut place = 0u64;
    for (index, secret) in (0u64..).zip(secrets) {
        let kept = match &secret.hash {
            SecretHash::Digest(bytes) => bytes,
            SecretHash::Password(_) => &NO_DIGEST,
        };
        let is_it = are_equal(&digest, kept) & subtle::Choice::from(u8::from(secret.is_valid(now)));
        place.conditional_assign(&index, is_it);
        found |= is_it;
    }
    if secrets.is_empty() {
        found &= are_equal(&digest, &NO_DIGEST);
    }
    match bool::from(found) {
        true => secrets.get(place as usize),
        false => None,
    }
}

/// Whether one of `secrets` is stored as a password hash, for which [`verify`] is not enough.
pub fn any_is_password_hash(secrets: &[StoredSecret]) -> bool {
    secrets.iter().any(|secret| secret.password_hash().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(secret: &ClientSecret, expires_at: Option<i64>) -> StoredSecret {
        StoredSecret {
            id: "s".into(),
            hash: SecretHash::of(secret),
            created_at: UnixMillis(0),
            expires_at: expires_at.map(UnixMillis),
            last_used: LastUsed::default(),
        }
    }

    #[test]
    fn p16_two_secrets_are_valid_side_by_side() {
        let (old, new) = (ClientSecret::generate(), ClientSecret::generate());
        let secrets = [stored(&old, None), stored(&new, None)];
        let place = |secret| verify(secret, &secrets, UnixMillis(1)).map(std::ptr::from_ref);
        assert_eq!(place(&old), Some(std::ptr::from_ref(&secrets[0])));
        assert_eq!(place(&new), Some(std::ptr::from_ref(&secrets[1])));
        assert_eq!(place(&ClientSecret::generate()), None);
    }

    #[test]
    fn p15_an_expired_secret_is_not_valid() {
        let secret = ClientSecret::generate();
        let secrets = [stored(&secret, Some(10))];
        assert!(verify(&secret, &secrets, UnixMillis(9)).is_some());
        assert!(verify(&secret, &secrets, UnixMillis(10)).is_none());
    }

    #[test]
    fn p16_nothing_verifies_against_no_secrets() {
        assert!(verify(&ClientSecret::generate(), &[], UnixMillis(0)).is_none());
    }

    #[test]
    fn p16_a_digest_that_differs_in_any_bit_is_another() {
        let digest = [0xa5; 32];
        assert!(bool::from(are_equal(&digest, &digest)));
        for bit in 0..256 {
            let mut other = digest;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!bool::from(are_equal(&digest, &other)), "bit {bit}");
        }
    }

    #[test]
    fn a_password_hash_is_stored_as_it_came_and_matches_no_digest() {
        let text = bcrypt::hash("hunter2", 4).unwrap();
        let hash = SecretHash::from_stored(&text).unwrap();
        assert_eq!(hash.to_stored(), text);
        let secret = ClientSecret::new("hunter2".into());
        let imported = StoredSecret {
            hash,
            ..stored(&secret, None)
        };
        assert!(verify(&secret, &[imported], UnixMillis(0)).is_none());
    }

    #[test]
    fn a_use_is_news_once_a_minute() {
        let used = LastUsed::default();
        assert_eq!(used.moment(), None);
        assert!(used.note(UnixMillis(100_000)));
        assert!(!used.note(UnixMillis(159_999)));
        assert!(used.note(UnixMillis(160_000)));
        assert_eq!(used.moment(), Some(UnixMillis(160_000)));
    }
}
