//! RevocationSweeper: drops expired revocations from memory, and detects a clock that was set back.
//!
//! After the clock is set back, some revocations that were dropped are no longer expired. Until
//! they are loaded again, a token that may be among them is reported as inactive.

use std::time::Duration;

use actix::prelude::*;

use crate::clock::Clock;
use crate::db::{Db, DbError};
use crate::revocation::Revocations;

/// The time between two removals of expired revocations.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The time between two checks for a clock that was set back.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The actor.
pub struct RevocationSweeper {
    revocations: Revocations,
    db: Db,
    clock: Clock,
    loading: bool,
}

impl RevocationSweeper {
    /// Creates a sweeper of `revocations`.
    pub fn new(revocations: Revocations, db: Db, clock: Clock) -> Self {
        Self {
            revocations,
            db,
            clock,
            loading: false,
        }
    }
}

impl Actor for RevocationSweeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(SWEEP_INTERVAL, |this, _| this.sweep());
        ctx.run_interval(CLOCK_CHECK_INTERVAL, Self::check_clock);
    }
}

impl RevocationSweeper {
    fn sweep(&mut self) {
        let now = self.clock.now();
        if self.revocations.has_forgotten_unexpired(now) {
            return;
        }
        let count = self.revocations.forget_expired(now);
        if count > 0 {
            log::debug!(count; "expired revocations removed");
        }
    }

    fn check_clock(&mut self, ctx: &mut Context<Self>) {
        if self.loading || !self.revocations.has_forgotten_unexpired(self.clock.now()) {
            return;
        }
        self.loading = true;
        let (revocations, db, clock) = (self.revocations.clone(), self.db.clone(), self.clock.clone());
        // Not `Db::run`: reading a million revocations takes longer than the query timeout.
        let work = move || db.run_here(|conn| revocations.load_invalidated(conn, clock.now()));
        let loading = tokio::task::spawn_blocking(work).into_actor(self);
        ctx.spawn(loading.map(|loaded, this, _| {
            this.loading = false;
            match loaded.map_err(DbError::stopped).flatten() {
                Ok(()) => log::warn!("clock set back, revocations reloaded"),
                Err(error) => log::debug!(error:%; "revocations not reloaded"),
            }
        }));
    }
}
