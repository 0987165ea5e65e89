//! RevocationSweeper: forgets revocations that have expired, and notices a clock that was set back.
//!
//! When the clock is set back, some of what was forgotten has not expired any more: until it is read again, a token that may
//! have been forgotten is not active.

use std::time::Duration;

use actix::prelude::*;

use crate::clock::Clock;
use crate::db::Db;
use crate::revocation::Revocations;

/// How often what has expired is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// How often it is looked whether the clock was set back.
const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_secs(1);

/// The actor.
pub struct RevocationSweeper {
    revocations: Revocations,
    db: Db,
    clock: Clock,
    loading: bool,
}

impl RevocationSweeper {
    /// Looks after a set.
    pub fn new(revocations: Revocations, db: Db, clock: Clock) -> Self {
        Self {
            revocations,
            db,
            clock,
            loading: false,
        }
    }

    fn forget(&mut self) {
        let now = self.clock.now();
        if self.revocations.has_forgotten_too_much(now) {
            return;
        }
        let count = self.revocations.forget_expired(now);
        if count > 0 {
            log::debug!(count; "expired revocations removed");
        }
    }

    fn look_at_clock(&mut self, ctx: &mut Context<Self>) {
        if self.loading || !self.revocations.has_forgotten_too_much(self.clock.now()) {
            return;
        }
        self.loading = true;
        let (revocations, db, clock) = (self.revocations.clone(), self.db.clone(), self.clock.clone());
        // Not Db::run: to read a million of them takes longer than a query may.
        let work = move || db.run_here(|conn| revocations.load_invalidated(conn, clock.now()));
        let loading = tokio::task::spawn_blocking(work).into_actor(self);
        ctx.spawn(loading.map(|loaded, this, _| {
            this.loading = false;
            match loaded {
                Ok(Ok(())) => log::warn!("clock set back, revocations reloaded"),
                Ok(Err(error)) => log::debug!(error:%; "revocations not reloaded"),
                Err(error) => log::debug!(error:%; "revocations not reloaded"),
            }
        }));
    }
}

impl Actor for RevocationSweeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(FORGET_EVERY, |this, _| this.forget());
        ctx.run_interval(LOOK_AT_CLOCK_EVERY, Self::look_at_clock);
    }
}
