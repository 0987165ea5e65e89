//! [`Freshness`]: what this instance has read of the change log, and whether that proves that a
//! client read by a peer is not out of date.
//!
//! A client that is shared with number `n` contains all of its changes up to `n`. This instance
//! must not serve a client that lacks a change the instance has read. So the client is usable if
//! none of its changes read here has a number above `n`. For that, the number of each client's last
//! change after `known_after` is kept. The complete argument is in
//! `docs/adr/0019-clients-from-peers-by-change-number.md`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ahash::RandomState;
use tokio::time::Instant;

use crate::db::changes::{Change, Line, RecentChanges};
use crate::mutex::lock;
use crate::oauth::client::ClientId;
use crate::time::UnixMillis;

/// The maximum number of clients whose last change is kept, which takes about 10 MB. Beyond it, the
/// proof restarts at the end of the log.
pub const MAX_CLIENTS: usize = 65_536;

/// An instance that has not read the log for this long uses no client from a peer. Tokens are
/// reported as inactive after the same time.
const MAX_POLL_AGE: Duration = Duration::from_secs(5);

/// What this instance has read of the log. Clones share one state.
#[derive(Clone, Default)]
pub struct Freshness(Arc<Mutex<Seen>>);

struct Seen {
    /// Every change up to this number is applied here.
    reached: i64,
    /// Of all changes after this number, each client's last one is known. `i64::MAX` until the log
    /// has been read again.
    known_after: i64,
    clients: HashMap<ClientId, i64, RandomState>,
    /// Clients that this instance has changed and when. The numbers of these changes are known once
    /// the log is read.
    dirty: HashMap<ClientId, Instant, RandomState>,
    /// When the last complete poll began.
    polled: Option<Instant>,
    /// Clients read before this moment are not usable, because an operator has cleared the caches.
    not_before: UnixMillis,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            reached: 0,
            known_after: i64::MAX,
            clients: HashMap::default(),
            dirty: HashMap::default(),
            polled: None,
            not_before: UnixMillis(i64::MIN),
        }
    }
}

impl Freshness {
    /// Initializes the state with what the start has read: `reached` was the end of the log,
    /// `recent` the changes before it.
    pub fn begin(&self, reached: i64, recent: &RecentChanges) {
        let mut seen = self.lock();
        *seen = Seen::default();
        seen.reached = reached;
        seen.known_after = recent.after;
        seen.clients.extend(recent.clients.iter().cloned());
    }

    /// Notes changes that have been read from the log and are about to be applied. Must be called
    /// before anything is invalidated. The log was read from `after` to `end`.
    ///
    /// A line whose number was missing until now is treated as the newest: an instance that read
    /// the client before that line was committed may have seen the end of the log without it.
    pub fn note(&self, page: &[Line], after: i64, end: i64) {
        let mut seen = self.lock();
        for line in page {
            let number = if line.seq <= after { end + 1 } else { line.seq };
            match &line.change {
                Change::Client(id) => {
                    let last = seen.clients.entry(id.clone()).or_insert(number);
                    *last = (*last).max(number);
                }
                // Such a change may concern any client.
                Change::Unknown => seen.known_after = seen.known_after.max(number),
                Change::InvalidatedToken(_) | Change::GlobalNotBefore | Change::Keys | Change::Routes => {}
            }
        }
        if seen.clients.len() > MAX_CLIENTS {
            seen.known_after = i64::MAX;
        }
    }

    /// The log was replaced by another one, whose last number is `last`.
    pub fn begin_in_another_log(&self, last: i64) {
        let mut seen = self.lock();
        seen.reached = last;
        seen.known_after = i64::MAX;
    }

    /// Lines of the log that this instance has not read may have been removed: the proof restarts
    /// at the end of the log.
    pub fn restart_proof(&self) {
        self.lock().known_after = i64::MAX;
    }

    /// Every change up to `reached` is applied, including all that were committed before `began`.
    pub fn reach(&self, reached: i64, began: Instant) {
        let mut seen = self.lock();
        seen.reached = seen.reached.max(reached);
        seen.polled = seen.polled.max(Some(began));
        if seen.known_after == i64::MAX {
            seen.known_after = seen.reached;
            seen.clients = HashMap::default();
        }
        seen.dirty.retain(|_, since| *since >= began);
    }

    /// This instance has changed a client. Until the log has been read after this moment, the
    /// client is not usable from a peer.
    pub fn mark_dirty(&self, id: &ClientId) {
        let mut seen = self.lock();
        if seen.dirty.len() == MAX_CLIENTS {
            seen.known_after = i64::MAX;
            seen.dirty.clear();
        }
        seen.dirty.insert(id.clone(), Instant::now());
    }

    /// An operator has cleared the caches: clients read up to `now` are not usable, whichever
    /// instance has read them.
    pub fn reject_until(&self, now: UnixMillis) {
        let mut seen = self.lock();
        seen.not_before = seen.not_before.max(now);
    }

    /// Whether this client may be used from a peer at all at this moment. `listening_since` is when
    /// the last interruption of the announcements ended.
    pub fn is_usable(&self, id: &ClientId, listening_since: Instant) -> bool {
        self.lock().is_usable(id, listening_since)
    }

    /// Whether a client that was read at `loaded_at`, with the log at `number`, is up to date as
    /// far as this instance knows.
    pub fn is_fresh(&self, id: &ClientId, number: i64, loaded_at: UnixMillis, listening_since: Instant) -> bool {
        let seen = self.lock();
        let changed = seen.clients.get(id).copied().unwrap_or(seen.known_after);
        seen.is_usable(id, listening_since)
            && number >= changed.max(seen.known_after)
            // A number ahead of this instance may come from a log that was rolled back since.
            && number <= seen.reached
            && loaded_at > seen.not_before
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        lock(&self.0)
    }
}

impl Seen {
    fn is_usable(&self, id: &ClientId, listening_since: Instant) -> bool {
        let polled = self
            .polled
            .is_some_and(|began| began >= listening_since && began.elapsed() <= MAX_POLL_AGE);
        polled && !self.dirty.contains_key(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn id(text: &str) -> ClientId {
        ClientId::parse(text).unwrap()
    }

    /// An instance that listens and has read the log up to 100. It knows all changes after 40; one
    /// of them changed `a` at 60.
    struct Instance {
        seen: Freshness,
        listening_since: Instant,
    }

    impl Instance {
        fn new() -> Self {
            tokio::time::pause();
            let seen = Freshness::default();
            let recent = RecentChanges {
                after: 40,
                clients: vec![(id("a"), 60)],
            };
            seen.begin(100, &recent);
            let listening_since = Instant::now();
            seen.reach(100, Instant::now());
            Self { seen, listening_since }
        }

        fn is_fresh(&self, text: &str, number: i64) -> bool {
            self.seen.is_fresh(&id(text), number, NOW, self.listening_since)
        }

        /// The numbers with which the client is fresh.
        fn fresh_numbers(&self, text: &str) -> Vec<i64> {
            (0..=120).filter(|number| self.is_fresh(text, *number)).collect()
        }

        async fn polls(&self, page: &[(i64, Change)], reached: i64) {
            tokio::time::advance(Duration::from_millis(1)).await;
            let began = Instant::now();
            let after = self.seen.lock().reached;
            self.seen.note(&lines(page), after, reached);
            self.seen.reach(reached, began);
        }
    }

    fn lines(page: &[(i64, Change)]) -> Vec<Line> {
        let line = |(seq, change): &(i64, Change)| Line {
            seq: *seq,
            at: NOW,
            change: change.clone(),
        };
        page.iter().map(line).collect()
    }

    fn numbers(range: std::ops::RangeInclusive<i64>) -> Vec<i64> {
        range.collect()
    }

    #[tokio::test]
    async fn a_client_is_fresh_from_its_last_change_to_the_end_of_the_log() {
        let instance = Instance::new();
        assert_eq!(instance.fresh_numbers("a"), numbers(60..=100));
        assert_eq!(instance.fresh_numbers("b"), numbers(40..=100));
    }

    #[tokio::test]
    async fn a_change_is_in_effect_from_when_it_is_read_not_when_it_is_applied() {
        let instance = Instance::new();
        let page = [(101, Change::Client(id("b"))), (102, Change::Keys)];
        instance.seen.note(&lines(&page), 100, 102);
        assert!(instance.fresh_numbers("b").is_empty());
        instance.polls(&[], 102).await;
        assert_eq!(instance.fresh_numbers("b"), numbers(101..=102));
        assert_eq!(instance.fresh_numbers("a"), numbers(60..=102));
    }

    #[tokio::test]
    async fn a_late_change_excludes_clients_that_may_lack_it() {
        let instance = Instance::new();
        instance.polls(&[(103, Change::Keys)], 103).await;
        instance.polls(&[(101, Change::Client(id("b")))], 103).await;
        assert!(instance.fresh_numbers("b").is_empty());
        instance.polls(&[(104, Change::Keys)], 104).await;
        assert_eq!(instance.fresh_numbers("b"), [104]);
    }

    #[tokio::test]
    async fn in_another_log_only_its_end_is_fresh() {
        let instance = Instance::new();
        instance.seen.begin_in_another_log(50);
        assert!(instance.fresh_numbers("a").is_empty());
        instance.polls(&[], 50).await;
        assert_eq!(instance.fresh_numbers("a"), [50]);
    }

    #[tokio::test]
    async fn reading_a_page_twice_changes_nothing() {
        let instance = Instance::new();
        instance
            .polls(&[(101, Change::Client(id("b"))), (105, Change::Client(id("b")))], 105)
            .await;
        instance.polls(&[(101, Change::Client(id("b")))], 101).await;
        assert_eq!(instance.fresh_numbers("b"), [105]);
    }

    #[tokio::test]
    async fn an_unknown_change_may_concern_any_client() {
        let instance = Instance::new();
        instance.polls(&[(101, Change::Unknown)], 103).await;
        assert_eq!(instance.fresh_numbers("a"), numbers(101..=103));
        assert_eq!(instance.fresh_numbers("b"), numbers(101..=103));
    }

    #[tokio::test]
    async fn a_client_changed_by_this_instance_is_not_fresh_until_the_log_is_read() {
        let instance = Instance::new();
        let began = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        instance.seen.mark_dirty(&id("b"));
        // A poll that began before the change may not contain it.
        instance.seen.reach(100, began);
        assert!(!instance.seen.is_usable(&id("b"), instance.listening_since));
        assert!(instance.fresh_numbers("b").is_empty() && instance.is_fresh("a", 100));
        instance.polls(&[(101, Change::Client(id("b")))], 101).await;
        assert_eq!(instance.fresh_numbers("b"), [101]);
    }

    #[tokio::test]
    async fn after_an_interruption_no_client_is_fresh_until_the_log_is_read() {
        let mut instance = Instance::new();
        tokio::time::advance(Duration::from_millis(1)).await;
        instance.listening_since = Instant::now();
        assert!(!instance.seen.is_usable(&id("a"), instance.listening_since) && !instance.is_fresh("a", 100));
        instance.polls(&[], 100).await;
        assert!(instance.is_fresh("a", 100));
    }

    #[tokio::test]
    async fn no_client_is_fresh_when_the_log_was_not_read_for_long() {
        let instance = Instance::new();
        tokio::time::advance(MAX_POLL_AGE).await;
        assert!(instance.is_fresh("a", 100));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!instance.is_fresh("a", 100));
    }

    #[tokio::test]
    async fn when_lines_of_the_log_may_be_lost_the_proof_restarts_at_its_end() {
        let instance = Instance::new();
        instance.seen.restart_proof();
        assert!(instance.fresh_numbers("a").is_empty());
        instance.polls(&[], 110).await;
        assert_eq!(instance.fresh_numbers("a"), [110]);
        assert_eq!(instance.fresh_numbers("b"), [110]);
    }

    #[tokio::test]
    async fn a_client_from_before_a_cleared_cache_is_not_fresh() {
        let instance = Instance::new();
        instance.seen.reject_until(NOW);
        let is_fresh = |loaded_at| {
            instance
                .seen
                .is_fresh(&id("a"), 100, loaded_at, instance.listening_since)
        };
        assert!(!is_fresh(NOW));
        assert!(is_fresh(UnixMillis(NOW.0 + 1)));
    }

    #[tokio::test]
    async fn memory_is_bounded_and_a_forgotten_client_is_not_fresh() {
        let instance = Instance::new();
        let changes: Vec<(i64, Change)> = (0..=MAX_CLIENTS as i64)
            .map(|number| (101 + number, Change::Client(id(&number.to_string()))))
            .collect();
        let last = changes.last().unwrap().0;
        for page in changes.chunks(1000) {
            instance.seen.note(&lines(page), 100, last);
        }
        instance.polls(&[], last).await;
        assert!(!instance.is_fresh("a", last - 1) && instance.is_fresh("a", last));
        assert!(instance.seen.lock().clients.is_empty());
        for number in 0..2 * MAX_CLIENTS {
            instance.seen.mark_dirty(&id(&number.to_string()));
        }
        assert!(instance.seen.lock().dirty.len() <= MAX_CLIENTS);
        assert!(!instance.is_fresh("0", last));
    }
}
