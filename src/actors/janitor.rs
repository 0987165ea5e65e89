//! Janitor: removes expired rows once `janitor.keep_expired` has passed since their expiry.
//!
//! The janitor deletes in small batches. After each batch it rests for nine times as long as the
//! batch took: the writer and revocations then wait for one batch at most, and it normally occupies
//! the database for a tenth of the time; for longer when it is behind or the database is slow. Only
//! one instance sweeps at a time: see [`expired`].

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::clock::Clock;
use crate::config;
use crate::db::expired::{self, BATCH, Leftover, Waiting, Walk};
use crate::db::{Backend, Db, DbError, partitions};
use crate::mutex::lock;
use crate::time::UnixMillis;

/// A rest takes this many times as long as the batch before it, so that the janitor uses at most a
/// tenth of a core and of the disk. That removes about 10,000 rows per second, more than most
/// servers issue. A janitor that is behind rests for a third of that time.
const REST_FACTOR: u32 = 9;

/// The shortest rest between two batches.
const MIN_REST: Duration = Duration::from_millis(2);

/// The longest rest between two batches, so that a slow database does not stall the sweep.
const MAX_REST: Duration = Duration::from_secs(1);

/// Batches of one kind per round: a million rows. The rest goes in the next round, which follows
/// immediately.
const MAX_BATCHES: usize = 2000;

/// The minimum age at which a line of the change log is removed, in milliseconds. A running
/// instance is never that far behind: its change feed reloads everything after half of it.
const MIN_CHANGE_AGE: i64 = 3_600_000;

/// The time between two complete passes over SQLite's old token records, which include the
/// long-lived ones that were skipped.
const FULL_WALK_INTERVAL: Duration = Duration::from_secs(3600);

/// With fewer skipped records than this, every round passes over all of them.
const MAX_RECHECKED: usize = 10_000;

/// The janitor's counters since the start. Clones share them.
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
    /// Token records removed one by one. Those in a dropped partition are not included.
    pub tokens: u64,
    /// Revocations.
    pub revocations: u64,
    /// Redemptions of one-time tokens.
    pub redemptions: u64,
    /// Lines of the change log.
    pub changes: u64,
}

/// The last complete round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct LastRound {
    /// Its duration in seconds, including rests.
    pub seconds: f64,
    /// The number of rows it removed.
    pub rows: u64,
}

/// The body of `/admin/janitor/stats`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JanitorDocument {
    /// Rows removed since the start.
    pub removed_total: Removed,
    /// Partitions dropped since the start (PostgreSQL).
    pub partitions_dropped_total: u64,
    /// Completed rounds since the start.
    pub rounds_total: u64,
    /// Rounds that failed because of a database error.
    pub failures_total: u64,
    /// Rows due for removal that remained after the last round; counting stops at 100,000.
    pub waiting: Waiting,
    /// The last round.
    pub last_round: Option<LastRound>,
}

impl JanitorStats {
    /// A snapshot of the counters.
    pub fn document(&self) -> JanitorDocument {
        let counts = lock(&self.0).clone();
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
        change(&mut lock(&self.0));
    }
}

/// The actor.
pub struct Janitor {
    sweep: Sweep,
    interval: Duration,
    stats: JanitorStats,
}

/// What a round needs, and what it remembers for the next one.
#[derive(Clone)]
struct Sweep {
    db: Db,
    clock: Clock,
    backend: Backend,
    keep_expired: Duration,
    stats: JanitorStats,
    walk: Walk,
    walk_began: Instant,
    /// The last round left rows behind.
    behind: bool,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Nothing is left to remove.
    Done,
    /// Another instance is sweeping.
    Elsewhere,
    /// There is more to remove.
    More,
}

impl Janitor {
    /// Creates a janitor for this database.
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
}

impl Actor for Janitor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.sweep_after(self.interval, ctx);
    }
}

impl Janitor {
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
                    Ok(Round::More) => MIN_REST,
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
            // With so short a retention, rows would outlive it if they waited for their whole
            // partition.
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
                // A long-running reader can block the creation of partitions. That must not block
                // the other steps.
                if let Err(error) = db.run(move |conn| partitions::create_ahead(conn, now.seconds())).await {
                    log::debug!(error:%; "partitions not created");
                }
                while let Some(dropped) = db.run(move |conn| partitions::drop_one(conn, before)).await? {
                    if !dropped {
                        return Ok(Round::Done);
                    }
                    stats.count(|counts| counts.partitions_dropped += 1);
                    tokio::time::sleep(MIN_REST).await;
                }
                Ok(Round::Elsewhere)
            }
            Step::Walk => self.walk(before, rows).await,
            Step::Rows(what) => {
                let remove_batch = || async { db.run(move |conn| expired::remove(conn, what, before)).await };
                in_batches(self.behind, remove_batch, |removed| {
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
                let before = now
                    .0
                    .saturating_sub(MIN_CHANGE_AGE.max(self.keep_expired.as_millis() as i64));
                let before = UnixMillis(before);
                let remove_batch = || async { db.run(move |conn| expired::remove_changes(conn, before)).await };
                in_batches(self.behind, remove_batch, |removed| {
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

    /// Removes SQLite's token records from the oldest on. Records that live longer are skipped;
    /// they are checked again within an hour, or in the next round if there are few of them.
    async fn walk(&mut self, before: i64, rows: &mut u64) -> Result<Round, DbError> {
        if self.walk.passed < MAX_RECHECKED || self.walk_began.elapsed() >= FULL_WALK_INTERVAL {
            (self.walk, self.walk_began) = (Walk::default(), Instant::now());
        }
        for _ in 0..MAX_BATCHES {
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

/// A step of a round.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Partitions of token records: creates the next ones, drops the expired ones.
    Partitions,
    /// Token records in SQLite.
    Walk,
    /// Rows by their expiry.
    Rows(Leftover),
    /// The change log.
    Changes,
}

/// Removes batches until one is not full.
async fn in_batches<F>(
    behind: bool,
    mut remove_batch: impl FnMut() -> F,
    mut removed: impl FnMut(u64),
) -> Result<Round, DbError>
where
    F: Future<Output = Result<Option<usize>, DbError>>,
{
    for _ in 0..MAX_BATCHES {
        let began = Instant::now();
        let Some(rows) = remove_batch().await? else {
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
    let factor = if behind { REST_FACTOR / 3 } else { REST_FACTOR };
    tokio::time::sleep((began.elapsed() * factor).clamp(MIN_REST, MAX_REST)).await;
}
