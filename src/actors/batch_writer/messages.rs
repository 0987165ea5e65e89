//! What the writer can be told and asked, and what it has counted.

use actix::prelude::*;
use serde::Serialize;

use crate::config::{self, Durability, WriterMode};
use crate::metrics::HistogramCounts;

/// Look at the queues: something waits there.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Wake;

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
