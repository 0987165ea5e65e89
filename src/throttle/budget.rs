//! Budgets for log lines that strangers can cause. Each reason and caller has its own, so noise
//! about one cannot hide another. What is not written is counted, and the count is reported soon,
//! even if nothing follows.
//!
//! Pure: the caller of this code writes the lines. Lines and memory are bounded, and no count is
//! ever lost: what finds no room of its own is counted by its reason alone.
//!
//! The audit log has its own budget (`actors::audit_notes`): it tells more apart, starts again in
//! each window and needs no sums since the start.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroUsize;

use ahash::RandomState;
use lru::LruCache;

use super::network::Network;
use crate::oauth::client::ClientId;
use crate::time::UnixMillis;

/// The caller that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BudgetedCaller {
    /// A client that exists.
    Client(ClientId),
    /// An address, if no client is known.
    Network(Network),
}

/// The sizes of the budgets.
#[derive(Clone, Copy, Debug)]
pub struct BudgetLimits {
    /// The length of a window, in milliseconds.
    pub window: i64,
    /// Lines for each reason and caller in a window.
    pub lines_per_key: u32,
    /// Lines for all of them in a window.
    pub lines_per_window: u32,
    /// The number of reasons and callers that are told apart.
    pub max_keys: NonZeroUsize,
    /// The number of these whose counts are reported on their own at the end of a window. The
    /// others are summed by reason.
    pub max_reported: usize,
}

impl BudgetLimits {
    /// The largest number of lines in a window: those written and those that report the window
    /// before.
    pub const fn max_lines(&self, reasons: usize) -> usize {
        self.lines_per_window as usize + self.max_reported + reasons
    }
}

/// Whether an event gets a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It gets a line.
    Write,
    /// It is counted.
    Suppress,
}

/// What was counted for one reason and caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted<R> {
    /// The reason.
    pub reason: R,
    /// The caller that the events were about; `None` if they are the sum of several.
    pub caller: Option<BudgetedCaller>,
    /// The address of the last of them, if `caller` is known.
    pub last_ip: Option<IpAddr>,
    /// When the last of them happened.
    pub last_at: UnixMillis,
    /// Their number.
    pub count: u64,
}

/// The budgets.
pub struct Budgets<R> {
    limits: BudgetLimits,
    /// The number of the current window.
    window: i64,
    /// The lines written in it.
    lines: u32,
    entries: LruCache<(R, BudgetedCaller), Entry, RandomState>,
    /// The events of those without an entry, by reason. There are few reasons.
    others: HashMap<R, Entry>,
    /// Whether every entry has a pending count, so that there is no room before the next report.
    /// Remembered, because a flood would otherwise search all entries for each event.
    is_full: bool,
}

struct Entry {
    /// The window of `lines`.
    window: i64,
    lines: u32,
    /// Not written and not reported yet.
    suppressed: u64,
    /// The window of the first of these.
    suppressed_in: i64,
    /// All events.
    total: u64,
    last_at: UnixMillis,
    last_ip: Option<IpAddr>,
}

impl<R: Copy + Eq + Hash> Budgets<R> {
    /// Budgets of which nothing is used.
    pub fn new(limits: BudgetLimits) -> Self {
        let mut entries = LruCache::unbounded_with_hasher(RandomState::new());
        // Created with the capacity, it would allocate all of its memory at once.
        entries.resize(limits.max_keys);
        Self {
            limits,
            window: 0,
            lines: 0,
            entries,
            others: HashMap::new(),
            is_full: false,
        }
    }

    /// Counts an event, and decides whether it gets a line.
    pub fn note(&mut self, reason: R, caller: BudgetedCaller, ip: IpAddr, now: UnixMillis) -> Verdict {
        let window = self.window_of(now);
        // Also after the clock was set back.
        if self.window != window {
            (self.window, self.lines) = (window, 0);
        }
        let key = (reason, caller);
        let has_entry = self.entries.contains(&key) || self.make_room();
        let (entry, last_ip) = match has_entry {
            true => (self.entries.get_or_insert_mut(key, || Entry::new(now)), Some(ip)),
            false => (self.others.entry(reason).or_insert_with(|| Entry::new(now)), None),
        };
        if entry.window != window {
            (entry.window, entry.lines) = (window, 0);
        }
        entry.total += 1;
        (entry.last_at, entry.last_ip) = (now, last_ip);
        if has_entry && entry.lines < self.limits.lines_per_key && self.lines < self.limits.lines_per_window {
            entry.lines += 1;
            self.lines += 1;
            return Verdict::Write;
        }
        if entry.suppressed == 0 {
            entry.suppressed_in = window;
        }
        entry.suppressed += 1;
        Verdict::Suppress
    }

    /// The events of past windows that got no line and were not reported yet.
    pub fn report(&mut self, now: UnixMillis) -> Vec<Counted<R>> {
        let window = self.window_of(now);
        self.take_suppressed(|entry| entry.suppressed_in != window)
    }

    /// All events that got no line and were not reported yet. For the end of the server.
    pub fn report_all(&mut self) -> Vec<Counted<R>> {
        self.take_suppressed(|_| true)
    }

    /// All events since the start, written or not.
    pub fn totals(&self) -> Vec<Counted<R>> {
        let known = self
            .entries
            .iter()
            .map(|((reason, caller), entry)| (*reason, Some(caller), entry));
        let others = self.others.iter().map(|(reason, entry)| (*reason, None, entry));
        let counted =
            |(reason, caller, entry): (R, Option<&BudgetedCaller>, &Entry)| entry.counted(reason, caller, entry.total);
        known.chain(others).map(counted).collect()
    }

    fn window_of(&self, now: UnixMillis) -> i64 {
        now.0.div_euclid(self.limits.window)
    }

    /// Whether there is room for another entry, after removing the least recent one without a
    /// pending count if necessary.
    fn make_room(&mut self) -> bool {
        if self.entries.len() < self.limits.max_keys.get() {
            return true;
        }
        if self.is_full {
            return false;
        }
        let unneeded = self.entries.iter().rev().find(|(_, entry)| entry.suppressed == 0);
        let Some(key) = unneeded.map(|(key, _)| key.clone()) else {
            self.is_full = true;
            return false;
        };
        if let Some(entry) = self.entries.pop(&key) {
            let others = self.others.entry(key.0).or_insert_with(|| Entry::new(entry.last_at));
            others.total += entry.total;
            others.last_at = others.last_at.max(entry.last_at);
        }
        true
    }

    /// The counts that are due: the largest on their own, the others summed by reason.
    fn take_suppressed(&mut self, is_due: impl Fn(&Entry) -> bool) -> Vec<Counted<R>> {
        self.is_full = false;
        let mut due: Vec<_> = self
            .entries
            .iter_mut()
            .filter(|(_, entry)| entry.suppressed > 0 && is_due(entry))
            .collect();
        due.sort_unstable_by_key(|(_, entry)| Reverse(entry.suppressed));
        for ((reason, _), entry) in due.drain(self.limits.max_reported.min(due.len())..) {
            let others = self.others.entry(*reason).or_insert_with(|| Entry::new(entry.last_at));
            others.suppressed += std::mem::take(&mut entry.suppressed);
            // It makes the sum due too.
            others.suppressed_in = entry.suppressed_in;
            others.last_at = others.last_at.max(entry.last_at);
        }
        let known = due
            .into_iter()
            .map(|((reason, caller), entry)| (*reason, Some(caller), entry));
        let others = self.others.iter_mut().map(|(reason, entry)| (*reason, None, entry));
        known
            .chain(others)
            .filter(|(.., entry)| entry.suppressed > 0 && is_due(entry))
            .map(|(reason, caller, entry)| {
                let count = std::mem::take(&mut entry.suppressed);
                entry.counted(reason, caller, count)
            })
            .collect()
    }
}

impl Entry {
    fn new(now: UnixMillis) -> Self {
        Self {
            window: i64::MIN,
            lines: 0,
            suppressed: 0,
            suppressed_in: 0,
            total: 0,
            last_at: now,
            last_ip: None,
        }
    }

    fn counted<R>(&self, reason: R, caller: Option<&BudgetedCaller>, count: u64) -> Counted<R> {
        Counted {
            reason,
            caller: caller.cloned(),
            last_ip: self.last_ip,
            last_at: self.last_at,
            count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    const LIMITS: BudgetLimits = BudgetLimits {
        window: 10_000,
        lines_per_key: 3,
        lines_per_window: 8,
        max_keys: NonZeroUsize::new(4).unwrap(),
        max_reported: 4,
    };

    fn client(number: u32) -> BudgetedCaller {
        BudgetedCaller::Client(ClientId::parse(&number.to_string()).unwrap())
    }

    fn written(budgets: &mut Budgets<u8>, who: u32, events: usize, now: i64) -> usize {
        let verdicts = (0..events).map(|_| budgets.note(0, client(who), IP, UnixMillis(now)));
        verdicts.filter(|verdict| *verdict == Verdict::Write).count()
    }

    /// The callers that the reports are about, and their counts.
    fn counts(reports: Vec<Counted<u8>>) -> Vec<(Option<BudgetedCaller>, u64)> {
        reports
            .into_iter()
            .map(|report| (report.caller, report.count))
            .collect()
    }

    #[test]
    fn noise_of_one_key_does_not_suppress_another() {
        let mut budgets = Budgets::new(LIMITS);
        assert_eq!(written(&mut budgets, 1, 1000, 0), 3);
        assert_eq!(written(&mut budgets, 2, 2, 1), 2);
        assert_eq!(written(&mut budgets, 1, 1, 10_000), 1);
    }

    #[test]
    fn a_count_is_reported_although_nothing_follows() {
        let mut budgets = Budgets::new(LIMITS);
        written(&mut budgets, 1, 5, 0);
        assert_eq!(budgets.report(UnixMillis(9_999)), []);
        assert_eq!(counts(budgets.report(UnixMillis(10_000))), [(Some(client(1)), 2)]);
        assert_eq!(budgets.report(UnixMillis(20_000)), []);
    }

    #[test]
    fn a_steady_flood_is_reported_in_every_window() {
        let mut budgets = Budgets::new(LIMITS);
        let reports: Vec<u64> = (0..35)
            .flat_map(|second| {
                written(&mut budgets, 1, 10, second * 1000);
                counts(budgets.report(UnixMillis(second * 1000)))
            })
            .map(|(_, count)| count)
            .collect();
        assert_eq!(reports, [104, 97, 97]);
    }

    #[test]
    fn all_keys_together_have_a_budget_and_each_is_counted() {
        let mut budgets = Budgets::new(LIMITS);
        let lines: usize = (0..4).map(|who| written(&mut budgets, who, 3, 0)).sum();
        assert_eq!(lines, 8);
        let reports = counts(budgets.report(UnixMillis(10_000)));
        assert_eq!(reports.iter().map(|report| report.1).sum::<u64>(), 4);
    }

    #[test]
    fn a_full_map_forgets_no_pending_count() {
        let mut budgets = Budgets::new(LIMITS);
        (0..4).for_each(|who| {
            written(&mut budgets, who, 4, 0);
        });
        written(&mut budgets, 9, 5, 1);
        let mut reports = counts(budgets.report(UnixMillis(10_000)));
        reports.sort_by_key(|report| report.1);
        let others = reports.pop();
        assert_eq!((others, reports.len()), (Some((None, 5)), 4));
        // Nothing is pending now, so a new key takes the place of the least recent one.
        assert_eq!(written(&mut budgets, 10, 1, 10_000), 1);
        assert_eq!(
            budgets.totals().iter().map(|total| total.count).sum::<u64>(),
            4 * 4 + 5 + 1
        );
    }

    #[test]
    fn a_clock_that_is_set_back_begins_a_window() {
        let mut budgets = Budgets::new(LIMITS);
        written(&mut budgets, 1, 9, 50_000);
        assert_eq!(written(&mut budgets, 1, 1, 20_000), 1);
    }

    #[test]
    fn the_largest_counts_are_reported_and_the_others_summed_by_reason() {
        let mut budgets = Budgets::new(BudgetLimits {
            max_reported: 2,
            ..LIMITS
        });
        for (reason, caller, events) in [(0, 1, 7), (0, 2, 20), (1, 3, 5), (0, 4, 9)] {
            (0..events).for_each(|_| {
                budgets.note(reason, client(caller), IP, UnixMillis(0));
            });
        }
        let reports = budgets.report(UnixMillis(10_000));
        let told: Vec<_> = reports
            .iter()
            .map(|report| (report.reason, &report.caller, report.count))
            .collect();
        let (second, fourth) = (Some(client(2)), Some(client(4)));
        assert_eq!(told[..2], [(0, &second, 17), (0, &fourth, 9)]);
        let mut others = told[2..].to_vec();
        others.sort_by_key(|other| other.0);
        assert_eq!(others, [(0, &None, 4), (1, &None, 3)]);
        assert_eq!(budgets.report(UnixMillis(20_000)), []);
    }

    #[test]
    fn a_flood_searches_a_full_map_once_per_report() {
        let mut budgets = Budgets::new(LIMITS);
        (0..4).for_each(|who| {
            written(&mut budgets, who, 4, 0);
        });
        written(&mut budgets, 9, 1, 1);
        assert!(budgets.is_full && !budgets.make_room());
        budgets.report(UnixMillis(10_000));
        assert!(budgets.make_room() && !budgets.is_full);
    }

    /// Mostly many events in a window, sometimes the next one, or a clock that is set back.
    fn steps() -> impl Strategy<Value = Vec<(u8, u32, i64, bool)>> {
        let step = prop_oneof![9 => 0..50i64, 1 => -3_000..9_000i64];
        prop::collection::vec((0..3u8, 0..8u32, step, any::<bool>()), 1..300)
    }

    proptest! {
        #[test]
        fn every_event_is_written_or_counted_once_and_the_lines_of_a_window_are_bounded(steps in steps()) {
            let limits = BudgetLimits { max_keys: NonZeroUsize::new(16).unwrap(), max_reported: 2, ..LIMITS };
            let mut budgets = Budgets::new(limits);
            let (mut now, mut written, mut reported) = (100_000, 0, 0);
            let (mut window, mut lines) = (10, 0);
            for (noted, (reason, who, step, report)) in (1u64..).zip(&steps) {
                now += step;
                if now / 10_000 != window {
                    (window, lines) = (now / 10_000, 0);
                }
                if budgets.note(*reason, client(*who), IP, UnixMillis(now)) == Verdict::Write {
                    written += 1;
                    lines += 1;
                }
                if *report {
                    let reports = budgets.report(UnixMillis(now));
                    lines += reports.len();
                    reported += reports.iter().map(|report| report.count).sum::<u64>();
                }
                prop_assert!(lines <= limits.max_lines(3), "{lines} lines in a window");
                prop_assert!(budgets.entries.len() <= limits.max_keys.get());
                let entries = budgets.entries.iter().map(|(_, entry)| entry).chain(budgets.others.values());
                let pending: u64 = entries.map(|entry| entry.suppressed).sum();
                prop_assert_eq!(written + reported + pending, noted);
            }
            let rest = budgets.report_all();
            prop_assert!(rest.len() <= limits.max_reported + 3);
            reported += rest.iter().map(|report| report.count).sum::<u64>();
            prop_assert_eq!(written + reported, steps.len() as u64);
            prop_assert_eq!(budgets.totals().iter().map(|total| total.count).sum::<u64>(), steps.len() as u64);
        }
    }
}
