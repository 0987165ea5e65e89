//! A circuit breaker: a pure state machine that is told what happened and when.
//!
//! Closed, calls go through and their outcomes are remembered; when too large a share of the last ones failed, it
//! opens and calls are refused at once. After a while one call is let through: its success closes the breaker, its
//! failure opens it again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use strum::IntoStaticStr;

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls are refused.
    Open,
    /// One call is under way to find out.
    HalfOpen,
}

impl BreakerState {
    /// The number in `/metrics`: the higher, the less goes through.
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

/// The settings of `[database.breaker]`.
#[derive(Clone, Copy, Debug)]
pub struct BreakerSettings {
    /// The share of failures, above 0 and at most 1, that opens it.
    pub failure_rate: f64,
    /// How many outcomes are remembered.
    pub window: usize,
    /// How long it stays open before it tries again.
    pub open_for: Duration,
}

/// The breaker itself.
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
    /// A closed breaker that remembers nothing.
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            state: State::Closed {
                failed: VecDeque::with_capacity(settings.window),
            },
        }
    }

    /// Whether a call would be let through now.
    pub fn admits(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } => now >= until,
            State::HalfOpen => false,
        }
    }

    /// Whether a call may go through now. Whoever is let through must report how it went.
    pub fn admit(&mut self, now: Instant) -> bool {
        let admitted = self.admits(now);
        if admitted && matches!(self.state, State::Open { .. }) {
            self.state = State::HalfOpen;
        }
        admitted
    }

    /// A call that was let through succeeded.
    pub fn succeeded(&mut self) {
        match &mut self.state {
            State::Closed { failed } => remember(failed, false, self.settings.window),
            State::HalfOpen => self.state = Self::new(self.settings).state,
            // An answer to a call from before it opened says nothing about now.
            State::Open { .. } => {}
        }
    }

    /// A call that was let through failed.
    pub fn failed(&mut self, now: Instant) {
        let open = State::Open {
            until: now + self.settings.open_for,
        };
        match &mut self.state {
            State::Closed { failed } => {
                remember(failed, true, self.settings.window);
                // A quarter of the window is enough to judge by, or a quiet server would take minutes to notice.
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

    /// A call that was let through was given up without an outcome; the next one may try in its place.
    pub fn abandoned(&mut self, now: Instant) {
        if let State::HalfOpen = self.state {
            self.state = State::Open { until: now };
        }
    }

    /// Where it stands.
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
    fn it_opens_when_half_of_the_last_calls_failed() {
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
    fn after_a_while_one_call_decides() {
        let (mut breaker, now) = (breaker(1), Instant::now());
        breaker.failed(now);
        assert!(!breaker.admit(now + OPEN_FOR - Duration::from_millis(1)));
        assert!(breaker.admit(now + OPEN_FOR));
        assert!(!breaker.admit(now + OPEN_FOR), "only one at a time");
        breaker.failed(now + OPEN_FOR);
        assert!(!breaker.admit(now + OPEN_FOR));
        assert!(breaker.admit(now + 2 * OPEN_FOR));
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_call_that_was_given_up_does_not_keep_it_half_open() {
        let (mut breaker, now) = (breaker(1), Instant::now());
        breaker.failed(now);
        assert!(breaker.admit(now + OPEN_FOR));
        breaker.abandoned(now + OPEN_FOR);
        assert!(breaker.admit(now + OPEN_FOR));
    }

    #[test]
    fn late_answers_do_not_close_an_open_breaker() {
        let (mut breaker, now) = (breaker(1), Instant::now());
        breaker.failed(now);
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Open);
    }
}
