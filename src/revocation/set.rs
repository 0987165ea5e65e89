//! The set of every revocation and redemption that has not expired, and how clients stand.
//!
//! It is complete: loaded before the server is ready and fed by the change log, so "not in it" means "not revoked" and
//! checking a token reads no database. One set serves all workers. A set for each would take `workers` times the memory,
//! and a revocation would have to wait for each worker's answer before it may be acknowledged; this one counts for the
//! next request on every worker as soon as it is written. It is cut into shards, so that workers who read and the one
//! who writes hardly ever meet at the same lock; `docs/adr/` has the measurement.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use ahash::RandomState;
use arc_swap::ArcSwap;

use crate::oauth::activity::{ClientStatus, InvalidatedToken, RevocationCheck};
use crate::oauth::client::ClientId;
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;

/// Ids have 74 random bits, the last ones among them, so they spread evenly.
const SHARDS: usize = 64;

/// How long an id is kept after its token has expired, in seconds: the clocks of instances may differ by as much.
const KEPT_AFTER_EXPIRY: i64 = 300;

type Shard = HashMap<TokenId, i64, RandomState>;

/// The set.
pub(super) struct RevocationSet {
    invalidated: Vec<RwLock<Shard>>,
    known: AtomicUsize,
    /// Tokens that end by this second may be missing, because they had been expired long enough.
    forgotten_until: AtomicI64,
    /// Replaced as a whole: clients that were disabled or told to forget their tokens are few.
    statuses: ArcSwap<ClientStatuses>,
}

/// How clients stand, as far as that is not the default.
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
    /// Takes over how all clients stand. What was taken back here since that was read stays so.
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

    /// Tokens that end by this second may be missing from now on, and no others.
    pub fn starts_after(&self, since: i64) {
        self.forgotten_until.store(since, Ordering::SeqCst);
    }

    /// Whether tokens have been forgotten that count again, because the clock was set back.
    pub fn has_forgotten_too_much(&self, now: UnixMillis) -> bool {
        self.forgotten_until.load(Ordering::SeqCst) > forgotten_at(now)
    }

    /// From now on this token is not active, on any worker.
    pub fn invalidate(&self, token: InvalidatedToken) {
        let mut shard = self.shard(&token.jti).write().unwrap_or_else(PoisonError::into_inner);
        if shard.insert(token.jti, token.expires_at).is_none() {
            self.known.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// From now on these clients stand as said; a not-before never goes back in time.
    ///
    /// Whoever read the database a moment earlier may come a moment later: what it brings must not undo a revocation.
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

    /// From now on nothing issued to this client before this moment is active; whether it is disabled is not touched: the
    /// change feed may have learnt of that while the moment was written.
    pub fn set_not_before(&self, id: &ClientId, moment: UnixMillis) {
        self.statuses.rcu(|current| {
            let mut next = ClientStatuses::clone(current);
            let status = next.clients.entry(id.clone()).or_default();
            status.not_before = status.not_before.max(Some(moment));
            next
        });
    }

    /// From now on nothing issued before this moment is active; it never goes back in time either.
    pub fn set_global_not_before(&self, moment: Option<UnixMillis>) {
        self.statuses.rcu(|current| ClientStatuses {
            global_not_before: moment.max(current.global_not_before),
            ..ClientStatuses::clone(current)
        });
    }

    /// How many tokens are known to be invalidated.
    pub fn known(&self) -> usize {
        self.known.load(Ordering::Relaxed)
    }

    /// Forgets tokens that have been expired long enough; answers how many.
    pub fn forget_expired(&self, now: UnixMillis) -> usize {
        let since = forgotten_at(now);
        // First: whoever does not find a token any more must know why.
        self.forgotten_until.fetch_max(since, Ordering::SeqCst);
        let mut forgotten = 0;
        for shard in &self.invalidated {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let before = shard.len();
            shard.retain(|_, expires_at| *expires_at > since);
            forgotten += before - shard.len();
            // Or a wave of revocations would hold its memory for good.
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

/// What ended by this second may be forgotten at `now`.
pub(super) fn forgotten_at(now: UnixMillis) -> i64 {
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
    fn g1_a_spent_token_is_known_until_it_has_been_expired_for_long() {
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
    fn g1_what_may_have_been_forgotten_is_not_remembered() {
        let revocations = RevocationSet::default();
        assert!(revocations.remembers(0));
        let later = UnixMillis::from_seconds(1000 + KEPT_AFTER_EXPIRY);
        revocations.forget_expired(later);
        assert_eq!(
            (revocations.remembers(1000), revocations.remembers(1001)),
            (false, true)
        );
        assert!(!revocations.has_forgotten_too_much(later));
        assert!(
            revocations.has_forgotten_too_much(UnixMillis(later.0 - 1000)),
            "the clock was set back"
        );
        revocations.forget_expired(UnixMillis(later.0 - 1000));
        assert!(!revocations.remembers(1000), "it is not known again by that");
    }

    #[test]
    fn g1_a_moment_changes_nothing_else_and_never_goes_back() {
        let (revocations, id) = (RevocationSet::default(), ClientId::parse("demo").unwrap());
        let stands = |disabled, moment: Option<i64>| ClientStatus {
            disabled,
            not_before: moment.map(UnixMillis),
        };
        revocations.set_statuses(&[(id.clone(), stands(true, None))]);
        revocations.set_not_before(&id, UnixMillis(9));
        revocations.set_not_before(&id, UnixMillis(5));
        assert_eq!(revocations.client_status("demo"), stands(true, Some(9)));
    }

    #[test]
    fn g1_what_was_read_before_a_moment_does_not_undo_it() {
        let (revocations, id) = (RevocationSet::default(), ClientId::parse("demo").unwrap());
        revocations.set_not_before(&id, UnixMillis(9));
        revocations.set_global_not_before(Some(UnixMillis(4)));
        revocations.apply(&ClientStatuses::default());
        let status = revocations.client_status("demo");
        assert_eq!(status.not_before, Some(UnixMillis(9)));
        assert_eq!(revocations.client_status("another").not_before, Some(UnixMillis(4)));
    }

    #[test]
    fn a_client_stands_as_was_last_said() {
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
        let enabled_again = ClientStatus {
            disabled: false,
            not_before: Some(UnixMillis(9)),
        };
        assert_eq!(
            revocations.client_status("demo"),
            enabled_again,
            "what was taken back stays so"
        );
    }
}
