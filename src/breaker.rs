//! A circuit breaker as a pure state machine; the caller reports outcomes and times.
//!
//! While the breaker is closed, calls pass and their outcomes are recorded. It opens when too large
//! a share of the recorded calls failed, and then rejects calls immediately. After a while it lets
//! one call through: success closes the breaker, failure opens it again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strum::IntoStaticStr;

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// Calls are rejected.
    Open,
    /// One trial call is in progress.
    HalfOpen,
}

impl BreakerState {
    /// The number in `/metrics`: the higher, the fewer calls pass.
    pub fn severity(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }

    /// The name in `/admin/pool/stats`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Tells the state of a breaker that something else owns, and can do nothing else.
#[derive(Clone)]
pub struct BreakerView(Arc<dyn Fn() -> BreakerState + Send + Sync>);

impl BreakerView {
    /// A view of the breaker whose state `state` returns.
    pub fn new(state: impl Fn() -> BreakerState + Send + Sync + 'static) -> Self {
        Self(Arc::new(state))
    }

    /// The state of the breaker now.
    pub fn state(&self) -> BreakerState {
        (self.0)()
    }
}

/// The settings of `[database.breaker]`.
#[derive(Clone, Copy, Debug)]
pub struct BreakerSettings {
    /// The share of failures that opens the breaker, above 0 and at most 1.
    pub failure_rate: f64,
    /// Number of recorded outcomes.
    pub window: usize,
    /// How long the breaker stays open before a trial call.
    pub open_for: Duration,
}

/// The circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed { failed: VecDeque<bool> },
    Open { until: Instant },
    HalfOpen,
}

impl Breaker {
    /// A closed breaker without recorded outcomes.
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            state: State::Closed {
                failed: VecDeque::with_capacity(settings.window),
            },
        }
    }

    /// Whether a call would be admitted now.
    pub fn admits(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } => now >= until,
            State::HalfOpen => false,
        }
    }

    /// Whether a call may pass now. The caller must report the outcome of an admitted call.
    pub fn admit(&mut self, now: Instant) -> bool {
        let admitted = self.admits(now);
        if admitted && matches!(self.state, State::Open { .. }) {
            self.state = State::HalfOpen;
        }
        admitted
    }

    /// Reports that an admitted call succeeded.
    pub fn succeeded(&mut self) {
        match &mut self.state {
            State::Closed { failed } => remember(failed, false, self.settings.window),
            State::HalfOpen => self.state = Self::new(self.settings).state,
            // The call began before the breaker opened, so its outcome does not describe the
            // present.
            State::Open { .. } => {}
        }
    }

    /// Reports that an admitted call failed.
    pub fn failed(&mut self, now: Instant) {
        let open = State::Open {
            until: now + self.settings.open_for,
        };
        match &mut self.state {
            State::Closed { failed } => {
                remember(failed, true, self.settings.window);
                // A quarter of the window is enough to decide. With the full window, a server with
                // little traffic would take minutes to react.
                let enough = failed.len() * 4 >= self.settings.window;
                let failures = failed.iter().filter(|failure| **failure).count();
                if enough && failures as f64 >= self.settings.failure_rate * failed.len() as f64 {
                    self.state = open;
                }
            }
            State::HalfOpen => self.state = open,
            State::Open { .. } => {}
        }
    }

    /// Reports that an admitted call was abandoned without an outcome. The next call may be the
    /// trial call in its place.
    pub fn abandoned(&mut self, now: Instant) {
        if let State::HalfOpen = self.state {
            self.state = State::Open { until: now };
        }
    }

    /// The current state.
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen => BreakerState::HalfOpen,
        }
    }
}

fn remember(outcomes: &mut VecDeque<bool>, failed: bool, window: usize) {
    if outcomes.len() == window {
        outcomes.pop_front();
    }
    outcomes.push_back(failed);
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
mod tests {
    use super::*;

    const OPEN_FOR: Duration = Duration::from_secs(5);

    fn breaker(window: usize) -> Breaker {
        Breaker::new(BreakerSettings {
            failure_rate: 0.5,
            window,
            open_for: OPEN_FOR,
        })
    }

    #[test]
    fn the_breaker_opens_when_half_of_the_last_calls_failed() {
        let (mut breaker, now) = (breaker(8), Instant::now());
        for _ in 0..5 {
            breaker.succeeded();
        }
        for _ in 0..3 {
            breaker.failed(now);
            assert_eq!(breaker.state(), BreakerState::Closed);
        }
        breaker.failed(now);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(!breaker.admit(now));
    }

    #[test]
    fn after_a_while_a_trial_call_decides() {
        let (mut breaker, now) = (breaker(1), Instant::now());
        breaker.failed(now);
        assert!(!breaker.admit(now + OPEN_FOR - Duration::from_millis(1)));
        assert!(breaker.admit(now + OPEN_FOR));
        assert!(!breaker.admit(now + OPEN_FOR), "only one trial call at a time");
        breaker.failed(now + OPEN_FOR);
        assert!(!breaker.admit(now + OPEN_FOR));
        assert!(breaker.admit(now + 2 * OPEN_FOR));
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn an_abandoned_call_does_not_keep_the_breaker_half_open() {
        let (mut breaker, now) = (breaker(1), Instant::now());
        breaker.failed(now);
        assert!(breaker.admit(now + OPEN_FOR));
        breaker.abandoned(now + OPEN_FOR);
        assert!(breaker.admit(now + OPEN_FOR));
    }

    #[test]
    fn late_outcomes_do_not_close_an_open_breaker() {
        let (mut breaker, now) = (breaker(1), Instant::now());
        breaker.failed(now);
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Open);
    }
}
