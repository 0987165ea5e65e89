//! [`Cursor`]: how far a reader of the change log has come, so that it misses nothing and notices when the log is not the
//! one that it knows.
//!
//! Numbers of the log rise, and Mintage commits them in order. But a number that is missing may still come: whoever writes
//! to the database by other means, in a transaction of their own, takes no lock. So it is asked for again for a while.
//! And the line that was read last must still be there, because the janitor leaves the one before what is an hour old: if
//! it is gone, or another one, the reader was away for too long, or the database has lost commits (a backup, a replica
//! that was promoted too early), and numbers that it has read may have been given out again.

use std::time::Duration;

use tokio::time::Instant;

use crate::db::changes::Line;
use crate::time::UnixMillis;

/// How long a missing number is asked for: longer than anybody should hold a transaction open.
const GAP_TIMEOUT: Duration = Duration::from_secs(600);

/// Missing numbers that are asked for at a time, the highest of them. PostgreSQL skips 32 after a crash; each of the
/// others is somebody's transaction.
const MAX_GAPS: usize = 500;

/// A reader that has just begun looks so far back for numbers that are missing.
const LOOK_BACK: i64 = 500;

/// A place in the log.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// Rises when the log turned out to be another one.
    generation: u32,
    /// The last line that was read, 0 when there was none.
    seq: i64,
    /// When that line was written; unknown to a reader that has just begun.
    at: Option<UnixMillis>,
    /// Lower numbers that have not been seen, and since when they are missed.
    missing: Vec<(i64, Instant)>,
}

impl Cursor {
    /// A reader that begins after line `seq`.
    pub fn new(seq: i64) -> Self {
        Self {
            generation: 0,
            seq,
            at: None,
            missing: Vec::new(),
        }
    }

    /// The same reader at the end of another log.
    pub fn in_another_log(&self, seq: i64) -> Self {
        Self {
            generation: self.generation + 1,
            ..Self::new(seq)
        }
    }

    /// The last number that was read.
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// The number from which on to read: that of a line that must be there.
    pub fn from(&self) -> i64 {
        match self.at {
            Some(_) => self.seq,
            None => (self.seq - LOOK_BACK).max(0),
        }
    }

    /// The numbers to ask for besides.
    pub fn missing(&self) -> Vec<i64> {
        self.missing.iter().map(|(seq, _)| *seq).collect()
    }

    /// Whether this one is further than another.
    pub fn is_beyond(&self, other: &Self) -> bool {
        (self.generation, self.seq) > (other.generation, other.seq)
    }

    /// Goes on over what was read at `now`, `late` where it was missing and `lines` from [`Cursor::from`] on; answers what
    /// is new. `None` when the log is not the one that it knows.
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
            // Lines before the first one have been removed, those after the last one are still to come.
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

    /// Has read up to 10.
    fn cursor(now: Instant) -> Cursor {
        let mut cursor = Cursor::new(9);
        let read = cursor.advance(vec![], lines(1..=10), now);
        assert_eq!(numbers(read), Some(vec![10]));
        cursor
    }

    #[test]
    fn what_was_read_is_not_new_and_what_follows_is() {
        let now = Instant::now();
        let mut cursor = cursor(now);
        assert_eq!(cursor.from(), 10);
        assert_eq!(numbers(cursor.advance(vec![], lines([10]), now)), Some(vec![]));
        assert_eq!(numbers(cursor.advance(vec![], lines(10..=12), now)), Some(vec![11, 12]));
        assert_eq!((cursor.from(), cursor.missing()), (12, vec![]));
    }

    #[test]
    fn a_number_that_was_passed_over_is_asked_for_until_it_comes() {
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
    fn a_number_that_does_not_come_is_given_up() {
        let now = Instant::now();
        let mut cursor = cursor(now);
        cursor.advance(vec![], lines([10, 12]), now);
        cursor.advance(vec![], lines([12]), now + GAP_TIMEOUT - Duration::from_secs(1));
        assert_eq!(cursor.missing(), [11]);
        cursor.advance(vec![], lines([12]), now + GAP_TIMEOUT);
        assert_eq!(cursor.missing(), [0; 0]);
    }

    #[test]
    fn a_jump_is_asked_for_in_part_only() {
        let now = Instant::now();
        let mut cursor = cursor(now);
        cursor.advance(vec![], lines([10, 1 << 60]), now);
        let missing = cursor.missing();
        assert_eq!((missing.len(), missing[MAX_GAPS - 1]), (MAX_GAPS, (1 << 60) - 1));
    }

    #[test]
    fn who_begins_asks_for_what_is_missing_before() {
        let mut cursor = Cursor::new(1000);
        assert_eq!(cursor.from(), 500);
        let read = cursor.advance(vec![], lines([990, 999, 1000, 1001]), Instant::now());
        assert_eq!(numbers(read), Some(vec![1001]));
        assert_eq!(cursor.missing(), (991..999).collect::<Vec<i64>>());
    }

    #[test]
    fn an_empty_log_may_begin_anywhere() {
        let mut cursor = Cursor::new(0);
        assert_eq!(numbers(cursor.advance(vec![], vec![], Instant::now())), Some(vec![]));
        assert_eq!(
            numbers(cursor.advance(vec![], lines([3]), Instant::now())),
            Some(vec![3])
        );
    }

    #[test]
    fn a_log_that_lacks_the_last_line_is_another_one() {
        let now = Instant::now();
        assert_eq!(cursor(now).advance(vec![], vec![], now), None, "it went back");
        assert_eq!(cursor(now).advance(vec![], lines([11]), now), None, "it was cut off");
        let mut other = lines([10, 11]);
        other[0].at = UnixMillis(1);
        assert_eq!(
            cursor(now).advance(vec![], other, now),
            None,
            "its number was given again"
        );
        let (old, new) = (cursor(now), cursor(now).in_another_log(3));
        assert!(new.is_beyond(&old) && !old.is_beyond(&new));
    }
}
