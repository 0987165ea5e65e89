//! The stored secrets of a client, and the constant-time comparison of a presented secret with
//! them.
//!
//! The comparison does not stop at the first difference. Password hashes are verified by
//! `clients::password_verifier` instead, because each takes from milliseconds to a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::client_secret::ClientSecret;
use super::password_hash::PasswordHash;
use super::secret_hash::SecretHash;
use crate::encoding::hex;
use crate::random::random_text;
use crate::time::UnixMillis;

/// A secret of a client: its hash and its period of validity.
#[derive(Clone, Debug)]
pub struct StoredSecret {
    /// The id of the secret in commands and responses. It is not confidential. Shared, because a
    /// token request passes it on.
    pub id: Arc<str>,
    /// The hash that a presented secret is compared with.
    pub hash: SecretHash,
    /// When the secret was created.
    pub created_at: UnixMillis,
    /// The secret is not valid from this moment on.
    pub expires_at: Option<UnixMillis>,
    /// When the secret was last used, to the minute.
    pub last_used: LastUsed,
}

/// The id of a secret that was imported as a password hash, derived from the client and the hash.
/// The first use replaces the hash with a digest; by the id, a later import still finds the secret. The salt in the hash
/// makes the id useless for guessing.
pub fn imported_id(client: &str, hash: &PasswordHash) -> Arc<str> {
    let text = ClientSecret::new(format!("{client} {}", hash.text()));
    hex(&text.digest()[..SECRET_ID_LENGTH / 2]).into()
}

/// Whether a text can be the id of a secret.
pub fn is_id(text: &str) -> bool {
    const MAX_ID: usize = 64;
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl StoredSecret {
    /// A stored secret for one that was just generated. It does not expire.
    pub fn new(secret: &ClientSecret, now: UnixMillis) -> Self {
        Self::with_hash(SecretHash::of(secret), now)
    }

    /// A stored secret for an imported hash. It does not expire.
    pub fn with_hash(hash: SecretHash, now: UnixMillis) -> Self {
        Self {
            id: random_text(SECRET_ID_LENGTH).into(),
            hash,
            created_at: now,
            expires_at: None,
            last_used: LastUsed::default(),
        }
    }

    /// The password hash, if the secret is stored as one.
    pub fn password_hash(&self) -> Option<&Arc<PasswordHash>> {
        match &self.hash {
            SecretHash::Digest(_) => None,
            SecretHash::Password(hash) => Some(hash),
        }
    }

    /// The memory that the secret takes, in bytes, without the overhead of the allocator.
    pub fn bytes(&self) -> usize {
        /// A generous size for the text, the salt and the hash of a password hash.
        const PASSWORD_HASH: usize = 512;
        let hash = self.password_hash().map_or(0, |_| PASSWORD_HASH);
        size_of::<Self>() + self.id.len() + hash
    }

    /// Whether the secret has not expired.
    pub fn is_valid(&self, now: UnixMillis) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// Maximum lifetime of a secret, in seconds: ten years.
pub const MAX_LIFETIME_SECONDS: i64 = 10 * 366 * 24 * 3600;

/// Length of a secret's id, in characters.
const SECRET_ID_LENGTH: usize = 16;

/// When a secret was last used. Kept in the client of a worker's cache, without a lock and without
/// a database write for each request.
#[derive(Debug, Default)]
pub struct LastUsed(AtomicI64);

/// Uses within this time are recorded once, in milliseconds.
const USE_PRECISION: i64 = 60_000;

impl LastUsed {
    /// The time that the database has.
    pub fn at(moment: Option<UnixMillis>) -> Self {
        Self(AtomicI64::new(moment.map_or(0, |moment| moment.0)))
    }

    /// The moment; `None` if it was never used.
    pub fn moment(&self) -> Option<UnixMillis> {
        let moment = self.0.load(Ordering::Relaxed);
        (moment > 0).then_some(UnixMillis(moment))
    }

    /// Records a use. Returns `true` if the new time must be stored in the database.
    pub fn note(&self, now: UnixMillis) -> bool {
        let is_due = now.0 - self.0.load(Ordering::Relaxed) >= USE_PRECISION;
        if is_due {
            self.0.store(now.0, Ordering::Relaxed);
        }
        is_due
    }
}

impl Clone for LastUsed {
    fn clone(&self) -> Self {
        Self::at(self.moment())
    }
}

/// Whether two digests are equal, in constant time: always compares all 32 bytes, eight at a time.
fn are_equal(a: &[u8; 32], b: &[u8; 32]) -> subtle::Choice {
    let ((a, _), (b, _)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let differences = a.iter().zip(b).fold(0, |differences, (a, b)| {
        differences | (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b))
    });
    differences.ct_eq(&0)
}

/// The secret of `secrets` that equals `presented`. Secrets that have expired at `now` or are
/// stored as a password hash do not match.
///
/// Every secret is compared, and there is at least one comparison. A client without secrets and an
/// unknown client therefore take as long as a wrong secret, and the duration does not reveal which
/// was the case (docs/protocol.md#p15).
pub fn verify<'a>(presented: &ClientSecret, secrets: &'a [StoredSecret], now: UnixMillis) -> Option<&'a StoredSecret> {
    /// Compared with in place of a password hash. No secret has this digest.
    const NO_DIGEST: [u8; 32] = [0; 32];
    let digest = presented.digest();
    let mut found = subtle::Choice::from(0);
    let mut place = 0u64;
    for (index, secret) in (0u64..).zip(secrets) {
        let stored = match &secret.hash {
            SecretHash::Digest(bytes) => bytes,
            SecretHash::Password(_) => &NO_DIGEST,
        };
        let matches = are_equal(&digest, stored) & subtle::Choice::from(u8::from(secret.is_valid(now)));
        place.conditional_assign(&index, matches);
        found |= matches;
    }
    if secrets.is_empty() {
        found &= are_equal(&digest, &NO_DIGEST);
    }
    match bool::from(found) {
        true => secrets.get(place as usize),
        false => None,
    }
}

/// Whether one of `secrets` is stored as a password hash, which [`verify`] does not check.
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
    fn p16_digests_that_differ_in_one_bit_are_not_equal() {
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
    fn a_use_is_recorded_once_a_minute() {
        let used = LastUsed::default();
        assert_eq!(used.moment(), None);
        assert!(used.note(UnixMillis(100_000)));
        assert!(!used.note(UnixMillis(159_999)));
        assert!(used.note(UnixMillis(160_000)));
        assert_eq!(used.moment(), Some(UnixMillis(160_000)));
    }
}
