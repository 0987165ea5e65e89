//! How many events of a kind are written: the first few of a minute, and the number of the others.
//!
//! What a stranger can cause has no room for variation: events without an authenticated actor are
//! counted by their reason alone, whatever the address. So they can neither fill the audit log nor
//! use up the budget of operators.
//!
//! Not a [`Budgets`](crate::throttle::Budgets): a kind here also has a source and a subject, who is
//! anonymous has a limit of its own, and a count becomes an event in the name of the last actor.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::json;

use crate::api::audit::{Action, ActorKind, AuditEvent, AuditNote, Principal};
use crate::time::UnixMillis;

/// The length of a window, in milliseconds.
const WINDOW: i64 = 60_000;

/// Events written per window of one kind.
const MAX_EVENTS_PER_KEY: u32 = 5;

/// Events written per window without an authenticated actor, of one reason.
const MAX_ANONYMOUS_EVENTS: u32 = 1;

/// Events written per window.
const MAX_EVENTS: u32 = 60;

/// The kinds that are told apart in one window. Further ones are counted by their action.
const MAX_KEYS: usize = 256;

/// The target of an event that stands for several with different targets.
const SEVERAL: &str = "*";

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    action: Action,
    reason: Cow<'static, str>,
    actor: String,
    /// For an actor that has proved who it is. Anyone can fail in the name of another, from many
    /// addresses.
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
#[derive(Debug, Default)]
pub struct Budget {
    began: UnixMillis,
    written: u32,
    counts: HashMap<Key, Count>,
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
        (self.began, self.written) = (now, 0);
        let counts = std::mem::take(&mut self.counts);
        counts.into_iter().filter_map(|(key, count)| count.note(key)).collect()
    }

    /// The event, if it is to be written. Otherwise it is counted.
    pub fn admit(&mut self, note: AuditNote, reason: Cow<'static, str>) -> Option<AuditNote> {
        let action = note.event.action;
        let mut key = Key {
            action,
            reason,
            actor: note.by.actor.clone(),
            source: action.is_of_proven_actor().then(|| note.by.source.clone()),
            subject: (action == Action::OperatorSignInFailed).then(|| note.event.subject.clone()),
        };
        if !self.counts.contains_key(&key) && self.counts.len() >= MAX_KEYS {
            (key.reason, key.actor) = ("several".into(), String::new());
            (key.source, key.subject) = (None, None);
        }
        let max = match note.by.kind {
            ActorKind::Anonymous => MAX_ANONYMOUS_EVENTS,
            _ => MAX_EVENTS_PER_KEY,
        };
        let count = self.counts.entry(key).or_insert(Count {
            written: 0,
            suppressed: 0,
            last: None,
        });
        if count.written < max && self.written < MAX_EVENTS {
            count.written += 1;
            self.written += 1;
            return Some(note);
        }
        count.suppressed += 1;
        count.last = Some((note.by, note.at));
        None
    }
}

impl Count {
    /// The event that stands for the suppressed ones.
    fn note(self, key: Key) -> Option<AuditNote> {
        let (by, at) = self.last?;
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
                note(Action::OperatorSignInFailed, "ops", &n.to_string(), n),
                "wrong_secret".into(),
            );
        }
        for source in ["192.0.2.1", "192.0.2.2"] {
            let sign_in = note(Action::OperatorSignIn, "ops", source, 1000);
            assert!(budget.admit(sign_in, "".into()).is_some());
        }
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
                prop_assert!(budget.counts.len() <= MAX_KEYS + 4 && in_window <= MAX_EVENTS);
            }
            counted += count_of(budget.end(UnixMillis(now)));
            prop_assert_eq!(written + counted, events.len() as u64);
        }
    }
}
