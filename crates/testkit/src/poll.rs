//! Waits for something that another thread or process does, with a deadline and a description.

use std::time::{Duration, Instant};

/// Between two probes.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls `probe` until it returns `Some`. Panics with `what` if it does not within the time.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, probe: impl FnMut() -> Option<T>) -> T {
    match found(within, probe) {
        Some(found) => found,
        None => panic!("not within {within:?}: {what}"),
    }
}

/// Like [`eventually`], for a plain condition.
#[track_caller]
pub fn until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    eventually(what, within, || condition().then_some(()));
}

/// Like [`eventually`], but returns `None` when the time is over. Calls `probe` at least once.
pub(crate) fn found<T>(within: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eventually_returns_a_later_result() {
        let mut probes = 0;
        let found = eventually("the third probe", Duration::from_secs(10), || {
            probes += 1;
            (probes == 3).then_some("it")
        });
        assert_eq!((found, probes), ("it", 3));
    }

    #[test]
    #[should_panic(expected = "not within 0ns: a miracle")]
    fn a_timeout_panics_with_its_description() {
        until("a miracle", Duration::ZERO, || false);
    }
}
