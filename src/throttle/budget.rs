//! Budgets for log lines that strangers can cause. Each reason and caller has its own, so noise
//! about one cannot hide another. What is not written is counted, and the count is reported soon,
//! even if nothing follows.
//!
//! Pure: the caller writes the lines. Memory is bounded, and no count is ever lost: when there is
//! no room for another caller, its events are counted by their reason alone.
//!
//! The audit log has its own budget (`actors::audit_notes`): it tells more apart, starts anew in
//! each window and needs no sums since the start.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroUsize;

use ahash::RandomState;
use lru::LruCache;

use super::network::Network;
use crate::oauth::client::ClientId;
use crate::time::UnixMillis;

/// Whom an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
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
    /// Whom the events were about; `None` if there was no room to tell.
    pub who: Option<Who>,
    /// The address of the last of them, if `who` is known.
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
    entries: LruCache<(R, Who), Entry, RandomState>,
    /// The events of those without an entry, by reason. There are few reasons.
    others: HashMap<R, Entry>,
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
        }
    }

    /// Counts an event, and decides whether it gets a line.
    pub fn note(&mut self, reason: R, who: Who, ip: IpAddr, now: UnixMillis) -> Verdict {
        let window = self.window_of(now);
        // Also after the clock was set back.
        if self.window != window {
            (self.window, self.lines) = (window, 0);
        }
        let key = (reason, who);
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
            .map(|((reason, who), entry)| (*reason, Some(who), entry));
        let others = self.others.iter().map(|(reason, entry)| (*reason, None, entry));
        let counted = |(reason, who, entry): (R, Option<&Who>, &Entry)| entry.counted(reason, who, entry.total);
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
        let unneeded = self.entries.iter().rev().find(|(_, entry)| entry.suppressed == 0);
        let Some(key) = unneeded.map(|(key, _)| key.clone()) else {
            return false;
        };
        if let Some(entry) = self.entries.pop(&key) {
            let others = self.others.entry(key.0).or_insert_with(|| Entry::new(entry.last_at));
            others.total += entry.total;
            others.last_at = others.last_at.max(entry.last_at);
        }
        true
    }

    fn take_suppressed(&mut self, is_due: impl Fn(&Entry) -> bool) -> Vec<Counted<R>> {
        let known = self
            .entries
            .iter_mut()
            .map(|((reason, who), entry)| (*reason, Some(who), entry));
        let others = self.others.iter_mut().map(|(reason, entry)| (*reason, None, entry));
        known
            .chain(others)
            .filter(|(.., entry)| entry.suppressed > 0 && is_due(entry))
            .map(|(reason, who, entry)| {
                let count = std::mem::take(&mut entry.suppressed);
                entry.counted(reason, who, count)
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

    fn counted<R>(&self, reason: R, who: Option<&Who>, count: u64) -> Counted<R> {
        Counted {
            reason,
            who: who.cloned(),
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
    };

    fn client(number: u32) -> Who {
        Who::Client(ClientId::parse(&number.to_string()).unwrap())
    }

    fn written(budgets: &mut Budgets<u8>, who: u32, events: usize, now: i64) -> usize {
        let verdicts = (0..events).map(|_| budgets.note(0, client(who), IP, UnixMillis(now)));
        verdicts.filter(|verdict| *verdict == Verdict::Write).count()
    }

    /// Whom the reports are about, and their counts.
    fn counts(reports: Vec<Counted<u8>>) -> Vec<(Option<Who>, u64)> {
        reports.into_iter().map(|report| (report.who, report.count)).collect()
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

    proptest! {
        #[test]
        fn every_event_is_written_or_counted_once(
            steps in prop::collection::vec((0..3u8, 0..8u32, -3_000..9_000i64, any::<bool>()), 1..300),
        ) {
            let mut budgets = Budgets::new(LIMITS);
            let (mut now, mut lines, mut reported) = (100_000, 0, 0);
            let mut in_window: HashMap<i64, u32> = HashMap::new();
            for (reason, who, step, report) in &steps {
                now += step;
                if budgets.note(*reason, client(*who), IP, UnixMillis(now)) == Verdict::Write {
                    lines += 1;
                    *in_window.entry(now / 10_000).or_default() += 1;
                }
                if *report {
                    reported += budgets.report(UnixMillis(now)).iter().map(|report| report.count).sum::<u64>();
                }
                prop_assert!(budgets.entries.len() <= LIMITS.max_keys.get());
            }
            reported += budgets.report_all().iter().map(|report| report.count).sum::<u64>();
            prop_assert_eq!(lines + reported, steps.len() as u64);
            prop_assert_eq!(budgets.totals().iter().map(|total| total.count).sum::<u64>(), steps.len() as u64);
        }
    }
}
