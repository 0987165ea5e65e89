//! Per-worker queues: where records wait between the workers and the BatchWriter.
//!
//! A message to another thread costs about 4 µs of CPU, too much for every token, and actix bounds
//! neither `send` nor `do_send`. So each worker puts its records into its own queue, whose lock
//! only the writer contends for. It sends a message only when the writer must start something: once
//! per batch. Records in a queue also survive the worker that put them there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::oneshot;

use crate::config::Writer;
use crate::db::tokens::TokenRecord;
use crate::mutex::lock;
use crate::time::UnixMillis;

/// A record was not accepted, or not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRecorded {
    /// `max_pending` records are waiting, or records of as many bytes as `max_pending` usual ones.
    QueueFull,
    /// The database is unavailable, rejected the record, or did not answer in time.
    Unavailable,
}

/// Notifies the caller whether its record was written.
pub(crate) type Ack = oneshot::Sender<Result<(), NotRecorded>>;

/// A waiting record, and the caller to notify, if any.
pub(crate) struct Pending {
    pub record: TokenRecord,
    pub accepted_at: UnixMillis,
    pub ack: Option<Ack>,
    /// The memory that it takes.
    pub bytes: usize,
}

/// The bytes that a waiting record may have on average when `max_pending` of them wait. A usual
/// record has half of them; one with the largest scope and audiences has 25 times as many.
pub const MEAN_RECORD: usize = 512;

/// What the writer is doing, from which a worker decides whether to wake it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// No record waits and no timer runs: the next record must wake the writer.
    Idle = 0,
    /// A timer runs: the record that completes the batch must wake the writer.
    Timing = 1,
    /// A flush is running or about to start. When it ends, the writer checks the queues by itself.
    Flushing = 2,
}

/// The queues of all workers, and the counters that workers and writer share.
pub(crate) struct WorkerQueues {
    queues: Vec<Mutex<Vec<Pending>>>,
    phase: AtomicU8,
    /// Records accepted and not settled yet, in the queues or in the writer.
    pending: AtomicUsize,
    pub max_pending: usize,
    /// The sum of the bytes of the pending records.
    pending_bytes: AtomicUsize,
    max_pending_bytes: usize,
    /// Records rejected because too many waited.
    pub rejected: AtomicU64,
    /// Records written without the writer, each before its response (`writer.mode = "sync"`).
    pub written_directly: AtomicU64,
    /// The number of records that complete a batch.
    pub full_at: AtomicUsize,
}

impl WorkerQueues {
    pub fn new(queues: usize, settings: &Writer) -> Self {
        Self {
            queues: (0..queues.max(1)).map(|_| Mutex::default()).collect(),
            phase: AtomicU8::new(Phase::Idle as u8),
            pending: AtomicUsize::new(0),
            max_pending: settings.max_pending,
            pending_bytes: AtomicUsize::new(0),
            max_pending_bytes: settings.max_pending.saturating_mul(MEAN_RECORD),
            rejected: AtomicU64::new(0),
            written_directly: AtomicU64::new(0),
            full_at: AtomicUsize::new(settings.max_batch),
        }
    }

    /// Queues a record; `Ok(true)` when the writer must be woken for it.
    ///
    /// The counters are shared by all queues, so the bounds hold for any number of workers.
    pub fn push(&self, queue: usize, pending: Pending) -> Result<bool, NotRecorded> {
        let waiting = self.pending.fetch_add(1, Ordering::SeqCst) + 1;
        let bytes = pending.bytes;
        let waiting_bytes = self.pending_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if waiting > self.max_pending || waiting_bytes > self.max_pending_bytes {
            self.settled(1, bytes);
            self.rejected.fetch_add(1, Ordering::Relaxed);
            return Err(NotRecorded::QueueFull);
        }
        self.queue(queue).push(pending);
        let full = waiting >= self.full_at.load(Ordering::Relaxed);
        Ok(self.advance(Phase::Idle, Phase::Timing) || full && self.advance(Phase::Timing, Phase::Flushing))
    }

    /// Moves all queued records to the end of `into`.
    pub fn collect(&self, into: &mut std::collections::VecDeque<Pending>) {
        for queue in 0..self.queues.len() {
            let mut queue = self.queue(queue);
            into.extend(queue.drain(..));
        }
    }

    /// Whether any queue has a record.
    pub fn hold_any(&self) -> bool {
        (0..self.queues.len()).any(|queue| !self.queue(queue).is_empty())
    }

    /// When the oldest queued record was accepted.
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

    /// Notes that `count` records of `bytes` in all are written or dropped.
    pub fn settled(&self, count: usize, bytes: usize) {
        self.pending.fetch_sub(count, Ordering::SeqCst);
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Moves from one phase to the next; `true` for the one caller that did it.
    fn advance(&self, from: Phase, to: Phase) -> bool {
        // Loaded first: most records find the writer busy, and a failed exchange would still claim
        // the cache line.
        self.phase.load(Ordering::SeqCst) == from as u8
            && self
                .phase
                .compare_exchange(from as u8, to as u8, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }

    fn queue(&self, queue: usize) -> std::sync::MutexGuard<'_, Vec<Pending>> {
        lock(&self.queues[queue % self.queues.len()])
    }
}
