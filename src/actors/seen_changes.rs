//! SeenChanges: what this instance has read of the change log, and whether that proves that a client which somebody else
//! has read is not out of date.
//!
//! A client that comes with the number `n` contains every change of it up to `n`. This instance serves none that lacks a
//! change it has read. So it may be served if none of its changes that have been read is later than `n`: that is known for
//! changes after `floor`, of which the last number of each client is kept here. The argument in full is in
//! `docs/adr/0019-clients-from-siblings-by-change-number.md`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::RandomState;
use tokio::time::Instant;

use crate::db::changes::{Change, RecentChanges};
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

    /// These changes have been read, and are about to be done: to be called before anything is invalidated.
    pub fn note(&self, page: &[(i64, Change)]) {
        let mut seen = self.lock();
        for (number, change) in page {
            match change {
                Change::Client(id) => {
                    let last = seen.clients.entry(id.clone()).or_insert(*number);
                    *last = (*last).max(*number);
                }
                // Nobody knows which clients that is about.
                Change::Unknown => seen.floor = seen.floor.max(*number),
                Change::Spent(_) | Change::Everybody | Change::Keys | Change::Routes => {}
            }
        }
        if seen.clients.len() > MOST_CLIENTS {
            seen.floor = i64::MAX;
        }
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
