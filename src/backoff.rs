//! Jitter and capped retry pauses, so that instances neither poll nor come back in step.

use std::time::Duration;

use crate::random::random_byte;

/// Between 90 % and 110 % of `interval`: the time between two polls.
pub fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fraction())
}

/// How long to wait after this many failures in a row: `first` after one, then twice as long each time, up to `max`;
/// up to a quarter less, so that instances do not come together.
pub fn retry_pause(first: Duration, max: Duration, failures: u32) -> Duration {
    // Seventeen doublings of a millisecond are two minutes.
    let doublings = failures.saturating_sub(1).min(17);
    let pause = first.saturating_mul(1 << doublings).min(max);
    pause.mul_f64(0.75 + 0.25 * fraction())
}

/// Between 0 and 1. Without randomness it is 1/2: the pause is then merely the same for all.
fn fraction() -> f64 {
    random_byte().map_or(0.5, |byte| f64::from(byte) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_comes_within_a_tenth_of_its_interval() {
        for _ in 0..100 {
            let millis = jittered(Duration::from_secs(1)).as_millis();
            assert!((900..=1100).contains(&millis), "{millis}");
        }
    }

    #[test]
    fn a_retry_comes_ever_later_up_to_a_bound() {
        let (first, max) = (Duration::from_millis(100), Duration::from_secs(5));
        let expected = [(0, 100), (1, 100), (2, 200), (3, 400), (7, 5000), (u32::MAX, 5000)];
        for (failures, longest) in expected {
            let millis = retry_pause(first, max, failures).as_millis();
            assert!((longest * 3 / 4..=longest).contains(&millis), "{failures}: {millis}");
        }
    }
}
