//! Histograms of durations, all with the same buckets.

use std::ops::AddAssign;
use std::time::Duration;

use super::counter::Counter;

/// Upper bounds of the buckets, in nanoseconds: 1, 2 and 5 in each decade, and 30 µs.
///
/// A warm request takes from about 5 µs (HS256) to 30 µs (ES256), one that waits for the database
/// or for its batch 1 to 100 ms, and the deadlines are 1, 2 and 5 s. Prometheus' default bounds
/// begin at 5 ms, so almost every request of a healthy server would be in the first bucket.
pub const BOUNDS: [u64; 20] = [
    5_000,
    10_000,
    20_000,
    30_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
];

/// A histogram that one thread writes and others read.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS.len() + 1],
    nanos: Counter,
}

impl Histogram {
    #[inline]
    pub fn observe(&self, took: Duration) {
        let nanos = nanos(took);
        self.buckets[bucket(nanos)].add(1);
        self.nanos.add(nanos);
    }

    pub fn add_to(&self, counts: &mut HistogramCounts) {
        for (sum, bucket) in counts.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.get();
        }
        counts.nanos += self.nanos.get();
    }
}

/// The counts of a histogram. Also usable as a histogram of its own with a single owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramCounts {
    /// Per bucket, not cumulative. The last bucket counts the values beyond all bounds.
    buckets: [u64; BOUNDS.len() + 1],
    nanos: u64,
}

impl HistogramCounts {
    /// Records a duration.
    pub fn observe(&mut self, took: Duration) {
        let nanos = nanos(took);
        self.buckets[bucket(nanos)] += 1;
        self.nanos += nanos;
    }

    /// The number of recorded durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of the recorded durations, in seconds.
    pub fn seconds(&self) -> f64 {
        self.nanos as f64 / 1e9
    }

    /// For each upper bound in seconds, the number of durations up to it. The last bound is
    /// infinity.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = BOUNDS.iter().map(|nanos| *nanos as f64 / 1e9).chain([f64::INFINITY]);
        bounds.zip(&self.buckets).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((bound, *sum))
        })
    }
}

impl AddAssign<&HistogramCounts> for HistogramCounts {
    fn add_assign(&mut self, other: &HistogramCounts) {
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += count;
        }
        self.nanos += other.nanos;
    }
}

/// 64 bits hold 584 years.
fn nanos(took: Duration) -> u64 {
    took.as_nanos() as u64
}

fn bucket(nanos: u64) -> usize {
    BOUNDS.partition_point(|bound| *bound < nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let mut counts = HistogramCounts::default();
        for nanos in [0, 5_000, 5_001, 5_000_000_000, 5_000_000_001] {
            counts.observe(Duration::from_nanos(nanos));
        }
        let cumulative: Vec<(f64, u64)> = counts.cumulative().collect();
        assert_eq!(cumulative[..2], [(5e-6, 2), (1e-5, 3)]);
        assert_eq!(cumulative[BOUNDS.len() - 1..], [(5.0, 4), (f64::INFINITY, 5)]);
        assert_eq!((counts.count(), counts.seconds()), (5, 10.000010002));
    }

    #[test]
    fn another_thread_can_sum_the_counts() {
        let (histogram, mut sum, mut alone) = (
            Histogram::default(),
            HistogramCounts::default(),
            HistogramCounts::default(),
        );
        for micros in 1..1000 {
            histogram.observe(Duration::from_micros(micros));
            alone.observe(Duration::from_micros(micros));
        }
        histogram.add_to(&mut sum);
        assert_eq!(sum, alone);
        sum += &alone;
        assert_eq!(sum.count(), 2 * alone.count());
    }
}
