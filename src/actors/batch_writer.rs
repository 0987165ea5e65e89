//! BatchWriter: writes the records of issued tokens in batches, one flush at a time.
//!
//! One for the process, on an arbiter of its own, never on a worker. A batch is flushed when `max_batch` records
//! wait, when `flush_interval` has passed since the first of them, on `Flush`, and at shutdown. What arrives
//! meanwhile is the next batch.
//!
//! With `durability = "async"` an answer does not wait: a crash loses what was accepted within `flush_interval` plus
//! one flush (exported as `oldest_unflushed_seconds`). With `"group"` it waits for the commit of its batch, and the
//! next batch begins when the last one ends, without a timer.
//!
//! Records wait in lanes (`actors/lanes.rs`) and are never dropped in silence: a failed flush keeps them and tries
//! again, later and later; a record that the database refuses while it takes others is logged and given up; past
//! `max_pending`, new ones are refused.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::lanes::{Ack, Lanes, Pending, Phase};
use crate::breaker::BreakerState;
use crate::clock::Clock;
use crate::config::{self, Durability, Writer, WriterMode};
use crate::db::tokens::{self, TokenRecord};
use crate::db::{Db, DbError};
use crate::metrics::HistogramCounts;
use crate::oauth::claims::AccessTokenClaims;
use crate::time::UnixMillis;

/// Writes some records of a batch in one transaction.
pub type Sink = Rc<dyn Fn(Arc<Vec<TokenRecord>>, Range<usize>) -> LocalBoxFuture<'static, Result<(), DbError>>>;

/// The first pause after a failed flush; it doubles with each further failure.
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// The longest pause between tries. Short, because the backlog is to be written soon after the database is back.
const LAST_RETRY: Duration = Duration::from_secs(2);

/// A record was not taken, or not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRecorded {
    /// `max_pending` records wait already.
    QueueFull,
    /// The database cannot be reached, refused the record, or did not answer in time.
    Unavailable,
}

/// Of a batch in which nothing could be written, this many refused records show that the trouble is not theirs.
const REFUSALS_OF_AN_OUTAGE: usize = 16;

/// Look at the lanes: something waits there.
#[derive(Message)]
#[rtype(result = "()")]
struct Wake;

/// Write all that was accepted before; answered when it is written.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Flush;

/// How is it going?
#[derive(Message)]
#[rtype(result = "WriterStats")]
pub struct Stats;

/// Use another interval and batch size from now on (a reload of the configuration).
#[derive(Message)]
#[rtype(result = "()")]
pub struct Tune {
    /// `writer.flush_interval`
    pub flush_interval: config::Duration,
    /// `writer.max_batch`
    pub max_batch: usize,
}

/// Stop; nothing that waits is written any more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

/// `/admin/writer/stats`
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct WriterStats {
    /// `writer.mode`
    #[schema(value_type = String)]
    pub mode: WriterMode,
    /// `writer.durability`
    #[schema(value_type = String)]
    pub durability: Durability,
    /// Records accepted and not written yet.
    pub pending: usize,
    /// The most that may be.
    pub max_pending: usize,
    /// How long the oldest of them has waited.
    pub oldest_unflushed_seconds: f64,
    /// Records written.
    pub flushed_total: u64,
    /// Batches written.
    pub batches_total: u64,
    /// Flushes that failed, each try counted.
    pub flush_failures_total: u64,
    /// Records refused because too many waited.
    pub rejected_total: u64,
    /// Records given up because the database refused them.
    pub dead_lettered_total: u64,
    /// The last flush that wrote something.
    pub last_flush: LastFlush,
    /// How long flushes took, failed ones too; for `/metrics`.
    #[serde(skip)]
    pub flush_durations: HistogramCounts,
}

/// The last flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct LastFlush {
    /// Records written.
    pub rows: usize,
    /// How long it took.
    pub seconds: f64,
}

/// The actor.
pub struct BatchWriter {
    settings: Writer,
    clock: Clock,
    sink: Sink,
    lanes: Arc<Lanes>,
    /// Collected from the lanes, in order; a failed flush puts its records back in front.
    waiting: VecDeque<Pending>,
    state: State,
    /// Who waits for how many records to be settled.
    flushes: Vec<(u64, oneshot::Sender<()>)>,
    /// Records written or given up since the start.
    settled: u64,
    failures_in_a_row: u32,
    flushed: u64,
    batches: u64,
    flush_failures: u64,
    dead_lettered: u64,
    last_flush: LastFlush,
    flush_durations: HistogramCounts,
    /// When the oldest record of the flush under way was accepted.
    flushing_since: Option<UnixMillis>,
    death_watch: DeathWatch,
}

enum State {
    /// Nothing waits.
    Idle,
    /// Waits for the batch to fill up.
    Timing(SpawnHandle),
    /// A flush is under way.
    Flushing,
    /// Waits before the next try.
    Pausing(SpawnHandle),
}

/// Tells whoever runs the server when the writer is gone: better down than issuing tokens that nobody records.
struct DeathWatch(Option<oneshot::Sender<()>>);

impl Drop for DeathWatch {
    fn drop(&mut self) {
        if let Some(died) = self.0.take() {
            // Nobody listens any more once the server itself stops.
            let _ = died.send(());
        }
    }
}

impl BatchWriter {
    /// Begins the next flush if one is due, or decides what to wait for.
    fn proceed(&mut self, ctx: &mut Context<Self>) {
        if let State::Flushing | State::Pausing(_) = self.state {
            return;
        }
        self.cancel_timer(ctx);
        loop {
            self.lanes.collect(&mut self.waiting);
            let Some(first) = self.waiting.front() else {
                self.answer_flushes();
                self.lanes.set_phase(Phase::Idle);
                if self.lanes.hold_any() {
                    // It came before the phase was set, so nobody will wake us for it.
                    continue;
                }
                return;
            };
            let interval = self.settings.flush_interval.as_millis();
            let age = self.clock.now().since(first.accepted_at);
            let at_once = self.settings.durability == Durability::Group || !self.flushes.is_empty();
            if at_once || age >= interval || self.waiting.len() >= self.settings.max_batch {
                return self.flush(ctx);
            }
            self.lanes.set_phase(Phase::Timing);
            self.lanes.collect(&mut self.waiting);
            if self.waiting.len() >= self.settings.max_batch {
                // The batch became full before the phase was set, so nobody will wake us for it.
                continue;
            }
            let rest = Duration::from_millis((interval - age).clamp(1, interval) as u64);
            self.state = State::Timing(ctx.run_later(rest, |this, ctx| this.timer_ended(ctx)));
            return;
        }
    }

    fn timer_ended(&mut self, ctx: &mut Context<Self>) {
        // actix polls a timer once more after it was cancelled: one that is due then ends all the same.
        match self.state {
            State::Timing(timer) | State::Pausing(timer) if timer == ctx.handle() => {}
            _ => return,
        }
        self.state = State::Idle;
        self.lanes.collect(&mut self.waiting);
        if self.waiting.is_empty() {
            return self.proceed(ctx);
        }
        self.flush(ctx);
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        self.lanes.set_phase(Phase::Flushing);
        self.state = State::Flushing;
        let size = self.waiting.len().min(self.settings.max_batch);
        let mut records = Vec::with_capacity(size);
        let mut batch = Vec::with_capacity(size);
        for pending in self.waiting.drain(..size) {
            records.push(pending.record);
            batch.push((pending.accepted_at, pending.ack));
        }
        self.flushing_since = batch.first().map(|(accepted_at, _)| *accepted_at);
        let records = Arc::new(records);
        let writing = write(self.sink.clone(), records.clone());
        let began = Instant::now();
        ctx.spawn(writing.into_actor(self).map(move |outcome, this, ctx| {
            let records = Arc::unwrap_or_clone(records);
            let batch = records
                .into_iter()
                .zip(batch)
                .map(|(record, (accepted_at, ack))| Pending {
                    record,
                    accepted_at,
                    ack,
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
        let mut doubtful = Vec::new();
        let mut given_up = 0;
        for (pending, fate) in batch.zip(outcome.fates) {
            let answer = match fate {
                Fate::Written => {
                    written += 1;
                    Ok(())
                }
                Fate::Refused => {
                    self.dead_lettered += 1;
                    given_up += 1;
                    log::error!(
                        "token record given up, the database refuses it jti={}",
                        pending.record.jti
                    );
                    Err(NotRecorded::Unavailable)
                }
                // Whoever waited for it has had its 503 by now: nobody holds this token.
                Fate::Unwritten | Fate::Doubtful if pending.ack.as_ref().is_some_and(oneshot::Sender::is_closed) => {
                    given_up += 1;
                    continue;
                }
                Fate::Unwritten => {
                    kept.push(pending);
                    continue;
                }
                Fate::Doubtful => {
                    doubtful.push(pending);
                    continue;
                }
            };
            if let Some(ack) = pending.ack {
                // A caller that hung up needs no answer.
                let _ = ack.send(answer);
            }
        }
        for pending in kept.into_iter().rev() {
            self.waiting.push_front(pending);
        }
        self.waiting.extend(doubtful);
        self.flushed += written as u64;
        self.settled += (written + given_up) as u64;
        self.lanes.settled(written + given_up);
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
                    log::info!("token records are written again pending={}", self.lanes.pending());
                    self.failures_in_a_row = 0;
                }
                self.answer_flushes();
                self.proceed(ctx);
            }
        }
    }

    /// The flush failed: what it did not write waits in front, and the next try comes later each time.
    fn pause(&mut self, error: &DbError, ctx: &mut Context<Self>) {
        self.flush_failures += 1;
        if self.failures_in_a_row == 0 {
            log::error!(
                "token records cannot be written, they are kept pending={} cause={error}",
                self.lanes.pending()
            );
        }
        let mut pause = retry_pause(self.failures_in_a_row);
        if !error.is_unavailable() {
            // It answers, and refuses what is tried first: what comes meanwhile must not wait for that, and tells whether
            // others are refused too.
            let interval = Duration::from_millis(self.settings.flush_interval.as_millis() as u64);
            pause = pause.min(interval.max(FIRST_RETRY));
        }
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.state = State::Pausing(ctx.run_later(pause, |this, ctx| this.timer_ended(ctx)));
    }

    fn cancel_timer(&mut self, ctx: &mut Context<Self>) {
        if let State::Timing(timer) | State::Pausing(timer) = self.state {
            ctx.cancel_future(timer);
        }
        self.state = State::Idle;
    }

    /// Answers those whose records are all settled: records are settled in the order in which they came.
    fn answer_flushes(&mut self) {
        let (settled, nothing_waits) = (self.settled, self.lanes.pending() == 0);
        for (_, answer) in self
            .flushes
            .extract_if(.., |(target, _)| settled >= *target || nothing_waits)
        {
            // A caller that gave up waiting needs no answer.
            let _ = answer.send(());
        }
    }

    fn stats(&self) -> WriterStats {
        let first = self.waiting.front().map(|first| first.accepted_at);
        let oldest = [self.flushing_since, first, self.lanes.oldest()]
            .into_iter()
            .flatten()
            .min();
        let waited = oldest.map_or(0, |since| self.clock.now().since(since).max(0));
        let directly = self.lanes.written_directly.load(Ordering::Relaxed);
        WriterStats {
            mode: self.settings.mode,
            durability: self.settings.durability,
            pending: self.lanes.pending(),
            max_pending: self.lanes.max_pending,
            oldest_unflushed_seconds: waited as f64 / 1000.0,
            flushed_total: self.flushed + directly,
            batches_total: self.batches + directly,
            flush_failures_total: self.flush_failures,
            rejected_total: self.lanes.rejected.load(Ordering::Relaxed),
            dead_lettered_total: self.dead_lettered,
            last_flush: self.last_flush,
            flush_durations: self.flush_durations,
        }
    }
}

/// Twice as long after each failure, up to a bound, and up to a quarter less, so that instances do not come together.
fn retry_pause(failures: u32) -> Duration {
    let pause = FIRST_RETRY.saturating_mul(1 << failures.min(16)).min(LAST_RETRY);
    let mut byte = [0];
    // Without randomness the pause is merely the same for all.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    pause - pause / 4 * u32::from(byte[0]) / 255
}

/// How a flush went for each record.
struct Outcome {
    fates: Vec<Fate>,
    /// Why the `Unwritten` ones were not written.
    failure: Option<DbError>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Written,
    /// The database takes others and not this one.
    Refused,
    /// It was not tried, or the database was out of reach.
    Unwritten,
    /// The database refused it, and no other was written to compare with: it is tried again behind the others.
    Doubtful,
}

/// Writes a batch; where the database refuses it, halves it until the records that it refuses stand alone.
///
/// A record counts as refused only if others of its batch were written: when none is, the trouble is not the
/// record's (a table is missing, say), and giving it up would lose what a later try may write.
async fn write(sink: Sink, records: Arc<Vec<TokenRecord>>) -> Outcome {
    let mut fates = vec![Fate::Unwritten; records.len()];
    let whole = 0..records.len();
    let mut parts = Vec::from([whole]);
    let mut failure = None;
    let mut refused = 0;
    let mut any_written = false;
    while let Some(part) = parts.pop() {
        match sink(records.clone(), part.clone()).await {
            Ok(()) => {
                fates[part].fill(Fate::Written);
                any_written = true;
            }
            Err(error) if error.is_unavailable() => {
                failure = Some(error);
                break;
            }
            Err(error) if part.len() == 1 => {
                log::debug!("token record refused: {error}");
                fates[part.start] = Fate::Refused;
                refused += 1;
                if !any_written && (refused == REFUSALS_OF_AN_OUTAGE || parts.is_empty()) {
                    failure = Some(error);
                    break;
                }
            }
            Err(_) => {
                let middle = part.start + part.len() / 2;
                parts.push(middle..part.end);
                parts.push(part.start..middle);
            }
        }
    }
    if !any_written {
        for fate in fates.iter_mut().filter(|fate| **fate == Fate::Refused) {
            *fate = Fate::Doubtful;
        }
    }
    Outcome { fates, failure }
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
        // In front of what comes later: a lane that is emptied first could otherwise overtake another.
        self.lanes.collect(&mut self.waiting);
        self.flushes.push((self.settled + self.lanes.pending() as u64, answer));
        if let State::Pausing(_) = self.state {
            self.cancel_timer(ctx);
        }
        self.proceed(ctx);
        Box::pin(async move {
            // The sender lives in the actor: when that is gone, so is the mailbox that this answer comes from.
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
        self.lanes.full_at.store(tune.max_batch, Ordering::Relaxed);
        self.proceed(ctx);
    }
}

impl Handler<Stop> for BatchWriter {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        self.death_watch.0 = None;
        ctx.stop();
    }
}

/// The handle to the writer; a clone is the same writer.
#[derive(Clone)]
pub struct BatchWriterHandle {
    writer: Addr<BatchWriter>,
    lanes: Arc<Lanes>,
    settings: Writer,
    next_lane: Arc<std::sync::atomic::AtomicUsize>,
}

/// Resolves to `Ok` when the writer has died, and to an error when it was stopped.
pub type Death = oneshot::Receiver<()>;

impl BatchWriterHandle {
    /// Starts a writer on an arbiter, with as many lanes as there are workers. `sink` is made over there.
    pub fn start(
        arbiter: &ArbiterHandle,
        settings: &Writer,
        clock: Clock,
        lanes: usize,
        sink: impl FnOnce() -> Sink + Send + 'static,
    ) -> (Self, Death) {
        let (died, death) = oneshot::channel();
        let lanes = Arc::new(Lanes::new(lanes, settings));
        let writer = {
            let (settings, lanes) = (settings.clone(), lanes.clone());
            BatchWriter::start_in_arbiter(arbiter, move |_| BatchWriter {
                settings,
                clock,
                sink: sink(),
                lanes,
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
                death_watch: DeathWatch(Some(died)),
            })
        };
        let handle = Self {
            writer,
            lanes,
            settings: settings.clone(),
            next_lane: Arc::default(),
        };
        (handle, death)
    }

    /// A recorder for one worker, with a lane of its own.
    pub fn recorder(&self, db: Db) -> Recorder {
        Recorder {
            lane: self.next_lane.fetch_add(1, Ordering::Relaxed),
            writer: self.clone(),
            db,
        }
    }

    /// Waits until all that was accepted before is written.
    ///
    /// # Errors
    /// [`NotRecorded::Unavailable`] when the writer is gone.
    pub async fn flush(&self) -> Result<(), NotRecorded> {
        self.writer.send(Flush).await.map_err(|_| NotRecorded::Unavailable)
    }

    /// What the writer has counted; `None` when it is gone.
    pub async fn stats(&self) -> Option<WriterStats> {
        self.writer.send(Stats).await.ok()
    }

    /// Records accepted and not written yet.
    pub fn pending(&self) -> usize {
        self.lanes.pending()
    }

    /// Changes interval and batch size.
    pub async fn tune(&self, writer: &Writer) {
        let tune = Tune {
            flush_interval: writer.flush_interval,
            max_batch: writer.max_batch,
        };
        // A writer that is gone has nothing to tune.
        let _ = self.writer.send(tune).await;
    }

    /// Stops the writer for good.
    pub async fn stop(&self) {
        // A writer that is gone is stopped.
        let _ = self.writer.send(Stop).await;
    }
}

/// Hands the records of one worker over.
pub struct Recorder {
    lane: usize,
    writer: BatchWriterHandle,
    db: Db,
}

impl Recorder {
    /// Records an issued token, as `writer.mode` and `writer.durability` say.
    ///
    /// # Errors
    /// [`NotRecorded`]: the token must not be given out then.
    pub async fn record(&self, claims: &AccessTokenClaims, now: UnixMillis) -> Result<(), NotRecorded> {
        let record = TokenRecord::from(claims);
        // Boxed, or every request would carry about the room that waiting takes, whether it waits or not.
        if self.writer.settings.mode == WriterMode::Sync {
            return Box::pin(self.write_now(record)).await;
        }
        if self.writer.settings.durability == Durability::Group {
            return Box::pin(self.write_with_others(record, now)).await;
        }
        self.accept(record, now, None)
    }

    fn accept(&self, record: TokenRecord, now: UnixMillis, ack: Option<Ack>) -> Result<(), NotRecorded> {
        let pending = Pending {
            record,
            accepted_at: now,
            ack,
        };
        if self.writer.lanes.push(self.lane, pending)? {
            self.writer.writer.do_send(Wake);
        }
        Ok(())
    }

    async fn write_with_others(&self, record: TokenRecord, now: UnixMillis) -> Result<(), NotRecorded> {
        if self.db.breaker_state() == BreakerState::Open {
            return Err(NotRecorded::Unavailable);
        }
        let (ack, written) = oneshot::channel();
        self.accept(record, now, Some(ack))?;
        match tokio::time::timeout(self.db.query_timeout(), written).await {
            Ok(Ok(result)) => result,
            _ => Err(NotRecorded::Unavailable),
        }
    }

    async fn write_now(&self, record: TokenRecord) -> Result<(), NotRecorded> {
        let written = self
            .db
            .run_repeatable(move |conn| tokens::insert_batch(conn, std::slice::from_ref(&record)))
            .await;
        written.map_err(|_| NotRecorded::Unavailable)?;
        self.writer.lanes.written_directly.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The sink of a running server: the `tokens` table.
pub fn table_sink(db: Db) -> Sink {
    Rc::new(move |records, part| {
        let db = db.clone();
        Box::pin(async move {
            db.run_repeatable(move |conn| tokens::insert_batch(conn, &records[part.clone()]))
                .await
        })
    })
}
