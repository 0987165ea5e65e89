//! The messages of the writer, its exit signal and its counters.

use actix::prelude::*;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::config::{self, Durability, WriterMode};
use crate::metrics::HistogramCounts;

/// Check the queues: a record is waiting.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Wake;

/// Write every record accepted so far; answered when they are settled.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Flush;

/// Return the counters.
#[derive(Message)]
#[rtype(result = "WriterStats")]
pub struct Stats;

/// Use another interval and batch size from now on (a configuration reload).
#[derive(Message)]
#[rtype(result = "()")]
pub struct Tune {
    /// `writer.flush_interval`
    pub flush_interval: config::Duration,
    /// `writer.max_batch`
    pub max_batch: usize,
}

/// Stop. Waiting records are not written.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

/// Signals to the server that the writer is gone. The server then stops: issuing tokens that are
/// not recorded would be worse.
pub struct ExitSignalSender(pub(super) Option<oneshot::Sender<()>>);

impl Drop for ExitSignalSender {
    fn drop(&mut self) {
        if let Some(exited) = self.0.take() {
            // The receiver is gone once the server itself stops.
            let _ = exited.send(());
        }
    }
}

/// The body of `/admin/writer/stats`.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct WriterStats {
    /// `writer.mode`
    #[schema(value_type = String)]
    pub mode: WriterMode,
    /// `writer.durability`
    #[schema(value_type = String)]
    pub durability: Durability,
    /// Records accepted and not yet written.
    pub pending: usize,
    /// The maximum of `pending`; beyond it new records are rejected.
    pub max_pending: usize,
    /// How long the oldest pending record has waited.
    pub oldest_unflushed_seconds: f64,
    /// Records written.
    pub flushed_total: u64,
    /// Batches written.
    pub batches_total: u64,
    /// Flushes that failed; every attempt counts.
    pub flush_failures_total: u64,
    /// Records rejected because `max_pending` records waited.
    pub rejected_total: u64,
    /// Records dropped because the database rejected them.
    pub dead_lettered_total: u64,
    /// The last flush that wrote at least one record.
    pub last_flush: LastFlush,
    /// Durations of all flushes, including failed ones; for `/metrics`.
    #[serde(skip)]
    pub flush_durations: HistogramCounts,
}

/// The last flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct LastFlush {
    /// The number of records written.
    pub rows: usize,
    /// The duration in seconds.
    pub seconds: f64,
}
