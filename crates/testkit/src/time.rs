//! [`Time`]: the time of one test of actors, which stands still until it is told to pass.

use std::time::Duration;

use mintage::clock::Clock;
use tokio::time::Instant;

use crate::sample;

/// The clock of a test and the timers of its runtime.
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

    /// Lets time pass, on the clock and for the timers alike; all that is due meanwhile happens in its order.
    pub async fn passes(&self, millis: u64) {
        let began = Instant::now();
        for passed in 1..=millis {
            self.clock.advance(1);
            tokio::time::sleep_until(began + Duration::from_millis(passed)).await;
        }
    }
}

/// Whether about this many milliseconds have passed: tokio rounds each timer up to a whole one.
pub fn about(elapsed: Duration, millis: u64) -> bool {
    elapsed.abs_diff(Duration::from_millis(millis)) <= Duration::from_millis(2)
}
