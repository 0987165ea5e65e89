//! [`BatchWriterHandle`]: the handle to the writer, and the [`Recorder`] of each worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::prelude::*;
use tokio::sync::oneshot;

use super::actor::BatchWriter;
use super::messages::{Flush, Stats, Stop, Tune, Wake, WriterStats};
use crate::breaker::BreakerState;
use crate::clock::Clock;
use crate::config::{Durability, Writer, WriterMode};
use crate::db::Db;
use crate::db::tokens::{self, TokenRecord};
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::origin::Origin;
use crate::records::flush::Sink;
use crate::records::queue::{Ack, NotRecorded, Pending, WorkerQueues};
use crate::time::UnixMillis;

/// The handle to the writer. Clones share one writer.
#[derive(Clone)]
pub struct BatchWriterHandle {
    writer: Addr<BatchWriter>,
    queues: Arc<WorkerQueues>,
    settings: Writer,
    next_queue: Arc<AtomicUsize>,
}

/// Resolves to `Ok` when the writer dies, and to an error when it is stopped.
pub type ExitSignal = oneshot::Receiver<()>;

impl BatchWriterHandle {
    /// Starts a writer on `arbiter` with `queues` queues, one per worker. `sink` is called on that
    /// arbiter.
    pub fn start(
        arbiter: &ArbiterHandle,
        settings: &Writer,
        clock: Clock,
        queues: usize,
        sink: impl FnOnce() -> Sink + Send + 'static,
    ) -> (Self, ExitSignal) {
        let (exited, exit_signal) = oneshot::channel();
        let queues = Arc::new(WorkerQueues::new(queues, settings));
        let writer = {
            let (settings, queues) = (settings.clone(), queues.clone());
            BatchWriter::start_in_arbiter(arbiter, move |_| {
                BatchWriter::new(settings, clock, sink(), queues, exited)
            })
        };
        let handle = Self {
            writer,
            queues,
            settings: settings.clone(),
            next_queue: Arc::default(),
        };
        (handle, exit_signal)
    }

    /// A recorder for one worker, with a queue of its own.
    pub fn recorder(&self, db: Db) -> Recorder {
        Recorder {
            queue: self.next_queue.fetch_add(1, Ordering::Relaxed),
            writer: self.clone(),
            db,
        }
    }

    /// Waits until every record accepted before this call is settled: written or dropped.
    ///
    /// # Errors
    /// [`NotRecorded::Unavailable`] when the writer is gone.
    pub async fn flush(&self) -> Result<(), NotRecorded> {
        self.writer.send(Flush).await.map_err(|_| NotRecorded::Unavailable)
    }

    /// The writer's counters; `None` when it is gone.
    pub async fn stats(&self) -> Option<WriterStats> {
        self.writer.send(Stats).await.ok()
    }

    /// The number of records accepted and not yet written.
    pub fn pending(&self) -> usize {
        self.queues.pending()
    }

    /// Applies another flush interval and batch size.
    pub async fn tune(&self, writer: &Writer) {
        let tune = Tune {
            flush_interval: writer.flush_interval,
            max_batch: writer.max_batch,
        };
        // Nothing to do if the writer is gone.
        let _ = self.writer.send(tune).await;
    }

    /// Stops the writer without writing the records that wait.
    pub async fn stop(&self) {
        // Nothing to do if the writer is gone.
        let _ = self.writer.send(Stop).await;
    }
}

/// Records the tokens that one worker issues.
pub struct Recorder {
    queue: usize,
    writer: BatchWriterHandle,
    db: Db,
}

impl Recorder {
    /// Records an issued token, with the guarantees of `writer.mode` and `writer.durability`.
    ///
    /// # Errors
    /// [`NotRecorded`]: the token must not be sent to the client.
    pub async fn record(&self, claims: &AccessTokenClaims, origin: Origin, now: UnixMillis) -> Result<(), NotRecorded> {
        let record = TokenRecord::new(claims, origin);
        // Boxed: otherwise the future of every request would reserve space for the waiting
        // variants.
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
            bytes: size_of::<Pending>() + record.own_bytes(),
            record,
            accepted_at: now,
            ack,
        };
        if self.writer.queues.push(self.queue, pending)? {
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
        self.writer.queues.written_directly.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
