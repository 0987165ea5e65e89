//! SeenChanges: what this instance has read of the change log, and whether that proves that a client which somebody else
//! has read is not out of date.
//!
//! A client that comes with the number `n` contains every change of it up to `n`. This instance serves none that lacks a
//! change it has read. So it may be served if none of its changes that have been read is later than `n`: that is known for
//! changes after `floor`, of which the last number of each client is kept here. The argument in full is in
//! `docs/adr/0019-clients-from-peers-by-change-number.md`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::RandomState;
use tokio::time::Instant;

use crate::db::changes::{Change, Line, RecentChanges};
use crate::oauth::client::ClientId;
use crate::oauth::time::UnixMillis;

/// Clients whose last change is kept, at most: some 10 MB. With more, the proof begins anew at the end of the log.
pub const MOST_CLIENTS: usize = 65_536;

/// An instance that has not read the log for this long guesses nothing more; the same time after which no token is called
/// active.
const FRESH: Duration = Duration::from_secs(5);

/// What has been read; a clone is the same.
#[derive(Clone, Default)]
pub struct SeenChanges(Arc<Mutex<Seen>>);

struct Seen {
    /// Every change up to this number has been done here.
    reached: i64,
    /// Of changes after this number, the last one of each client is known. `i64::MAX` when the log must be read first.
    floor: i64,
    clients: HashMap<ClientId, i64, RandomState>,
    /// Clients that this instance has changed itself, and when: by which number, the log will tell.
    suspects: HashMap<ClientId, Instant, RandomState>,
    /// When the last poll began that is done.
    polled: Option<Instant>,
    /// What was read before this moment is not to be used, says an operator.
    not_before: UnixMillis,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            reached: 0,
            floor: i64::MAX,
            clients: HashMap::default(),
            suspects: HashMap::default(),
            polled: None,
            not_before: UnixMillis(i64::MIN),
        }
    }
}

impl SeenChanges {
    /// Begins with what the start has read of the log: its number then was `reached`.
    pub fn begin(&self, reached: i64, recent: &RecentChanges) {
        let mut seen = self.lock();
        *seen = Seen::default();
        seen.reached = reached;
        seen.floor = recent.after;
        seen.clients.extend(recent.clients.iter().cloned());
    }

    /// These changes have been read, and are about to be done: to be called before anything is invalidated. The log was
    /// read from `after` to `end`.
    ///
    /// A line whose number was missing until now counts as if it came after all of them: who read the client before it was
    /// committed may have seen the end of the log and yet not this.
    pub fn note(&self, page: &[Line], after: i64, end: i64) {
        let mut seen = self.lock();
        for line in page {
            let number = if line.seq <= after { end + 1 } else { line.seq };
            match &line.change {
                Change::Client(id) => {
                    let last = seen.clients.entry(id.clone()).or_insert(number);
                    *last = (*last).max(number);
                }
                // Nobody knows which clients that is about.
                Change::Unknown => seen.floor = seen.floor.max(number),
                Change::Spent(_) | Change::Everybody | Change::Keys | Change::Routes => {}
            }
        }
        if seen.clients.len() > MOST_CLIENTS {
            seen.floor = i64::MAX;
        }
    }

    /// The log is another one, which ends at `last`.
    pub fn begin_in_another_log(&self, last: i64) {
        let mut seen = self.lock();
        seen.reached = last;
        seen.floor = i64::MAX;
    }

    /// Lines of the log may be gone that nobody here has read.
    pub fn lose(&self) {
        self.lock().floor = i64::MAX;
    }

    /// Every change up to `reached` has been done, among them all that were committed before `asked`.
    pub fn reach(&self, reached: i64, asked: Instant) {
        let mut seen = self.lock();
        seen.reached = seen.reached.max(reached);
        seen.polled = seen.polled.max(Some(asked));
        if seen.floor == i64::MAX {
            seen.floor = seen.reached;
            seen.clients = HashMap::default();
        }
        seen.suspects.retain(|_, since| *since >= asked);
    }

    /// This instance has changed a client: until the log has been read after this, nobody else's word on it counts.
    pub fn suspect(&self, id: &ClientId) {
        let mut seen = self.lock();
        if seen.suspects.len() == MOST_CLIENTS {
            seen.floor = i64::MAX;
            seen.suspects.clear();
        }
        seen.suspects.insert(id.clone(), Instant::now());
    }

    /// An operator has emptied the caches: what was read until now does not count, whoever has read it.
    pub fn refuse_until(&self, now: UnixMillis) {
        let mut seen = self.lock();
        seen.not_before = seen.not_before.max(now);
    }

    /// Whether anything that a sibling says of this client can count now. `listening_since`: when the last interruption of
    /// the announcements ended.
    pub fn trusts(&self, id: &ClientId, listening_since: Instant) -> bool {
        self.lock().trusts(id, listening_since)
    }

    /// Whether a client that was read at `loaded_at`, when the log had come as far as `number`, is not out of date as far
    /// as this instance knows.
    pub fn vouches(&self, id: &ClientId, number: i64, loaded_at: UnixMillis, listening_since: Instant) -> bool {
        let seen = self.lock();
        let changed = seen.clients.get(id).copied().unwrap_or(seen.floor);
        seen.trusts(id, listening_since)
            && number >= changed.max(seen.floor)
            // What is ahead of this instance may as well be from a log that was put back since.
            && number <= seen.reached
            && loaded_at > seen.not_before
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn trusts(&self, id: &ClientId, listening_since: Instant) -> bool {
        let polled = self
            .polled
            .is_some_and(|asked| asked >= listening_since && asked.elapsed() <= FRESH);
        polled && !self.suspects.contains_key(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn id(text: &str) -> ClientId {
        ClientId::parse(text).unwrap()
    }

    /// An instance that listens and has read the log up to 100; of what came after 40 it knows that `a` changed at 60.
    struct Instance {
        seen: SeenChanges,
        listening_since: Instant,
    }

    impl Instance {
        fn new() -> Self {
            tokio::time::pause();
            let seen = SeenChanges::default();
            let recent = RecentChanges {
                after: 40,
                clients: vec![(id("a"), 60)],
            };
            seen.begin(100, &recent);
            let listening_since = Instant::now();
            seen.reach(100, Instant::now());
            Self { seen, listening_since }
        }

        fn vouches(&self, text: &str, number: i64) -> bool {
            self.seen.vouches(&id(text), number, NOW, self.listening_since)
        }

        /// Numbers of which it believes that a client contains them all.
        fn believed(&self, text: &str) -> Vec<i64> {
            (0..=120).filter(|number| self.vouches(text, *number)).collect()
        }

        async fn polls(&self, page: &[(i64, Change)], reached: i64) {
            tokio::time::advance(Duration::from_millis(1)).await;
            let asked = Instant::now();
            let after = self.seen.lock().reached;
            self.seen.note(&lines(page), after, reached);
            self.seen.reach(reached, asked);
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
    async fn what_is_believed_lies_between_the_last_change_of_the_client_and_the_end_of_the_log() {
        let instance = Instance::new();
        assert_eq!(instance.believed("a"), numbers(60..=100));
        assert_eq!(instance.believed("b"), numbers(40..=100));
    }

    #[tokio::test]
    async fn a_change_that_is_read_counts_before_it_is_done() {
        let instance = Instance::new();
        let page = [(101, Change::Client(id("b"))), (102, Change::Keys)];
        instance.seen.note(&lines(&page), 100, 102);
        assert!(instance.believed("b").is_empty());
        instance.polls(&[], 102).await;
        assert_eq!(instance.believed("b"), numbers(101..=102));
        assert_eq!(instance.believed("a"), numbers(60..=102));
    }

    #[tokio::test]
    async fn a_change_that_comes_late_refuses_whoever_may_not_have_seen_it() {
        let instance = Instance::new();
        instance.polls(&[(103, Change::Keys)], 103).await;
        instance.polls(&[(101, Change::Client(id("b")))], 103).await;
        assert!(instance.believed("b").is_empty());
        instance.polls(&[(104, Change::Keys)], 104).await;
        assert_eq!(instance.believed("b"), [104]);
    }

    #[tokio::test]
    async fn of_another_log_only_its_end_is_believed() {
        let instance = Instance::new();
        instance.seen.begin_in_another_log(50);
        assert!(instance.believed("a").is_empty());
        instance.polls(&[], 50).await;
        assert_eq!(instance.believed("a"), [50]);
    }

    #[tokio::test]
    async fn a_page_that_is_read_twice_changes_nothing() {
        let instance = Instance::new();
        instance
            .polls(&[(101, Change::Client(id("b"))), (105, Change::Client(id("b")))], 105)
            .await;
        instance.polls(&[(101, Change::Client(id("b")))], 101).await;
        assert_eq!(instance.believed("b"), [105]);
    }

    #[tokio::test]
    async fn a_change_that_nobody_understands_may_be_of_any_client() {
        let instance = Instance::new();
        instance.polls(&[(101, Change::Unknown)], 103).await;
        assert_eq!(instance.believed("a"), numbers(101..=103));
        assert_eq!(instance.believed("b"), numbers(101..=103));
    }

    #[tokio::test]
    async fn after_a_change_of_its_own_nobody_is_believed_before_the_log_has_been_read() {
        let instance = Instance::new();
        let asked = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        instance.seen.suspect(&id("b"));
        // A poll that began before the change need not have seen it.
        instance.seen.reach(100, asked);
        assert!(!instance.seen.trusts(&id("b"), instance.listening_since));
        assert!(instance.believed("b").is_empty() && instance.vouches("a", 100));
        instance.polls(&[(101, Change::Client(id("b")))], 101).await;
        assert_eq!(instance.believed("b"), [101]);
    }

    #[tokio::test]
    async fn after_an_interruption_nobody_is_believed_before_the_log_has_been_read() {
        let mut instance = Instance::new();
        tokio::time::advance(Duration::from_millis(1)).await;
        instance.listening_since = Instant::now();
        assert!(!instance.seen.trusts(&id("a"), instance.listening_since) && !instance.vouches("a", 100));
        instance.polls(&[], 100).await;
        assert!(instance.vouches("a", 100));
    }

    #[tokio::test]
    async fn whoever_has_not_read_the_log_for_long_believes_nobody() {
        let instance = Instance::new();
        tokio::time::advance(FRESH).await;
        assert!(instance.vouches("a", 100));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!instance.vouches("a", 100));
    }

    #[tokio::test]
    async fn when_lines_of_the_log_may_be_gone_the_proof_begins_anew() {
        let instance = Instance::new();
        instance.seen.lose();
        assert!(instance.believed("a").is_empty());
        instance.polls(&[], 110).await;
        assert_eq!(instance.believed("a"), [110]);
        assert_eq!(instance.believed("b"), [110]);
    }

    #[tokio::test]
    async fn what_an_operator_has_thrown_away_does_not_come_back() {
        let instance = Instance::new();
        instance.seen.refuse_until(NOW);
        let vouches = |loaded_at| {
            instance
                .seen
                .vouches(&id("a"), 100, loaded_at, instance.listening_since)
        };
        assert!(!vouches(NOW));
        assert!(vouches(UnixMillis(NOW.0 + 1)));
    }

    #[tokio::test]
    async fn memory_is_bounded_and_what_is_forgotten_is_not_believed() {
        let instance = Instance::new();
        let changes: Vec<(i64, Change)> = (0..=MOST_CLIENTS as i64)
            .map(|number| (101 + number, Change::Client(id(&number.to_string()))))
            .collect();
        let last = changes.last().unwrap().0;
        for page in changes.chunks(1000) {
            instance.seen.note(&lines(page), 100, last);
        }
        instance.polls(&[], last).await;
        assert!(!instance.vouches("a", last - 1) && instance.vouches("a", last));
        assert!(instance.seen.lock().clients.is_empty());
        for number in 0..2 * MOST_CLIENTS {
            instance.seen.suspect(&id(&number.to_string()));
        }
        assert!(instance.seen.lock().suspects.len() <= MOST_CLIENTS);
        assert!(!instance.vouches("0", last));
    }
}
