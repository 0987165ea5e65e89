//! The records of issued tokens: how they are written, how many there are, and the disk they take.

use super::DAY;
use super::inputs::Inputs;

/// How records reach the database.
#[derive(Clone, Copy, Debug)]
pub struct Flushes {
    /// Flushes a second, of all instances.
    pub flushes: f64,
    /// Records of a flush.
    pub rows: f64,
    /// PostgreSQL's CPU, in cores.
    pub cores: f64,
}

impl Flushes {
    /// Of `tokens` a second over so many instances. An instance flushes `interval` after the first record of a batch, or
    /// when `max_batch` are waiting.
    pub fn of(tokens: f64, instances: f64, inputs: &Inputs) -> Self {
        let own = tokens / instances;
        let (interval, max_batch) = (inputs.flush_interval, inputs.max_batch);
        // The first record begins the interval, the others come within it.
        let rows = (1.0 + own * interval).min(max_batch);
        let flushes = tokens / rows;
        Self {
            flushes,
            rows,
            cores: (flushes * inputs.flush_micros + tokens * inputs.row_micros) / 1e6,
        }
    }
}

/// How long records are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// `token.ttl`
    pub ttl: f64,
    /// `janitor.keep_expired`
    pub keep_expired: f64,
}

/// The time that one partition covers; `db::partitions::WIDTH`.
pub const PARTITION: f64 = 6.0 * 3600.0;

impl Keeping {
    /// How long a record is there on PostgreSQL, on average: its partition goes when the last of it has been expired for
    /// `keep_expired`. Where that is shorter than a partition is wide, rows are removed one by one.
    pub fn on_postgres(&self) -> f64 {
        let waits = if self.keep_expired < PARTITION {
            0.0
        } else {
            PARTITION / 2.0
        };
        self.ttl + self.keep_expired + waits
    }

    /// The most that it is, just before a partition goes.
    pub fn on_postgres_at_most(&self) -> f64 {
        let waits = if self.keep_expired < PARTITION { 0.0 } else { PARTITION };
        self.ttl + self.keep_expired + waits
    }

    /// On SQLite rows go one by one.
    pub fn on_sqlite(&self) -> f64 {
        self.ttl + self.keep_expired
    }

    /// Partitions of PostgreSQL that hold records.
    pub fn partitions_in_use(&self) -> f64 {
        ((self.ttl + self.keep_expired) / PARTITION).ceil() + 1.0
    }
}

/// Rows of a day.
pub fn rows_a_day(tokens: f64) -> f64 {
    tokens * DAY
}

/// Bytes of memory that each instance needs for what was taken back: half of a lifetime is left of a token on average, and
/// an id is kept for five minutes more.
pub fn revocation_memory(spent: f64, ttl: f64, inputs: &Inputs) -> f64 {
    spent * (ttl / 2.0 + inputs.kept_after_expiry) * inputs.revocation_memory
}
