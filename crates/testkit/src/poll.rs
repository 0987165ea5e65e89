//! Waiting for something that another thread, process or machine does: with a deadline and a description.

use std::time::{Duration, Instant};

/// Between two probes.
const PAUSE: Duration = Duration::from_millis(5);

/// What `probe` finds, as soon as it finds something; panics with `what` when it does not within the time.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, probe: impl FnMut() -> Option<T>) -> T {
    match found(within, probe) {
        Some(found) => found,
        None => panic!("not within {within:?}: {what}"),
    }
}

/// As [`eventually`], for what is worth no more than a condition.
#[track_caller]
pub fn until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    eventually(what, within, || condition().then_some(()));
}

/// As [`eventually`], but `None` when the time is over; probed at least once.
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
    fn what_is_found_later_is_found() {
        let mut probes = 0;
        let found = eventually("the third probe", Duration::from_secs(10), || {
            probes += 1;
            (probes == 3).then_some("it")
        });
        assert_eq!((found, probes), ("it", 3));
    }

    #[test]
    #[should_panic(expected = "not within 0ns: a miracle")]
    fn what_is_not_found_in_time_is_named() {
        until("a miracle", Duration::ZERO, || false);
    }
}
