//! The set of all revocations and redemptions that have not expired, and the client statuses.
//!
//! The set is complete: it is loaded before the server is ready and kept current by the change log.
//! A token that is not in the set is not revoked, so checking a token reads no database.
//!
//! All workers share one set. With one per worker, memory would multiply by the number of workers,
//! and a revocation could be acknowledged only after every worker has replied. The shared set makes
//! a revocation effective for the next request on every worker as soon as it is inserted. It is
//! split into shards, so that readers and the writer rarely contend for a lock; the
//! measurement is in docs/adr/0009-one-set-of-revocations-for-all-workers.md.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use ahash::RandomState;
use arc_swap::ArcSwap;

use crate::oauth::activity::{ClientStatus, InvalidatedToken, RevocationCheck};
use crate::oauth::client::ClientId;
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;

/// An id has 74 random bits, which include its low byte, so ids spread evenly over the shards.
const SHARDS: usize = 64;

/// How long an id is kept after its token has expired, in seconds. Allows for clock skew between
/// instances.
const KEPT_AFTER_EXPIRY: i64 = 300;

type Shard = HashMap<TokenId, i64, RandomState>;

/// The set, and the client statuses.
pub(super) struct RevocationSet {
    invalidated: Vec<RwLock<Shard>>,
    known: AtomicUsize,
    /// Tokens that expire at or before this second may be missing, because they were forgotten.
    forgotten_until: AtomicI64,
    /// Replaced as a whole: few clients are disabled or have a not-before.
    statuses: ArcSwap<ClientStatuses>,
}

/// The client statuses that differ from the default.
#[derive(Clone, Default)]
pub(super) struct ClientStatuses {
    pub global_not_before: Option<UnixMillis>,
    pub clients: HashMap<ClientId, ClientStatus, RandomState>,
}

impl Default for RevocationSet {
    fn default() -> Self {
        Self {
            invalidated: (0..SHARDS).map(|_| RwLock::default()).collect(),
            known: AtomicUsize::new(0),
            forgotten_until: AtomicI64::new(i64::MIN),
            statuses: ArcSwap::default(),
        }
    }
}

impl RevocationSet {
    /// Applies the statuses of all clients. A not-before set here after they were read is kept.
    pub fn apply(&self, read: &ClientStatuses) {
        self.statuses.rcu(|current| {
            let mut next = read.clone();
            next.global_not_before = next.global_not_before.max(current.global_not_before);
            for (id, status) in current.clients.iter().filter(|(_, known)| known.not_before.is_some()) {
                let known = next.clients.entry(id.clone()).or_default();
                known.not_before = known.not_before.max(status.not_before);
            }
            next
        });
    }

    /// Tokens that expire at or before `since` may be missing from now on; all later ones are
    /// present.
    pub fn set_forgotten_until(&self, since: i64) {
        self.forgotten_until.store(since, Ordering::SeqCst);
    }

    /// Whether tokens were forgotten that are no longer expired because the clock was set back.
    pub fn has_forgotten_unexpired(&self, now: UnixMillis) -> bool {
        self.forgotten_until.load(Ordering::SeqCst) > forgotten_until(now)
    }

    /// Marks a token as invalidated, effective immediately on all workers.
    pub fn invalidate(&self, token: InvalidatedToken) {
        let mut shard = self.shard(&token.jti).write().unwrap_or_else(PoisonError::into_inner);
        if shard.insert(token.jti, token.expires_at).is_none() {
            self.known.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sets the statuses of these clients. A not-before never moves back.
    ///
    /// A caller may apply what it read before a concurrent revocation. That must not undo the
    /// revocation.
    pub fn set_statuses(&self, statuses: &[(ClientId, ClientStatus)]) {
        self.statuses.rcu(|current| {
            let mut next = ClientStatuses::clone(current);
            for (id, status) in statuses {
                let known = next.clients.get(id).and_then(|known| known.not_before);
                let status = ClientStatus {
                    not_before: status.not_before.max(known),
                    ..*status
                };
                match status == ClientStatus::default() {
                    true => next.clients.remove(id),
                    false => next.clients.insert(id.clone(), status),
                };
            }
            next
        });
    }

    /// Makes every token issued to this client before `moment` inactive. Whether the client is
    /// disabled is unchanged: the change feed may have learned of that while `moment` was written.
    pub fn set_not_before(&self, id: &ClientId, moment: UnixMillis) {
        self.statuses.rcu(|current| {
            let mut next = ClientStatuses::clone(current);
            let status = next.clients.entry(id.clone()).or_default();
            status.not_before = status.not_before.max(Some(moment));
            next
        });
    }

    /// Makes every token issued before `moment` inactive. A not-before never moves back.
    pub fn set_global_not_before(&self, moment: Option<UnixMillis>) {
        self.statuses.rcu(|current| ClientStatuses {
            global_not_before: moment.max(current.global_not_before),
            ..ClientStatuses::clone(current)
        });
    }

    /// The number of invalidated tokens in memory.
    pub fn known(&self) -> usize {
        self.known.load(Ordering::Relaxed)
    }

    /// Forgets tokens past their retention; returns how many.
    pub fn forget_expired(&self, now: UnixMillis) -> usize {
        let since = forgotten_until(now);
        // Stored first: a reader that no longer finds a token must see that it may have been
        // forgotten.
        self.forgotten_until.fetch_max(since, Ordering::SeqCst);
        let mut forgotten = 0;
        for shard in &self.invalidated {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let before = shard.len();
            shard.retain(|_, expires_at| *expires_at > since);
            forgotten += before - shard.len();
            // Otherwise the memory of a wave of revocations would never be freed.
            if shard.capacity() > 4 * shard.len() + 64 {
                shard.shrink_to_fit();
            }
        }
        self.known.fetch_sub(forgotten, Ordering::Relaxed);
        forgotten
    }

    fn shard(&self, jti: &TokenId) -> &RwLock<Shard> {
        &self.invalidated[jti.low_byte() % SHARDS]
    }
}

impl RevocationCheck for RevocationSet {
    fn is_invalidated(&self, jti: &TokenId) -> bool {
        self.shard(jti)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(jti)
    }

    fn remembers(&self, expires_at: i64) -> bool {
        expires_at > self.forgotten_until.load(Ordering::SeqCst)
    }

    fn client_status(&self, client_id: &str) -> ClientStatus {
        let statuses = self.statuses.load();
        let mut status = statuses.clients.get(client_id).copied().unwrap_or_default();
        status.not_before = status.not_before.max(statuses.global_not_before);
        status
    }
}

/// The last second whose expired tokens may be forgotten at `now`.
pub(super) fn forgotten_until(now: UnixMillis) -> i64 {
    now.seconds() - KEPT_AFTER_EXPIRY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalidated(number: u8, expires_at: i64) -> InvalidatedToken {
        InvalidatedToken {
            jti: TokenId::new(UnixMillis(1), [number; 10]),
            expires_at,
        }
    }

    #[test]
    fn g1_an_invalidated_token_is_known_until_its_retention_ends() {
        let revocations = RevocationSet::default();
        for number in 0..200 {
            revocations.invalidate(invalidated(number, 1000));
            revocations.invalidate(invalidated(number, 1000));
        }
        assert_eq!(revocations.known(), 200);
        assert!(revocations.is_invalidated(&invalidated(7, 0).jti));
        assert!(!revocations.is_invalidated(&invalidated(201, 0).jti));
        assert_eq!(
            revocations.forget_expired(UnixMillis::from_seconds(1000 + KEPT_AFTER_EXPIRY - 1)),
            0
        );
        assert_eq!(
            revocations.forget_expired(UnixMillis::from_seconds(1000 + KEPT_AFTER_EXPIRY)),
            200
        );
        assert_eq!(
            (revocations.known(), revocations.is_invalidated(&invalidated(7, 0).jti)),
            (0, false)
        );
    }

    #[test]
    fn g1_a_token_that_may_have_been_forgotten_is_not_remembered() {
        let revocations = RevocationSet::default();
        assert!(revocations.remembers(0));
        let later = UnixMillis::from_seconds(1000 + KEPT_AFTER_EXPIRY);
        revocations.forget_expired(later);
        assert_eq!(
            (revocations.remembers(1000), revocations.remembers(1001)),
            (false, true)
        );
        assert!(!revocations.has_forgotten_unexpired(later));
        assert!(
            revocations.has_forgotten_unexpired(UnixMillis(later.0 - 1000)),
            "the clock was set back"
        );
        revocations.forget_expired(UnixMillis(later.0 - 1000));
        assert!(!revocations.remembers(1000), "forgotten for good");
    }

    #[test]
    fn g1_a_not_before_changes_nothing_else_and_never_moves_back() {
        let (revocations, id) = (RevocationSet::default(), ClientId::parse("demo").unwrap());
        let status = |disabled, moment: Option<i64>| ClientStatus {
            disabled,
            not_before: moment.map(UnixMillis),
        };
        revocations.set_statuses(&[(id.clone(), status(true, None))]);
        revocations.set_not_before(&id, UnixMillis(9));
        revocations.set_not_before(&id, UnixMillis(5));
        assert_eq!(revocations.client_status("demo"), status(true, Some(9)));
    }

    #[test]
    fn g1_a_stale_read_does_not_undo_a_not_before() {
        let (revocations, id) = (RevocationSet::default(), ClientId::parse("demo").unwrap());
        revocations.set_not_before(&id, UnixMillis(9));
        revocations.set_global_not_before(Some(UnixMillis(4)));
        revocations.apply(&ClientStatuses::default());
        let status = revocations.client_status("demo");
        assert_eq!(status.not_before, Some(UnixMillis(9)));
        assert_eq!(revocations.client_status("another").not_before, Some(UnixMillis(4)));
    }

    #[test]
    fn a_client_has_the_status_that_was_set_last() {
        let (revocations, id) = (RevocationSet::default(), ClientId::parse("demo").unwrap());
        let disabled = ClientStatus {
            disabled: true,
            not_before: Some(UnixMillis(5)),
        };
        revocations.set_statuses(&[(id.clone(), disabled)]);
        assert_eq!(revocations.client_status("demo"), disabled);
        revocations.set_global_not_before(Some(UnixMillis(9)));
        assert_eq!(revocations.client_status("demo").not_before, Some(UnixMillis(9)));
        assert_eq!(revocations.client_status("other").not_before, Some(UnixMillis(9)));
        revocations.set_statuses(&[(id, ClientStatus::default())]);
        revocations.set_global_not_before(None);
        let enabled = ClientStatus {
            disabled: false,
            not_before: Some(UnixMillis(9)),
        };
        assert_eq!(revocations.client_status("demo"), enabled, "a revocation is kept");
    }
}
