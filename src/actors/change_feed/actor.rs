//! ChangeFeed: polls the change log and invalidates the caches accordingly.
//!
//! Through the change log a write of another process (the command line, another instance) reaches
//! this instance within one interval. The actor also records up to which moment the whole log has
//! been applied. From that moment the server decides whether it is ready and whether it may still
//! report a token as active.

use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use super::apply::LocalState;
use crate::backoff::jittered;
use crate::clock::Clock;
use crate::cluster::cursor::Cursor;
use crate::db::changes;
use crate::db::{Db, DbError};
use crate::peers::Peers;
use crate::unavailable::Unavailable;

/// The average time between two polls. A change must be applied within 1 s.
const INTERVAL: Duration = Duration::from_millis(250);

/// The minimum time between the starts of two polls on demand. The first is immediate. Many
/// revocations in a row, or a flood of announcements, cause at most 50 additional polls per second.
const MIN_POLL_SPACING: Duration = Duration::from_millis(20);

/// Changes read per poll. If there are more, the next page follows immediately.
const PAGE: i64 = 1000;

/// After this long without a complete poll, the feed reloads everything: the janitor removes log
/// lines that are an hour old.
const MAX_FEED_GAP: Duration = Duration::from_secs(1800);

/// Poll now; answered when the changes read are applied.
#[derive(Message)]
#[rtype(result = "Result<(), Unavailable>")]
pub struct PollNow;

/// The actor.
pub struct ChangeFeed {
    db: Db,
    clock: Clock,
    local: LocalState,
    /// Up to where the log is applied.
    seen: Cursor,
    peers: Peers,
}

impl ChangeFeed {
    /// Creates a feed that starts after the change number `seen`. Read that number before the
    /// caches are filled, so that no change in between is missed.
    pub fn new(db: Db, clock: Clock, local: LocalState, seen: i64) -> Self {
        Self {
            db,
            clock,
            local,
            seen: Cursor::new(seen),
            peers: Peers::default(),
        }
    }

    /// Also polls when a peer announces a change and when this instance has written one, and
    /// announces its own progress.
    pub fn with_peers(self, peers: Peers) -> Self {
        Self { peers, ..self }
    }
}

impl Actor for ChangeFeed {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.poll_again_later(ctx);
        if self.peers.are_configured() {
            let work = poll_on_wake(ctx.address(), self.db.clone(), self.peers.clone());
            ctx.spawn(work.into_actor(self));
        }
    }
}

impl Handler<PollNow> for ChangeFeed {
    type Result = ResponseActFuture<Self, Result<(), Unavailable>>;

    fn handle(&mut self, _: PollNow, _: &mut Context<Self>) -> Self::Result {
        Box::pin(self.poll().map(|result, _, _| result.map_err(|_| Unavailable)))
    }
}

impl ChangeFeed {
    fn poll(&self) -> ResponseActFuture<Self, Result<(), DbError>> {
        let (db, clock, local) = (self.db.clone(), self.clock.clone(), self.local.clone());
        let (peers, seen) = (self.peers.clone(), self.seen.clone());
        let work = async move { follow(&db, &clock, &local, &peers, seen).await };
        Box::pin(work.into_actor(self).map(|(seen, result), this, _| {
            // A concurrent poll may have advanced further.
            if !this.seen.is_beyond(&seen) {
                this.seen = seen;
            }
            result
        }))
    }

    fn poll_again_later(&mut self, ctx: &mut Context<Self>) {
        ctx.run_later(jittered(INTERVAL), |this, ctx| {
            ctx.spawn(this.poll().map(|result, this, ctx| {
                if let Err(error) = result {
                    log::debug!(error:%; "change log not read");
                }
                this.poll_again_later(ctx);
            }));
        });
    }
}

/// Reads the log from `seen` on and applies it; returns how far it got.
async fn follow(
    db: &Db,
    clock: &Clock,
    local: &LocalState,
    peers: &Peers,
    mut seen: Cursor,
) -> (Cursor, Result<(), DbError>) {
    if local.feed_lag.age().is_some_and(|age| age > MAX_FEED_GAP) {
        local.caches.freshness().restart_proof();
        if let Err(error) = local.reload_all(db, clock).await {
            return (seen, Err(error));
        }
    }
    loop {
        match follow_a_page(db, clock, local, peers, &mut seen).await {
            Ok(true) => {}
            Ok(false) => return (seen, Ok(())),
            Err(error) => return (seen, Err(error)),
        }
    }
}

/// Reads and applies one page; returns whether there is more.
async fn follow_a_page(
    db: &Db,
    clock: &Clock,
    local: &LocalState,
    peers: &Peers,
    seen: &mut Cursor,
) -> Result<bool, DbError> {
    let began = Instant::now();
    let (from, missing) = (seen.from(), seen.missing());
    let read = db.run_repeatable(move |conn| Ok((changes::at(conn, &missing)?, changes::from(conn, from, PAGE)?)));
    let (late, lines) = read.await?;
    let more = lines.len() as i64 == PAGE;
    let mut advanced = seen.clone();
    let Some(new) = advanced.advance(late, lines, began) else {
        *seen = local.resync_with_other_log(db, clock, peers, seen).await?;
        return Ok(true);
    };
    if !new.is_empty() {
        // Before anything is invalidated: a client that is loaded again must not come from an older
        // state.
        db.knows_change(advanced.seq());
        local.caches.freshness().note(&new, seen.seq(), advanced.seq());
    }
    if !more {
        // Announced before it is applied here, so that all instances apply it at about the same
        // time.
        peers.has_read(advanced.seq());
    }
    local.apply(db, clock, &new).await?;
    *seen = advanced;
    if !more {
        local.caches.freshness().reach(seen.seq(), began);
        local.feed_lag.set(began);
    }
    Ok(more)
}

/// Polls on demand, in addition to the regular polls: one at a time, spaced by
/// [`MIN_POLL_SPACING`].
async fn poll_on_wake(feed: Addr<ChangeFeed>, db: Db, peers: Peers) {
    loop {
        tokio::select! {
            () = peers.woken() => {}
            () = db.written() => peers.has_written(),
        }
        let began = Instant::now();
        if feed.send(PollNow).await.is_err() {
            return;
        }
        tokio::time::sleep_until(began + MIN_POLL_SPACING).await;
    }
}
