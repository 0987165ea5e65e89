//! A value that all workers read without a lock and that is replaced whole, never by an older read of it.
//!
//! Two who read the rows of a value at the same time may come with them in the wrong order. So a reader takes a
//! [`Ticket`] before it reads, and a value whose ticket is older than that of the current one is dropped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwapOption, Guard};

/// The current value; none until the first one is set. A clone is the same snapshot.
pub struct Snapshot<T>(Arc<Inner<T>>);

struct Inner<T> {
    value: ArcSwapOption<T>,
    tickets: AtomicU64,
    /// The ticket of the last read that was applied.
    applied: Mutex<u64>,
}

/// Proof that a read begins after this moment; see [`Snapshot::ticket`].
pub struct Ticket(u64);

impl<T> Snapshot<T> {
    /// The current value, if there is one.
    #[inline]
    pub fn load(&self) -> Guard<Option<Arc<T>>> {
        self.0.value.load()
    }

    /// As [`Snapshot::load`], to be kept for longer.
    pub fn load_full(&self) -> Option<Arc<T>> {
        self.0.value.load_full()
    }

    /// A handle that can only read.
    pub fn reader(&self) -> SnapshotReader<T> {
        SnapshotReader(self.clone())
    }

    /// Replaces the value, whatever was read before.
    pub fn set(&self, value: T) {
        self.0.value.store(Some(Arc::new(value)));
    }

    /// To be taken before the rows of a value are read, for [`Snapshot::apply`].
    pub fn ticket(&self) -> Ticket {
        Ticket(self.0.tickets.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Replaces the value by the one that `make` returns, which is given the current one; unless a read that began later
    /// has been applied.
    pub fn apply(&self, ticket: Ticket, make: impl FnOnce(Option<Arc<T>>) -> T) {
        let mut applied = self.0.applied.lock().unwrap_or_else(PoisonError::into_inner);
        if *applied < ticket.0 {
            *applied = ticket.0;
            self.set(make(self.load_full()));
        }
    }
}

/// Reads a [`Snapshot`], and cannot replace its value.
pub struct SnapshotReader<T>(Snapshot<T>);

impl<T> SnapshotReader<T> {
    /// The current value, if there is one.
    #[inline]
    pub fn load(&self) -> Guard<Option<Arc<T>>> {
        self.0.load()
    }
}

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Snapshot<T> {
    fn default() -> Self {
        Self(Arc::new(Inner {
            value: ArcSwapOption::empty(),
            tickets: AtomicU64::new(0),
            applied: Mutex::new(0),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_read_never_replaces_a_newer_one() {
        let snapshot = Snapshot::default();
        let (first, second) = (snapshot.ticket(), snapshot.ticket());
        snapshot.apply(second, |_| "new");
        snapshot.apply(first, |_| "old");
        assert_eq!(snapshot.load_full().as_deref(), Some(&"new"));
    }

    #[test]
    fn the_value_before_is_at_hand_and_none_at_first() {
        let snapshot = Snapshot::default();
        for expected in 1..=3 {
            let ticket = snapshot.ticket();
            snapshot.apply(ticket, |before| before.map_or(0, |before| *before) + 1);
            assert_eq!(**snapshot.load().as_ref().unwrap(), expected);
        }
    }
}
