//! Token records: how they reach PostgreSQL and how long they stay there.

use crate::inputs::{FLUSH_INTERVAL, FLUSH_MICROS, MAX_BATCH, PARTITION, ROW_MICROS};

/// Flushes of all instances per second, and PostgreSQL CPU for them in cores. An instance flushes
/// `writer.flush_interval` after the first record of a batch, or once `writer.max_batch` are
/// pending.
pub fn flushes(tokens: f64, instances: f64) -> (f64, f64) {
    // The first record starts the interval, the others arrive within it.
    let rows = (1.0 + tokens / instances * FLUSH_INTERVAL).min(MAX_BATCH);
    let flushes = tokens / rows;
    (flushes, (flushes * FLUSH_MICROS + tokens * ROW_MICROS) / 1e6)
}

/// How long a record stays on PostgreSQL, on average and at most: until the last record of its
/// partition has been expired for `keep_expired`. Below the width of a partition, and on SQLite,
/// rows are removed individually.
pub fn retention(ttl: f64, keep_expired: f64) -> (f64, f64) {
    let partition = if keep_expired < PARTITION { 0.0 } else { PARTITION };
    (ttl + keep_expired + partition / 2.0, ttl + keep_expired + partition)
}

#[cfg(test)]
mod tests {
    use super::{flushes, retention};

    #[test]
    fn every_token_is_a_row_and_a_flush_is_never_larger_than_a_batch() {
        for tokens in [0.1, 278.0, 16_667.0, 1e6] {
            for instances in [1.0, 100.0] {
                let rows = tokens / flushes(tokens, instances).0;
                assert!((1.0..=1000.0).contains(&rows), "{rows} rows");
            }
        }
    }

    #[test]
    fn a_record_is_kept_until_its_partition_has_been_expired_for_keep_expired() {
        assert_eq!(retention(3600.0, 86_400.0), (90_000.0 + 10_800.0, 90_000.0 + 21_600.0));
        // Shorter than a partition: row by row.
        assert_eq!(retention(3600.0, 3600.0), (7200.0, 7200.0));
    }
}
