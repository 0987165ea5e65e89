//! Jitter and capped retry pauses, so that instances neither poll nor reconnect at the same moment.

use std::time::Duration;

use crate::random::random_byte;

/// The time between two polls: between 90 % and 110 % of `interval`.
pub fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fraction())
}

/// The pause after this many consecutive failures: `first` after one failure, then doubled for each
/// further one, up to `max`. Jitter shortens it by up to a quarter, so that instances do not retry
/// together.
pub fn retry_pause(first: Duration, max: Duration, failures: u32) -> Duration {
    // Seventeen doublings of a millisecond are two minutes. The limit keeps the shift from
    // overflowing.
    let doublings = failures.saturating_sub(1).min(17);
    let pause = first.saturating_mul(1 << doublings).min(max);
    pause.mul_f64(0.75 + 0.25 * fraction())
}

/// A random number from 0 to 1. Without randomness it is 0.5, so only the jitter is lost.
fn fraction() -> f64 {
    random_byte().map_or(0.5, |byte| f64::from(byte) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_interval_varies_by_at_most_a_tenth() {
        for _ in 0..100 {
            let millis = jittered(Duration::from_secs(1)).as_millis();
            assert!((900..=1100).contains(&millis), "{millis}");
        }
    }

    #[test]
    fn retry_pauses_grow_up_to_a_bound() {
        let (first, max) = (Duration::from_millis(100), Duration::from_secs(5));
        let expected = [(0, 100), (1, 100), (2, 200), (3, 400), (7, 5000), (u32::MAX, 5000)];
        for (failures, longest) in expected {
            let millis = retry_pause(first, max, failures).as_millis();
            assert!((longest * 3 / 4..=longest).contains(&millis), "{failures}: {millis}");
        }
    }
}
