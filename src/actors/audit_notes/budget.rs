//! How many events of a kind are written: the first few of a minute, and the number of the others.
//!
//! Actors that have proved who they are and strangers have separate shares, so strangers cannot use
//! up what is for operators. What a stranger can cause has no room for variation: it is counted by
//! its reason alone, whatever the address, and by the operator in whose name it failed.
//!
//! Both the events and the counts of a window are bounded. Worst case per window (docs/operations.md
//! states it): 60 events, 60 counts and one for each of 5 actions from proven actors; 20 events, 20
//! counts and one for each of 3 actions from strangers. Together 168 lines, 43 from strangers.
//!
//! Not a [`Budgets`](crate::throttle::Budgets): a kind here also has a source and a subject, who is
//! anonymous has a limit of its own, and a count becomes an event in the name of its actor.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::json;

use crate::api::audit::{Action, ActorKind, AuditEvent, AuditNote, Principal};
use crate::time::UnixMillis;

/// The length of a window, in milliseconds.
const WINDOW: i64 = 60_000;

/// What may be written per window.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Events of one kind.
    events_per_key: u32,
    /// Events of all kinds.
    events: u32,
    /// The kinds that are told apart. Further ones are counted by their action.
    keys: usize,
    /// Events, and kinds, of one actor: it must not use up what is for the others.
    of_one_actor: usize,
}

/// For actors that have proved who they are: with a secret, or a token that is active for the admin
/// API.
const PROVEN: Limits = Limits {
    events_per_key: 5,
    events: 60,
    keys: 60,
    of_one_actor: 12,
};

/// For all others.
const STRANGERS: Limits = Limits {
    events_per_key: 1,
    events: 20,
    keys: 20,
    of_one_actor: 20,
};

/// The target of an event that stands for several with different targets.
const SEVERAL: &str = "*";

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    action: Action,
    reason: Cow<'static, str>,
    actor: String,
    /// The address of an actor that has proved who it is. A stranger can fail from many addresses.
    source: Option<String>,
    /// The operator in whose name someone failed: one must not hide another.
    subject: Option<String>,
}

#[derive(Debug)]
struct Count {
    written: u32,
    suppressed: u64,
    /// The last suppressed event.
    last: Option<(Principal, UnixMillis)>,
}

/// The budget of the current window.
#[derive(Debug)]
pub struct Budget {
    began: UnixMillis,
    proven: Share,
    strangers: Share,
}

/// The part of the budget for some actors.
#[derive(Debug)]
struct Share {
    limits: Limits,
    written: u32,
    counts: HashMap<Key, Count>,
    /// The kinds for which there was no room, by action.
    others: HashMap<Key, Count>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            began: UnixMillis(0),
            proven: Share::new(PROVEN),
            strangers: Share::new(STRANGERS),
        }
    }
}

impl Budget {
    /// The counts of the window, if it has ended at `now`. A clock that was set back ends it too.
    pub fn ended(&mut self, now: UnixMillis) -> Vec<AuditNote> {
        match (0..WINDOW).contains(&(now.0 - self.began.0)) {
            true => Vec::new(),
            false => self.end(now),
        }
    }

    /// The counts of the window, which ends now.
    pub fn end(&mut self, now: UnixMillis) -> Vec<AuditNote> {
        self.began = now;
        let ended = [&mut self.proven, &mut self.strangers].map(|share| {
            let limits = share.limits;
            std::mem::replace(share, Share::new(limits))
        });
        ended.into_iter().flat_map(Share::into_counts).collect()
    }

    /// The event, if it is to be written. Otherwise it is counted.
    pub fn admit(&mut self, note: AuditNote, reason: Cow<'static, str>) -> Option<AuditNote> {
        match note.by.kind {
            ActorKind::Anonymous => self.strangers.admit(note, reason),
            _ => self.proven.admit(note, reason),
        }
    }
}

impl Share {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            written: 0,
            counts: HashMap::new(),
            others: HashMap::new(),
        }
    }

    fn admit(&mut self, note: AuditNote, reason: Cow<'static, str>) -> Option<AuditNote> {
        let action = note.event.action;
        let has_source = note.by.kind != ActorKind::Anonymous;
        let key = Key {
            action,
            reason,
            actor: note.by.actor.clone(),
            source: has_source.then(|| note.by.source.clone()),
            subject: (action == Action::OperatorSignInFailed).then(|| note.event.subject.clone()),
        };
        let of_actor = || self.counts.iter().filter(|(other, _)| other.actor == key.actor);
        let max = self.limits.of_one_actor;
        let has_room =
            self.counts.contains_key(&key) || self.counts.len() < self.limits.keys && of_actor().count() < max;
        let written = of_actor().map(|(_, count)| count.written as usize).sum::<usize>();
        let (counts, key) = match has_room {
            true => (&mut self.counts, key),
            false => (&mut self.others, Key::of_several(action)),
        };
        let count = counts.entry(key).or_insert(Count {
            written: 0,
            suppressed: 0,
            last: None,
        });
        let is_within = count.written < self.limits.events_per_key && written < max && has_room;
        if is_within && self.written < self.limits.events {
            count.written += 1;
            self.written += 1;
            return Some(note);
        }
        count.suppressed += 1;
        count.last = Some((note.by, note.at));
        None
    }

    fn into_counts(self) -> impl Iterator<Item = AuditNote> {
        let counts = self.counts.into_iter().chain(self.others);
        counts.filter_map(|(key, count)| count.note(key))
    }
}

impl Key {
    fn of_several(action: Action) -> Self {
        Self {
            action,
            reason: "several".into(),
            actor: String::new(),
            source: None,
            subject: None,
        }
    }
}

impl Count {
    /// The event that stands for the suppressed ones.
    fn note(self, key: Key) -> Option<AuditNote> {
        let (last, at) = self.last?;
        let by = match last.kind {
            // Of several actors, of which none must answer for the others.
            kind if kind != ActorKind::Anonymous && key.actor.is_empty() => Principal::server("audit budget"),
            _ => last,
        };
        let detail = json!({ "reason": key.reason, "count": self.suppressed, "last_at": at.to_string() });
        let event = AuditEvent {
            action: key.action,
            subject: key.subject.unwrap_or_else(|| SEVERAL.into()),
            detail,
        };
        Some(AuditNote { by, at, event })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::authority::Authority;

    fn note(action: Action, actor: &str, source: &str, at: i64) -> AuditNote {
        AuditNote {
            by: Principal {
                actor: actor.into(),
                kind: match actor {
                    "" => ActorKind::Anonymous,
                    _ => ActorKind::Client,
                },
                source: source.into(),
                context: json!({}),
                authority: Authority::Machine,
            },
            at: UnixMillis(at),
            event: AuditEvent {
                action,
                subject: "s".into(),
                detail: json!({}),
            },
        }
    }

    #[test]
    fn one_operator_does_not_hide_another() {
        let mut budget = Budget::default();
        budget.end(UnixMillis(0));
        for n in 0..300 {
            let sign_in = note(Action::OperatorSignIn, "scraper", &format!("192.0.2.{n}"), n);
            budget.admit(sign_in, "".into());
        }
        let other = note(Action::OperatorSignIn, "admin", "192.0.2.1", 300);
        assert!(budget.admit(other, "".into()).is_some());
        let counts = budget.ended(UnixMillis(WINDOW));
        // The sum of the kinds that had no room may be of several operators.
        let actors: Vec<&str> = counts.iter().map(|count| count.by.actor.as_str()).collect();
        assert!(
            actors.iter().all(|actor| ["scraper", "mintage"].contains(actor)),
            "{actors:?}"
        );
    }

    #[test]
    fn denied_calls_from_one_address_do_not_hide_those_from_another() {
        let mut budget = Budget::default();
        budget.end(UnixMillis(0));
        let mut admitted = |source| {
            budget
                .admit(note(Action::AdminDenied, "ops", source, 0), "insufficient_scope".into())
                .is_some()
        };
        assert_eq!([(); 6].map(|()| admitted("a")), [true, true, true, true, true, false]);
        assert!(admitted("b"));
    }

    /// No operator answers for what others did.
    #[test]
    fn a_count_of_several_operators_is_in_the_name_of_the_server() {
        let mut budget = Budget::default();
        budget.end(UnixMillis(0));
        for n in 0..62 {
            budget.admit(note(Action::CacheClear, &format!("ops{n}"), "a", n), "".into());
        }
        let counts = budget.end(UnixMillis(WINDOW));
        let by = &counts[0].by;
        assert_eq!(counts.len(), 1);
        assert_eq!(
            (by.actor.as_str(), by.kind, by.source.as_str()),
            ("mintage", ActorKind::Server, "audit budget")
        );
        assert_eq!(counts[0].event.detail["count"], 2);
    }

    #[test]
    fn a_thousand_strangers_are_one_event_and_a_count() {
        let mut budget = Budget::default();
        budget.end(UnixMillis(0));
        let written = (0..1000)
            .filter_map(|n| {
                budget.admit(
                    note(Action::AdminDenied, "", &format!("10.0.0.{n}"), n),
                    "invalid_token".into(),
                )
            })
            .count();
        assert_eq!(written, 1);
        assert_eq!(budget.ended(UnixMillis(WINDOW - 1)), []);
        let counts = budget.ended(UnixMillis(WINDOW));
        let event = &counts[0].event;
        assert_eq!(
            (counts.len(), event.subject.as_str(), &event.detail["count"]),
            (1, "*", &json!(999))
        );
        assert_eq!(budget.ended(UnixMillis(2 * WINDOW)), []);
    }

    #[test]
    fn failures_in_the_name_of_a_client_do_not_hide_its_sign_ins() {
        let mut budget = Budget::default();
        budget.end(UnixMillis(0));
        for n in 0..1000 {
            budget.admit(
                note(Action::OperatorSignInFailed, "", &n.to_string(), n),
                "wrong_secret".into(),
            );
        }
        for source in ["192.0.2.1", "192.0.2.2"] {
            let sign_in = note(Action::OperatorSignIn, "ops", source, 1000);
            assert!(budget.admit(sign_in, "".into()).is_some());
        }
    }

    /// Many in the names of many operators, and with tokens of many clients.
    #[test]
    fn strangers_cannot_use_up_what_is_for_operators() {
        let mut budget = Budget::default();
        budget.end(UnixMillis(0));
        let mut lines = 0;
        for n in 0..1000 {
            for action in [Action::OperatorSignInFailed, Action::AdminDenied, Action::AdminFailed] {
                let mut failed = note(action, "", &n.to_string(), n);
                failed.event.subject = n.to_string();
                lines += usize::from(budget.admit(failed, n.to_string().into()).is_some());
            }
        }
        for n in 0..60 {
            let sign_in = note(Action::OperatorSignIn, &format!("ops{n}"), "a", 1000);
            assert!(budget.admit(sign_in, "".into()).is_some(), "{n}");
        }
        lines += budget.end(UnixMillis(WINDOW)).len();
        assert!(lines <= 43, "{lines}");
    }

    #[test]
    fn the_lines_of_a_window_have_the_documented_maximum() {
        let mut budget = Budget::default();
        budget.end(UnixMillis(0));
        let mut lines = 0;
        for round in 0..10 {
            for n in 0..200 {
                for action in [
                    Action::OperatorSignIn,
                    Action::AdminDenied,
                    Action::AdminFailed,
                    Action::AdminRead,
                    Action::CacheClear,
                    Action::OperatorSignInFailed,
                ] {
                    let proven = note(action, &n.to_string(), "a", round);
                    let stranger = note(action, "", "a", round);
                    let notes = match action {
                        Action::AdminDenied | Action::AdminFailed => vec![proven, stranger],
                        Action::OperatorSignInFailed => vec![stranger],
                        _ => vec![proven],
                    };
                    for note in notes {
                        lines += usize::from(budget.admit(note, n.to_string().into()).is_some());
                    }
                }
            }
        }
        assert_eq!(lines + budget.end(UnixMillis(WINDOW)).len(), 168);
    }

    proptest! {
        /// Every event is written or in a count, and the numbers are bounded.
        #[test]
        fn nothing_is_forgotten(
            events in proptest::collection::vec((0..4usize, 0..400u32, 0..40_000i64), 1..600),
        ) {
            let mut budget = Budget::default();
            let (mut now, mut written, mut counted, mut in_window) = (0, 0, 0, 0);
            let count_of = |notes: Vec<AuditNote>| -> u64 {
                notes.iter().map(|note| note.event.detail["count"].as_u64().unwrap()).sum()
            };
            budget.end(UnixMillis(now));
            for (action, actor, step) in &events {
                now += step / 100;
                let ended = budget.ended(UnixMillis(now));
                if budget.began.0 == now { in_window = 0; }
                counted += count_of(ended);
                let action = [
                    Action::AdminDenied,
                    Action::OperatorSignIn,
                    Action::AdminFailed,
                    Action::OperatorSignInFailed,
                ][*action];
                let admitted = budget.admit(note(action, &actor.to_string(), "a", now), "r".into());
                written += u64::from(admitted.is_some());
                in_window += u32::from(admitted.is_some());
                prop_assert!(budget.proven.counts.len() <= PROVEN.keys && in_window <= PROVEN.events);
            }
            counted += count_of(budget.end(UnixMillis(now)));
            prop_assert_eq!(written + counted, events.len() as u64);
        }
    }
}
