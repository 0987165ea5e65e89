//! Per-worker queues: where records wait between the workers and the BatchWriter.
//!
//! A message to another thread for each token would cost about 4 µs of CPU, and actix mailboxes bound neither
//! `send` nor `do_send`. So a worker puts its records into a queue of its own, behind a lock that only the writer's
//! collecting ever contends for, and a message goes out only when the writer has to begin something: once a batch.
//! Records in a queue also survive the worker that put them there.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::config::Writer;
use crate::db::tokens::TokenRecord;
use crate::time::UnixMillis;

/// A record was not taken, or not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRecorded {
    /// `max_pending` records wait already.
    QueueFull,
    /// The database cannot be reached, refused the record, or did not answer in time.
    Unavailable,
}

/// Tells whoever waits for a record whether it was written.
pub(crate) type Ack = oneshot::Sender<Result<(), NotRecorded>>;

/// A record that waits, and who is to be told when it is written.
pub(crate) struct Pending {
    pub record: TokenRecord,
    pub accepted_at: UnixMillis,
    pub ack: Option<Ack>,
}

/// What the writer is about to do; a worker reads it to know whether it must be woken.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Nothing waits and no timer runs: the next record must wake it.
    Idle = 0,
    /// A timer runs: the record that makes the batch full must wake it.
    Timing = 1,
    /// A flush is under way or about to be: it looks at the queues by itself when it ends.
    Flushing = 2,
}

/// The queues of all workers, with the counters that both sides read.
pub(crate) struct WorkerQueues {
    queues: Vec<Mutex<Vec<Pending>>>,
    phase: AtomicU8,
    /// Records accepted and not settled yet, in queues or in the writer's hands.
    pending: AtomicUsize,
    pub max_pending: usize,
    /// Records refused because too many wait.
    pub rejected: AtomicU64,
    /// Records written past the writer, each before its answer (`writer.mode = "sync"`).
    pub written_directly: AtomicU64,
    /// Records that make a batch full.
    pub full_at: AtomicUsize,
}

impl WorkerQueues {
    pub fn new(queues: usize, settings: &Writer) -> Self {
        Self {
            queues: (0..queues.max(1)).map(|_| Mutex::default()).collect(),
            phase: AtomicU8::new(Phase::Idle as u8),
            pending: AtomicUsize::new(0),
            max_pending: settings.max_pending,
            rejected: AtomicU64::new(0),
            written_directly: AtomicU64::new(0),
            full_at: AtomicUsize::new(settings.max_batch),
        }
    }

    /// Takes a record in; `Ok(true)` when the writer must be woken for it.
    ///
    /// Nothing is counted beyond `max_pending`, so the bound holds however many workers there are.
    pub fn push(&self, queue: usize, pending: Pending) -> Result<bool, NotRecorded> {
        let waiting = self.pending.fetch_add(1, Ordering::SeqCst) + 1;
        if waiting > self.max_pending {
            self.pending.fetch_sub(1, Ordering::SeqCst);
            self.rejected.fetch_add(1, Ordering::Relaxed);
            return Err(NotRecorded::QueueFull);
        }
        self.queue(queue).push(pending);
        let full = waiting >= self.full_at.load(Ordering::Relaxed);
        Ok(self.advance(Phase::Idle, Phase::Timing) || full && self.advance(Phase::Timing, Phase::Flushing))
    }

    /// Moves all that waits in the queues to the end of `into`.
    pub fn collect(&self, into: &mut std::collections::VecDeque<Pending>) {
        for queue in 0..self.queues.len() {
            let mut queue = self.queue(queue);
            into.extend(queue.drain(..));
        }
    }

    /// Whether any queue holds a record.
    pub fn hold_any(&self) -> bool {
        (0..self.queues.len()).any(|queue| !self.queue(queue).is_empty())
    }

    /// When the record that waits longest in a queue was accepted.
    pub fn oldest(&self) -> Option<UnixMillis> {
        (0..self.queues.len())
            .filter_map(|queue| self.queue(queue).first().map(|first| first.accepted_at))
            .min()
    }

    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::SeqCst)
    }

    /// `count` records are written, or given up.
    pub fn settled(&self, count: usize) {
        self.pending.fetch_sub(count, Ordering::SeqCst);
    }

    /// Passes from one phase to the next; true for the one caller that did it.
    fn advance(&self, from: Phase, to: Phase) -> bool {
        // Read first: most records find the writer busy, and a failed exchange would still take the cache line.
        self.phase.load(Ordering::SeqCst) == from as u8
            && self
                .phase
                .compare_exchange(from as u8, to as u8, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }

    fn queue(&self, queue: usize) -> std::sync::MutexGuard<'_, Vec<Pending>> {
        self.queues[queue % self.queues.len()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
