//! AuditNotes: audit events that are no change of the database: sign-ins of operators, and calls of
//! the admin API that were denied or failed. A change writes its own event in its transaction.
//!
//! Strangers cause some of these events, so each kind has a budget (`budget`); the rest is
//! counted. A request only puts its event into memory. The actor writes once a second, so a crash
//! loses the events of the last second.

mod budget;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actix::prelude::*;

use crate::api::audit::{AuditEvent, AuditNote, Principal};
use crate::clock::Clock;
use crate::db::{Db, DbError, audit};
use crate::mutex;
use crate::time::UnixMillis;
use budget::Budget;

/// The time between two writes.
const INTERVAL: Duration = Duration::from_secs(1);

/// The number of events that may wait while the database is unavailable; an event takes less than
/// 1 KiB. Further events are lost, and their number is logged.
const MAX_WAITING: usize = 1024;

/// The time between two reports, in milliseconds, while nothing can be written.
const REPORT_INTERVAL: u64 = 60_000;

/// The events not yet written. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct AuditNotes(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    budget: Budget,
    waiting: Vec<AuditNote>,
    /// The number of events of the writes in progress.
    in_progress: usize,
    /// Events that found no place and were not reported yet.
    lost: u64,
    /// The outage, if the last write failed.
    outage: Option<Outage>,
}

/// Why nothing can be written, as far as it was reported.
#[derive(Debug)]
struct Outage {
    /// Whether the database rejects the events, so that it does not recover alone.
    rejected: bool,
    /// When the last report was logged.
    reported_at: UnixMillis,
}

impl State {
    fn push(&mut self, note: AuditNote) {
        match self.waiting.len() < MAX_WAITING {
            true => self.waiting.push(note),
            false => self.lost += 1,
        }
    }

    /// Logs that a write failed: an outage once, and what does not recover alone, and lost events,
    /// once per interval.
    fn failed(&mut self, error: &DbError, now: UnixMillis) {
        let rejected = !error.is_unavailable();
        let known = self.outage.as_ref().filter(|outage| outage.rejected == rejected);
        if known.is_some_and(|outage| now.0.abs_diff(outage.reported_at.0) < REPORT_INTERVAL) {
            return;
        }
        match rejected {
            true => log::error!(error:%; "audit events rejected by the database"),
            false if known.is_none() => log::warn!(error:%; "audit events delayed"),
            false => {}
        }
        self.report_lost();
        let reported_at = now;
        self.outage = Some(Outage { rejected, reported_at });
    }

    fn report_lost(&mut self) {
        let count = std::mem::take(&mut self.lost);
        if count > 0 {
            log::error!(count; "audit events lost");
        }
    }
}

impl AuditNotes {
    /// Notes an event. `reason` distinguishes what is counted together; it is constant or one of
    /// few texts.
    pub fn note(&self, by: Principal, at: UnixMillis, reason: Cow<'static, str>, event: AuditEvent) {
        let mut state = self.lock();
        for count in state.budget.ended(at) {
            state.push(count);
        }
        let note = AuditNote { by, at, event };
        if let Some(note) = state.budget.admit(note, reason) {
            state.push(note);
        }
    }

    /// Writes the noted events, and the counts of a budget that has ended. Events that cannot be
    /// written are kept for the next write.
    ///
    /// # Errors
    /// When the database rejects the write or is unavailable.
    pub async fn write(&self, db: &Db, now: UnixMillis) -> Result<(), DbError> {
        let notes = {
            let mut state = self.lock();
            for count in state.budget.ended(now) {
                state.push(count);
            }
            state.in_progress += state.waiting.len();
            Arc::new(std::mem::take(&mut state.waiting))
        };
        if notes.is_empty() {
            return Ok(());
        }
        let rows = notes.clone();
        // If the connection is lost during the commit, the events may be written twice. Twice is
        // better than never.
        let written = db.run(move |conn| audit::append_notes(conn, &rows)).await;
        let mut state = self.lock();
        state.in_progress = state.in_progress.saturating_sub(notes.len());
        match &written {
            Ok(()) => {
                state.outage = None;
                state.report_lost();
            }
            Err(error) => {
                let newer = std::mem::take(&mut state.waiting);
                for note in notes.iter().cloned().chain(newer) {
                    state.push(note);
                }
                state.failed(error, now);
            }
        }
        written
    }

    /// As [`AuditNotes::write`], at the stop: nothing is counted any longer, and what cannot be
    /// written now is lost.
    pub async fn finish(&self, db: &Db, now: UnixMillis) {
        {
            let mut state = self.lock();
            for count in state.budget.end(now) {
                state.push(count);
            }
        }
        if self.write(db, now).await.is_err() {
            self.give_up();
        }
    }

    /// Logs how many events are lost because the stop does not wait for the database. A write in
    /// progress will not be waited for either.
    pub fn give_up(&self) {
        let mut state = self.lock();
        let unwritten = std::mem::take(&mut state.waiting).len() + std::mem::take(&mut state.in_progress);
        state.lost += unwritten as u64;
        state.report_lost();
    }

    /// Starts the actor that writes every second.
    pub fn start(self, db: Db, clock: Clock) -> Addr<AuditNoteWriter> {
        AuditNoteWriter { notes: self, db, clock }.start()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        mutex::lock(&self.0)
    }
}

/// The actor.
pub struct AuditNoteWriter {
    notes: AuditNotes,
    db: Db,
    clock: Clock,
}

impl Actor for AuditNoteWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.write_later(ctx);
    }
}

impl AuditNoteWriter {
    fn write_later(&mut self, ctx: &mut Context<Self>) {
        ctx.run_later(INTERVAL, |this, ctx| {
            let (notes, db, now) = (this.notes.clone(), this.db.clone(), this.clock.now());
            // `write` logs a failure.
            let writing = async move { notes.write(&db, now).await };
            ctx.spawn(writing.into_actor(this).map(|_, this, ctx| this.write_later(ctx)));
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::audit::Action;

    fn event() -> AuditEvent {
        AuditEvent {
            action: Action::AdminFailed,
            subject: "s".into(),
            detail: json!({}),
        }
    }

    #[tokio::test]
    async fn during_an_outage_the_first_events_are_kept_and_the_others_counted() {
        let (notes, db) = (AuditNotes::default(), Db::unreachable());
        let note = |minute: i64| {
            let by = Principal::server("test");
            notes.note(by, UnixMillis(minute * 60_000), Cow::Borrowed("r"), event());
        };
        (1..=1000).for_each(note);
        assert!(notes.write(&db, UnixMillis(60_000_000)).await.is_err());
        (1001..=1100).for_each(note);
        let lost = 1100 - MAX_WAITING as u64;
        {
            let state = notes.lock();
            assert_eq!((state.waiting.len(), state.lost), (MAX_WAITING, lost));
            assert_eq!(state.waiting[0].at, UnixMillis(60_000));
        }
        assert!(notes.write(&db, UnixMillis(60_000_000)).await.is_err());
        assert_eq!(notes.lock().lost, lost, "just reported");
        assert!(notes.write(&db, UnixMillis(60_060_000)).await.is_err());
        assert_eq!(notes.lock().lost, 0, "reported while the outage lasts");
    }
}
