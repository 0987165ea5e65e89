//! Janitor: removes what has expired, `janitor.keep_expired` after it did.
//!
//! It works in small batches and rests after each for nine times as long as the batch took, so that the writer and whoever
//! revokes a token wait for one batch at most, and nine tenths of the time nobody notices it. One instance at a time does it: see [`expired`].

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::clock::Clock;
use crate::config;
use crate::db::expired::{self, BATCH, Leftover, Waiting, Walk};
use crate::db::{Backend, Db, DbError, partitions};
use crate::time::UnixMillis;

/// A rest is so many times as long as the batch before it: the janitor takes a tenth of a core and of the disk at most.
/// That is some 10,000 rows a second, more than most servers issue; one that is behind rests for a third of that.
const RESTS: u32 = 9;

/// The shortest rest between two batches.
const REST: Duration = Duration::from_millis(2);

/// The longest: a database that is slow is not to be left alone for ever.
const MAX_REST: Duration = Duration::from_secs(1);

/// Batches of one kind in a round, a million rows. What is left then goes in the next round, which follows at once.
const BATCHES: usize = 2000;

/// The youngest line of the change log that may go, in milliseconds: no instance that still works is so far behind.
const CHANGES_KEPT: i64 = 3_600_000;

/// Between two walks through all of SQLite's old token records, long-lived ones that were passed included.
const WHOLE_WALK: Duration = Duration::from_secs(3600);

/// So few records that were passed are looked at again in each round.
const FEW: usize = 10_000;

/// What it has done since the start. A clone shows the same counts.
#[derive(Clone, Debug, Default)]
pub struct JanitorStats(Arc<Mutex<Counts>>);

#[derive(Clone, Debug, Default)]
struct Counts {
    removed: Removed,
    partitions_dropped: u64,
    rounds: u64,
    failures: u64,
    waiting: Waiting,
    last_round: Option<LastRound>,
}

/// Rows removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Removed {
    /// Token records that were removed one by one; those in partitions go with their partition.
    pub tokens: u64,
    /// Revocations.
    pub revocations: u64,
    /// Uses of one-time tokens.
    pub redemptions: u64,
    /// Lines of the change log.
    pub changes: u64,
}

/// The last round that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct LastRound {
    /// How long it took, its rests included.
    pub seconds: f64,
    /// Rows that it removed.
    pub rows: u64,
}

/// `/admin/janitor/stats`
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JanitorDocument {
    /// Rows removed since the start.
    pub removed_total: Removed,
    /// Partitions dropped since the start (PostgreSQL).
    pub partitions_dropped_total: u64,
    /// Rounds that came to their end.
    pub rounds_total: u64,
    /// Rounds that did not, because the database did not answer or refused.
    pub failures_total: u64,
    /// Rows past their time that were still there at the end of the last round, counted up to 100,000.
    pub waiting: Waiting,
    /// The last round.
    pub last_round: Option<LastRound>,
}

impl JanitorStats {
    /// As they are now.
    pub fn document(&self) -> JanitorDocument {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        JanitorDocument {
            removed_total: counts.removed,
            partitions_dropped_total: counts.partitions_dropped,
            rounds_total: counts.rounds,
            failures_total: counts.failures,
            waiting: counts.waiting,
            last_round: counts.last_round,
        }
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The actor.
pub struct Janitor {
    sweep: Sweep,
    interval: Duration,
    stats: JanitorStats,
}

/// One who removes, and what it remembers from round to round.
#[derive(Clone)]
struct Sweep {
    db: Db,
    clock: Clock,
    backend: Backend,
    keep_expired: Duration,
    stats: JanitorStats,
    walk: Walk,
    walk_began: Instant,
    /// The last round could not remove all that it found.
    behind: bool,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Nothing is left to do.
    Done,
    /// Another instance is at it.
    Elsewhere,
    /// There is more.
    More,
}

impl Janitor {
    /// A janitor of this database.
    pub fn new(db: Db, clock: Clock, settings: &config::Janitor, stats: JanitorStats) -> Self {
        Self {
            interval: settings.interval.0,
            sweep: Sweep {
                backend: db.backend(),
                db,
                clock,
                keep_expired: settings.keep_expired.0,
                stats: stats.clone(),
                walk: Walk::default(),
                walk_began: Instant::now(),
                behind: false,
            },
            stats,
        }
    }

    fn sweep_after(&self, wait: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(wait, |this, ctx| {
            let mut sweep = this.sweep.clone();
            let round = async move {
                let ended = sweep.round().await;
                (sweep, ended)
            };
            ctx.spawn(round.into_actor(this).map(|(sweep, ended), this, ctx| {
                this.sweep = sweep;
                let wait = match ended {
                    Ok(Round::More) => REST,
                    Ok(Round::Done | Round::Elsewhere) => this.interval,
                    Err(error) => {
                        log::debug!(error:%; "expired rows not removed");
                        this.stats.count(|counts| counts.failures += 1);
                        this.interval
                    }
                };
                this.sweep_after(wait, ctx);
            }));
        });
    }
}

impl Actor for Janitor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.sweep_after(self.interval, ctx);
    }
}

impl Sweep {
    async fn round(&mut self) -> Result<Round, DbError> {
        let began = Instant::now();
        let now = self.clock.now();
        let kept_since = UnixMillis(now.0.saturating_sub(self.keep_expired.as_millis() as i64));
        let before = kept_since.seconds();
        let mut rows = 0;
        let mut more = false;
        for step in self.steps() {
            match self.step(step, now, before, &mut rows).await? {
                Round::Done => {}
                Round::More => more = true,
                Round::Elsewhere => return Ok(Round::Elsewhere),
            }
        }
        let waiting = self
            .db
            .run_repeatable(move |conn| expired::waiting(conn, before))
            .await?;
        self.stats.count(|counts| {
            counts.rounds += 1;
            counts.waiting = waiting;
            counts.last_round = Some(LastRound {
                seconds: began.elapsed().as_secs_f64(),
                rows,
            });
        });
        self.behind = more;
        Ok(if more { Round::More } else { Round::Done })
    }

    fn steps(&self) -> Vec<Step> {
        let narrow = self.keep_expired.as_secs() < partitions::WIDTH as u64;
        let tokens = match (self.backend, narrow) {
            (Backend::Sqlite, _) => Step::Walk,
            (Backend::Postgres, false) => Step::Rows(Leftover::StrayTokens),
            // Waiting for a whole partition would keep them for too long.
            (Backend::Postgres, true) => Step::Rows(Leftover::Tokens),
        };
        vec![
            Step::Partitions,
            tokens,
            Step::Rows(Leftover::Revocations),
            Step::Rows(Leftover::Redemptions),
            Step::Changes,
        ]
    }

    async fn step(&mut self, step: Step, now: UnixMillis, before: i64, rows: &mut u64) -> Result<Round, DbError> {
        let (db, stats) = (self.db.clone(), self.stats.clone());
        match step {
            Step::Partitions => {
                // Somebody who reads for long is in its way, and must not be in the way of the rest.
                if let Err(error) = db.run(move |conn| partitions::create_ahead(conn, now.seconds())).await {
                    log::debug!(error:%; "partitions not created");
                }
                while let Some(dropped) = db.run(move |conn| partitions::drop_one(conn, before)).await? {
                    if !dropped {
                        return Ok(Round::Done);
                    }
                    stats.count(|counts| counts.partitions_dropped += 1);
                    tokio::time::sleep(REST).await;
                }
                Ok(Round::Elsewhere)
            }
            Step::Walk => self.walk(before, rows).await,
            Step::Rows(what) => {
                let one = || async { db.run(move |conn| expired::remove(conn, what, before)).await };
                in_batches(self.behind, one, |removed| {
                    *rows += removed;
                    stats.count(|counts| match what {
                        Leftover::StrayTokens | Leftover::Tokens => counts.removed.tokens += removed,
                        Leftover::Revocations => counts.removed.revocations += removed,
                        Leftover::Redemptions => counts.removed.redemptions += removed,
                    });
                })
                .await
            }
            Step::Changes => {
                let kept = now
                    .0
                    .saturating_sub(CHANGES_KEPT.max(self.keep_expired.as_millis() as i64));
                let kept = UnixMillis(kept);
                let one = || async { db.run(move |conn| expired::remove_changes(conn, kept)).await };
                in_batches(self.behind, one, |removed| {
                    *rows += removed;
                    stats.count(|counts| counts.removed.changes += removed);
                })
                .await
            }
        }
    }

    async fn rest(&self, began: Instant) {
        rest(began, self.behind).await;
    }

    /// SQLite's token records, from the oldest on. Those that live longer are passed, and looked at again in an hour, or in
    /// the next round if they are few.
    async fn walk(&mut self, before: i64, rows: &mut u64) -> Result<Round, DbError> {
        if self.walk.passed < FEW || self.walk_began.elapsed() >= WHOLE_WALK {
            (self.walk, self.walk_began) = (Walk::default(), Instant::now());
        }
        for _ in 0..BATCHES {
            let began = Instant::now();
            let mut walk = self.walk.clone();
            let walked = self.db.run(move |conn| {
                let removed = expired::walk(conn, &mut walk, before)?;
                Ok((walk, removed))
            });
            let (walk, removed) = walked.await?;
            self.walk = walk;
            let Some(removed) = removed else {
                return Ok(Round::Done);
            };
            *rows += removed as u64;
            self.stats.count(|counts| counts.removed.tokens += removed as u64);
            self.rest(began).await;
        }
        Ok(Round::More)
    }
}

/// A part of a round.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The partitions of token records: new ones are made, past ones dropped.
    Partitions,
    /// Token records of SQLite.
    Walk,
    /// Rows by their time of expiry.
    Rows(Leftover),
    /// The change log.
    Changes,
}

/// Removes batch after batch until one is not full.
async fn in_batches<F>(behind: bool, mut one: impl FnMut() -> F, mut removed: impl FnMut(u64)) -> Result<Round, DbError>
where
    F: Future<Output = Result<Option<usize>, DbError>>,
{
    for _ in 0..BATCHES {
        let began = Instant::now();
        let Some(rows) = one().await? else {
            return Ok(Round::Elsewhere);
        };
        removed(rows as u64);
        if (rows as i64) < BATCH {
            return Ok(Round::Done);
        }
        rest(began, behind).await;
    }
    Ok(Round::More)
}

async fn rest(began: Instant, behind: bool) {
    let times = if behind { RESTS / 3 } else { RESTS };
    tokio::time::sleep((began.elapsed() * times).clamp(REST, MAX_REST)).await;
}
