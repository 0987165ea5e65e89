//! BatchWriter: writes the records of issued tokens in batches, one flush at a time.
//!
//! The process has one writer. It runs on its own arbiter, never on a worker, so that a flush
//! delays no request. A batch is flushed when it holds `max_batch` records, when `flush_interval`
//! has passed since its first record, on `Flush`, and at shutdown. Records that arrive during a
//! flush form the next batch.
//!
//! With `durability = "async"` a response does not wait for the flush. A crash then loses the
//! records accepted within `flush_interval` plus the duration of one flush;
//! `oldest_unflushed_seconds` exports how old the oldest of them is. With `"group"` a response
//! waits for the commit of its batch, and the next batch starts as soon as the previous one ends,
//! without a timer.
//!
//! Records wait in per-worker queues (`records/queue.rs`) and are never dropped silently:
//! - a failed flush keeps its records and retries with increasing pauses;
//! - a record that the database rejects while it accepts others is logged and dead-lettered;
//! - once `max_pending` records wait, or large ones of as many bytes, new ones are rejected.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::messages::{ExitSignalSender, Flush, LastFlush, Stats, Stop, Tune, Wake, WriterStats};
use crate::backoff::retry_pause;
use crate::clock::Clock;
use crate::config::{Durability, Writer};
use crate::db::DbError;
use crate::metrics::HistogramCounts;
use crate::records::flush::{Fate, Outcome, Sink, write};
use crate::records::queue::{NotRecorded, Pending, Phase, WorkerQueues};
use crate::time::UnixMillis;

/// The first pause after a failed flush; each further failure doubles it.
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// The longest pause between retries. It is short so that the backlog is written soon after the
/// database recovers.
const MAX_RETRY: Duration = Duration::from_secs(2);

/// The actor.
pub struct BatchWriter {
    settings: Writer,
    clock: Clock,
    sink: Sink,
    queues: Arc<WorkerQueues>,
    /// Records taken from the queues, in order. A failed flush puts its records back at the front.
    waiting: VecDeque<Pending>,
    state: State,
    /// Callers of `Flush`, each with the value of `settled` at which it is answered.
    flushes: Vec<(u64, oneshot::Sender<()>)>,
    /// Records written or dropped since the start. A record is dropped when it is dead-lettered, or
    /// when its caller has stopped waiting.
    settled: u64,
    failures_in_a_row: u32,
    flushed: u64,
    batches: u64,
    flush_failures: u64,
    dead_lettered: u64,
    last_flush: LastFlush,
    flush_durations: HistogramCounts,
    /// When the oldest record of the running flush was accepted.
    flushing_since: Option<UnixMillis>,
    exit_signal: ExitSignalSender,
}

enum State {
    /// No record waits.
    Idle,
    /// The batch is filling; the timer ends it.
    Timing(SpawnHandle),
    /// A flush is running.
    Flushing,
    /// A flush failed; the timer starts the retry.
    Pausing(SpawnHandle),
}

impl BatchWriter {
    /// Creates a writer for the records in `queues`. `exited` resolves to `Ok` when the writer
    /// dies, and to an error when it is stopped.
    pub(super) fn new(
        settings: Writer,
        clock: Clock,
        sink: Sink,
        queues: Arc<WorkerQueues>,
        exited: oneshot::Sender<()>,
    ) -> Self {
        Self {
            settings,
            clock,
            sink,
            queues,
            waiting: VecDeque::new(),
            state: State::Idle,
            flushes: Vec::new(),
            settled: 0,
            failures_in_a_row: 0,
            flushed: 0,
            batches: 0,
            flush_failures: 0,
            dead_lettered: 0,
            last_flush: LastFlush::default(),
            flush_durations: HistogramCounts::default(),
            flushing_since: None,
            exit_signal: ExitSignalSender(Some(exited)),
        }
    }
}

impl Actor for BatchWriter {
    type Context = Context<Self>;
}

impl Handler<Wake> for BatchWriter {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Context<Self>) {
        self.proceed(ctx);
    }
}

impl Handler<Flush> for BatchWriter {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Flush, ctx: &mut Context<Self>) -> Self::Result {
        let (answer, answered) = oneshot::channel();
        // Collected first, so that no record that arrives later is written before these.
        self.queues.collect(&mut self.waiting);
        self.flushes.push((self.settled + self.queues.pending() as u64, answer));
        if let State::Pausing(_) = self.state {
            self.cancel_timer(ctx);
        }
        self.proceed(ctx);
        Box::pin(async move {
            // The actor owns the sender. If the actor is gone, so is the mailbox of this reply.
            let _ = answered.await;
        })
    }
}

impl Handler<Stats> for BatchWriter {
    type Result = MessageResult<Stats>;

    fn handle(&mut self, _: Stats, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.stats())
    }
}

impl Handler<Tune> for BatchWriter {
    type Result = ();

    fn handle(&mut self, tune: Tune, ctx: &mut Context<Self>) {
        self.settings.flush_interval = tune.flush_interval;
        self.settings.max_batch = tune.max_batch;
        self.queues.full_at.store(tune.max_batch, Ordering::Relaxed);
        self.proceed(ctx);
    }
}

impl Handler<Stop> for BatchWriter {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        self.exit_signal.0 = None;
        ctx.stop();
    }
}

impl BatchWriter {
    /// Starts a flush if one is due; otherwise sets the timer or becomes idle.
    fn proceed(&mut self, ctx: &mut Context<Self>) {
        if let State::Flushing | State::Pausing(_) = self.state {
            return;
        }
        self.cancel_timer(ctx);
        loop {
            self.queues.collect(&mut self.waiting);
            let Some(first) = self.waiting.front() else {
                self.answer_flushes();
                self.queues.set_phase(Phase::Idle);
                if self.queues.hold_any() {
                    // The record arrived before the phase was set, so its sender does not wake the
                    // writer.
                    continue;
                }
                return;
            };
            let interval = self.settings.flush_interval.as_millis();
            let age = self.clock.now().since(first.accepted_at);
            let immediately = self.settings.durability == Durability::Group || !self.flushes.is_empty();
            if immediately || age >= interval || self.waiting.len() >= self.settings.max_batch {
                return self.flush(ctx);
            }
            self.queues.set_phase(Phase::Timing);
            self.queues.collect(&mut self.waiting);
            if self.waiting.len() >= self.settings.max_batch {
                // The batch became full before the phase was set, so no sender wakes the writer.
                continue;
            }
            let rest = Duration::from_millis((interval - age).clamp(1, interval) as u64);
            self.state = State::Timing(ctx.run_later(rest, |this, ctx| this.timer_ended(ctx)));
            return;
        }
    }

    fn timer_ended(&mut self, ctx: &mut Context<Self>) {
        // actix polls a cancelled timer once more. If it is due by then, it fires in spite of the
        // cancellation.
        match self.state {
            State::Timing(timer) | State::Pausing(timer) if timer == ctx.handle() => {}
            _ => return,
        }
        self.state = State::Idle;
        self.queues.collect(&mut self.waiting);
        if self.waiting.is_empty() {
            return self.proceed(ctx);
        }
        self.flush(ctx);
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        self.queues.set_phase(Phase::Flushing);
        self.state = State::Flushing;
        let size = self.waiting.len().min(self.settings.max_batch);
        let mut records = Vec::with_capacity(size);
        let mut batch = Vec::with_capacity(size);
        for pending in self.waiting.drain(..size) {
            records.push(pending.record);
            batch.push((pending.accepted_at, pending.ack, pending.bytes));
        }
        self.flushing_since = batch.first().map(|(accepted_at, ..)| *accepted_at);
        let records = Arc::new(records);
        let writing = write(self.sink.clone(), records.clone());
        let began = Instant::now();
        ctx.spawn(writing.into_actor(self).map(move |outcome, this, ctx| {
            let records = Arc::unwrap_or_clone(records);
            let batch = records
                .into_iter()
                .zip(batch)
                .map(|(record, (accepted_at, ack, bytes))| Pending {
                    record,
                    accepted_at,
                    ack,
                    bytes,
                });
            this.flush_ended(batch, outcome, began.elapsed(), ctx);
        }));
    }

    fn flush_ended(
        &mut self,
        batch: impl Iterator<Item = Pending>,
        outcome: Outcome,
        took: Duration,
        ctx: &mut Context<Self>,
    ) {
        self.state = State::Idle;
        self.flushing_since = None;
        self.flush_durations.observe(took);
        let mut written = 0;
        let mut kept = Vec::new();
        let mut uncertain = Vec::new();
        let mut given_up = 0;
        let mut settled_bytes = 0;
        for (pending, fate) in batch.zip(outcome.fates) {
            let answer = match fate {
                Fate::Written => {
                    written += 1;
                    settled_bytes += pending.bytes;
                    Ok(())
                }
                Fate::Rejected => {
                    self.dead_lettered += 1;
                    given_up += 1;
                    settled_bytes += pending.bytes;
                    log::error!(jti:% = pending.record.jti; "token record dead-lettered");
                    Err(NotRecorded::Unavailable)
                }
                // The caller has timed out or is gone, so the token was never handed out.
                Fate::Unwritten | Fate::Uncertain if pending.ack.as_ref().is_some_and(oneshot::Sender::is_closed) => {
                    given_up += 1;
                    settled_bytes += pending.bytes;
                    continue;
                }
                Fate::Unwritten => {
                    kept.push(pending);
                    continue;
                }
                Fate::Uncertain => {
                    uncertain.push(pending);
                    continue;
                }
            };
            if let Some(ack) = pending.ack {
                // The caller may have disconnected.
                let _ = ack.send(answer);
            }
        }
        for pending in kept.into_iter().rev() {
            self.waiting.push_front(pending);
        }
        self.waiting.extend(uncertain);
        self.flushed += written as u64;
        self.settled += (written + given_up) as u64;
        self.queues.settled(written + given_up, settled_bytes);
        if written > 0 {
            self.batches += 1;
            self.last_flush = LastFlush {
                rows: written,
                seconds: took.as_secs_f64(),
            };
        }
        match outcome.failure {
            Some(error) => self.pause(&error, ctx),
            None => {
                if self.failures_in_a_row > 0 {
                    log::info!(pending = self.queues.pending(); "token record flush recovered");
                    self.failures_in_a_row = 0;
                }
                self.answer_flushes();
                self.proceed(ctx);
            }
        }
    }

    /// Keeps the records of a failed flush at the front and schedules the retry.
    fn pause(&mut self, error: &DbError, ctx: &mut Context<Self>) {
        self.flush_failures += 1;
        if self.failures_in_a_row == 0 {
            log::error!(pending = self.queues.pending(), error:%; "token record flush failed");
        }
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let mut pause = retry_pause(FIRST_RETRY, MAX_RETRY, self.failures_in_a_row);
        if !error.is_unavailable() {
            // The database is available but rejects the first records. New records must not wait
            // for the full pause, and writing them shows whether the database rejects all records
            // or only some.
            let interval = Duration::from_millis(self.settings.flush_interval.as_millis() as u64);
            pause = pause.min(interval.max(FIRST_RETRY));
        }
        self.state = State::Pausing(ctx.run_later(pause, |this, ctx| this.timer_ended(ctx)));
    }

    fn cancel_timer(&mut self, ctx: &mut Context<Self>) {
        if let State::Timing(timer) | State::Pausing(timer) = self.state {
            ctx.cancel_future(timer);
        }
        self.state = State::Idle;
    }

    /// Answers the callers of `Flush` whose records are all settled. Records settle in order of
    /// arrival.
    fn answer_flushes(&mut self) {
        let (settled, nothing_waits) = (self.settled, self.queues.pending() == 0);
        for (_, answer) in self
            .flushes
            .extract_if(.., |(target, _)| settled >= *target || nothing_waits)
        {
            // The caller may have stopped waiting.
            let _ = answer.send(());
        }
    }

    fn stats(&self) -> WriterStats {
        let first = self.waiting.front().map(|first| first.accepted_at);
        let oldest = [self.flushing_since, first, self.queues.oldest()]
            .into_iter()
            .flatten()
            .min();
        let waited = oldest.map_or(0, |since| self.clock.now().since(since).max(0));
        let directly = self.queues.written_directly.load(Ordering::Relaxed);
        WriterStats {
            mode: self.settings.mode,
            durability: self.settings.durability,
            pending: self.queues.pending(),
            max_pending: self.queues.max_pending,
            oldest_unflushed_seconds: waited as f64 / 1000.0,
            flushed_total: self.flushed + directly,
            batches_total: self.batches + directly,
            flush_failures_total: self.flush_failures,
            rejected_total: self.queues.rejected.load(Ordering::Relaxed),
            dead_lettered_total: self.dead_lettered,
            last_flush: self.last_flush,
            flush_durations: self.flush_durations,
        }
    }
}
