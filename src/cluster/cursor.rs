//! [`Cursor`]: how far a reader of the change log has come. It misses no change, and detects when
//! the log is not the one it has read so far.
//!
//! Change numbers increase, and Mintage commits them in order. A missing number may still appear,
//! because a program that writes to the database in its own transaction does not take Mintage's
//! lock. The reader therefore asks for missing numbers again for a while.
//!
//! The line read last must still exist: the janitor keeps the newest of the lines that are older
//! than an hour. If the line is gone or is a different one, the reader was away for too long, or
//! the database has lost commits (a restored backup, a replica promoted too early). Numbers already
//! read may then have been assigned again.

use std::time::Duration;

use tokio::time::Instant;

use crate::db::changes::Line;
use crate::time::UnixMillis;

/// How long a missing number is asked for. It exceeds the longest transaction that a well-behaved
/// program holds open.
const GAP_TIMEOUT: Duration = Duration::from_secs(600);

/// Missing numbers asked for at a time; the highest are kept. PostgreSQL skips 32 numbers after a
/// crash. Every other gap is a foreign transaction.
const MAX_GAPS: usize = 500;

/// How far back a new reader looks for missing numbers.
const LOOK_BACK: i64 = 500;

/// A position in the change log.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// Increases when the log turns out to be another one.
    generation: u32,
    /// The number of the last line read; 0 if there was none.
    seq: i64,
    /// When that line was written; `None` for a new reader.
    at: Option<UnixMillis>,
    /// Lower numbers not seen yet, and since when they are missing.
    missing: Vec<(i64, Instant)>,
}

impl Cursor {
    /// A new reader that starts after line `seq`.
    pub fn new(seq: i64) -> Self {
        Self {
            generation: 0,
            seq,
            at: None,
            missing: Vec::new(),
        }
    }

    /// The same reader at the end of another log, whose last line is `seq`.
    pub fn in_another_log(&self, seq: i64) -> Self {
        Self {
            generation: self.generation + 1,
            ..Self::new(seq)
        }
    }

    /// The number of the last line read.
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// The number from which to read on. It includes the line read last, which must still exist.
    pub fn from(&self) -> i64 {
        match self.at {
            Some(_) => self.seq,
            None => (self.seq - LOOK_BACK).max(0),
        }
    }

    /// The missing numbers to ask for in addition.
    pub fn missing(&self) -> Vec<i64> {
        self.missing.iter().map(|(seq, _)| *seq).collect()
    }

    /// Whether this cursor is ahead of `other`.
    pub fn is_beyond(&self, other: &Self) -> bool {
        (self.generation, self.seq) > (other.generation, other.seq)
    }

    /// Advances over what was read at `now`: `late` are lines with numbers that were missing,
    /// `lines` those from [`Cursor::from`] on. Returns the new lines, or `None` when the log is not
    /// the one read so far.
    pub fn advance(&mut self, late: Vec<Line>, lines: Vec<Line>, now: Instant) -> Option<Vec<Line>> {
        let known = lines.iter().find(|line| line.seq == self.seq);
        let is_known = known.is_some_and(|line| self.at.is_none_or(|at| at == line.at));
        if !is_known && self.seq > 0 {
            return None;
        }
        self.at = known.map(|line| line.at).or(self.at);
        self.missing
            .retain(|(seq, since)| now - *since < GAP_TIMEOUT && late.iter().all(|line| line.seq != *seq));
        let mut before = None;
        for line in &lines {
            // Lines before the first one have been removed by the janitor; a gap needs a line on
            // both sides.
            let first_missing = before.map_or(line.seq, |before: i64| before + 1);
            let skipped = (line.seq - first_missing).min(MAX_GAPS as i64);
            self.missing
                .extend((line.seq - skipped..line.seq).map(|seq| (seq, now)));
            before = Some(line.seq);
        }
        let too_many = self.missing.len().saturating_sub(MAX_GAPS);
        self.missing.drain(..too_many);
        let mut new = late;
        new.extend(lines.into_iter().filter(|line| line.seq > self.seq));
        if let Some(last) = new.last().filter(|last| last.seq > self.seq) {
            (self.seq, self.at) = (last.seq, Some(last.at));
        }
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::changes::Change;

    fn lines(numbers: impl IntoIterator<Item = i64>) -> Vec<Line> {
        let line = |seq| Line {
            seq,
            at: UnixMillis(1000 + seq),
            change: Change::Keys,
        };
        numbers.into_iter().map(line).collect()
    }

    fn numbers(lines: Option<Vec<Line>>) -> Option<Vec<i64>> {
        lines.map(|lines| lines.iter().map(|line| line.seq).collect())
    }

    /// A cursor that has read up to 10.
    fn cursor(now: Instant) -> Cursor {
        let mut cursor = Cursor::new(9);
        let read = cursor.advance(vec![], lines(1..=10), now);
        assert_eq!(numbers(read), Some(vec![10]));
        cursor
    }

    #[test]
    fn lines_already_read_are_not_returned_again() {
        let now = Instant::now();
        let mut cursor = cursor(now);
        assert_eq!(cursor.from(), 10);
        assert_eq!(numbers(cursor.advance(vec![], lines([10]), now)), Some(vec![]));
        assert_eq!(numbers(cursor.advance(vec![], lines(10..=12), now)), Some(vec![11, 12]));
        assert_eq!((cursor.from(), cursor.missing()), (12, vec![]));
    }

    #[test]
    fn a_missing_number_is_asked_for_until_it_appears() {
        let now = Instant::now();
        let mut cursor = cursor(now);
        assert_eq!(numbers(cursor.advance(vec![], lines([10, 13]), now)), Some(vec![13]));
        assert_eq!(cursor.missing(), [11, 12]);
        let late = cursor.advance(lines([12]), lines([13, 14]), now);
        assert_eq!(numbers(late), Some(vec![12, 14]));
        assert_eq!((cursor.from(), cursor.missing()), (14, vec![11]));
        cursor.advance(lines([11]), lines([14]), now);
        assert_eq!((cursor.from(), cursor.missing()), (14, vec![]));
    }

    #[test]
    fn a_missing_number_is_given_up_after_the_timeout() {
        let now = Instant::now();
        let mut cursor = cursor(now);
        cursor.advance(vec![], lines([10, 12]), now);
        cursor.advance(vec![], lines([12]), now + GAP_TIMEOUT - Duration::from_secs(1));
        assert_eq!(cursor.missing(), [11]);
        cursor.advance(vec![], lines([12]), now + GAP_TIMEOUT);
        assert_eq!(cursor.missing(), [0; 0]);
    }

    #[test]
    fn of_a_large_gap_only_the_highest_numbers_are_asked_for() {
        let now = Instant::now();
        let mut cursor = cursor(now);
        cursor.advance(vec![], lines([10, 1 << 60]), now);
        let missing = cursor.missing();
        assert_eq!((missing.len(), missing[MAX_GAPS - 1]), (MAX_GAPS, (1 << 60) - 1));
    }

    #[test]
    fn a_new_reader_asks_for_numbers_missing_before_its_start() {
        let mut cursor = Cursor::new(1000);
        assert_eq!(cursor.from(), 500);
        let read = cursor.advance(vec![], lines([990, 999, 1000, 1001]), Instant::now());
        assert_eq!(numbers(read), Some(vec![1001]));
        assert_eq!(cursor.missing(), (991..999).collect::<Vec<i64>>());
    }

    #[test]
    fn an_empty_log_may_start_at_any_number() {
        let mut cursor = Cursor::new(0);
        assert_eq!(numbers(cursor.advance(vec![], vec![], Instant::now())), Some(vec![]));
        assert_eq!(
            numbers(cursor.advance(vec![], lines([3]), Instant::now())),
            Some(vec![3])
        );
    }

    #[test]
    fn a_log_without_the_line_read_last_is_another_log() {
        let now = Instant::now();
        assert_eq!(cursor(now).advance(vec![], vec![], now), None, "the log went back");
        assert_eq!(
            cursor(now).advance(vec![], lines([11]), now),
            None,
            "the log was truncated"
        );
        let mut other = lines([10, 11]);
        other[0].at = UnixMillis(1);
        assert_eq!(
            cursor(now).advance(vec![], other, now),
            None,
            "the number was assigned again"
        );
        let (old, new) = (cursor(now), cursor(now).in_another_log(3));
        assert!(new.is_beyond(&old) && !old.is_beyond(&new));
    }
}
