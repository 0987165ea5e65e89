//! [`Time`]: paused time for actor tests, which stands still until the test lets it pass.

use std::time::Duration;

use mintage::clock::Clock;
use tokio::time::Instant;

use crate::sample;

/// The mock clock of a test and the paused timers of its runtime.
#[derive(Clone)]
pub struct Time {
    pub clock: Clock,
}

impl Time {
    /// Pauses the time of this test's runtime.
    pub fn paused() -> Self {
        tokio::time::pause();
        Self {
            clock: Clock::mock(sample::NOW),
        }
    }

    /// Advances the clock and the timers together; everything that becomes due runs in order.
    pub async fn passes(&self, millis: u64) {
        let began = Instant::now();
        for passed in 1..=millis {
            self.clock.advance(1);
            tokio::time::sleep_until(began + Duration::from_millis(passed)).await;
        }
    }
}

/// Whether about `millis` have passed; tokio rounds each timer up to a whole millisecond.
pub fn about(elapsed: Duration, millis: u64) -> bool {
    elapsed.abs_diff(Duration::from_millis(millis)) <= Duration::from_millis(2)
}
