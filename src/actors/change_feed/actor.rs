//! ChangeFeed: polls the change log and tells the caches what to drop.
//!
//! What another process writes (the command line, another instance) reaches this one here, within one interval. The
//! actor also keeps the moment up to which everything in the log has been done: by it the server judges whether it may
//! still call a token active, and whether it is ready.

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

/// Time between two polls, more or less: changes must be seen within 1 s.
const INTERVAL: Duration = Duration::from_millis(250);

/// The least time between two polls that somebody asks for: the first is at once, and many revocations in a row, or
/// somebody who floods the channel, make at most 50 more of them a second.
const SPACING: Duration = Duration::from_millis(20);

/// Changes read by one poll; when there are more, the next poll follows at once.
const PAGE: i64 = 1000;

/// A feed that has been away for this long reads everything anew: the janitor removes lines that are an hour old.
const LOST: Duration = Duration::from_secs(1800);

/// Read the log now; answered when what it says is done.
#[derive(Message)]
#[rtype(result = "Result<(), Unavailable>")]
pub struct PollNow;

/// The actor.
pub struct ChangeFeed {
    db: Db,
    clock: Clock,
    local: LocalState,
    /// What has been dealt with.
    seen: Cursor,
    peers: Peers,
}

impl ChangeFeed {
    /// A feed that begins after number `seen`: to be read before the caches are filled.
    pub fn new(db: Db, clock: Clock, local: LocalState, seen: i64) -> Self {
        Self {
            db,
            clock,
            local,
            seen: Cursor::new(seen),
            peers: Peers::default(),
        }
    }

    /// Reads the log at once when peers say so, and when this instance has written; and tells them how far it came.
    pub fn among(self, peers: Peers) -> Self {
        Self { peers, ..self }
    }

    fn poll(&self) -> ResponseActFuture<Self, Result<(), DbError>> {
        let (db, clock, local) = (self.db.clone(), self.clock.clone(), self.local.clone());
        let (peers, seen) = (self.peers.clone(), self.seen.clone());
        let work = async move { follow(&db, &clock, &local, &peers, seen).await };
        Box::pin(work.into_actor(self).map(|(seen, result), this, _| {
            // A poll asked for in between may have come further.
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

/// Reads the log from `seen` on and does what it says; answers how far it came.
async fn follow(
    db: &Db,
    clock: &Clock,
    local: &LocalState,
    peers: &Peers,
    mut seen: Cursor,
) -> (Cursor, Result<(), DbError>) {
    if local.feed_lag.age().is_some_and(|age| age > LOST) {
        local.caches.freshness().lose();
        if let Err(error) = local.read_all(db, clock).await {
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

/// Reads one page and does what it says; answers whether there is more.
async fn follow_a_page(
    db: &Db,
    clock: &Clock,
    local: &LocalState,
    peers: &Peers,
    seen: &mut Cursor,
) -> Result<bool, DbError> {
    let asked = Instant::now();
    let (from, missing) = (seen.from(), seen.missing());
    let read = db.run_repeatable(move |conn| Ok((changes::at(conn, &missing)?, changes::from(conn, from, PAGE)?)));
    let (late, lines) = read.await?;
    let more = lines.len() as i64 == PAGE;
    let mut advanced = seen.clone();
    let Some(new) = advanced.advance(late, lines, asked) else {
        *seen = local.begin_again(db, clock, peers, seen).await?;
        return Ok(true);
    };
    if !new.is_empty() {
        // Before anything is invalidated: what is loaded again must not come from before.
        db.knows_change(advanced.seq());
        local.caches.freshness().note(&new, seen.seq(), advanced.seq());
    }
    if !more {
        // Before it is done here, so that it is done everywhere at about the same time.
        peers.has_read(advanced.seq());
    }
    local.apply(db, clock, &new).await?;
    *seen = advanced;
    if !more {
        local.caches.freshness().reach(seen.seq(), asked);
        local.feed_lag.set(asked);
    }
    Ok(more)
}

impl Actor for ChangeFeed {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.poll_again_later(ctx);
        if self.peers.are_configured() {
            let work = poll_when_told(ctx.address(), self.db.clone(), self.peers.clone());
            ctx.spawn(work.into_actor(self));
        }
    }
}

/// Polls besides the regular polls: one at a time, and no more often than [`SPACING`].
async fn poll_when_told(feed: Addr<ChangeFeed>, db: Db, peers: Peers) {
    loop {
        tokio::select! {
            () = peers.woken() => {}
            () = db.written() => peers.has_written(),
        }
        let began = Instant::now();
        if feed.send(PollNow).await.is_err() {
            return;
        }
        tokio::time::sleep_until(began + SPACING).await;
    }
}

impl Handler<PollNow> for ChangeFeed {
    type Result = ResponseActFuture<Self, Result<(), Unavailable>>;

    fn handle(&mut self, _: PollNow, _: &mut Context<Self>) -> Self::Result {
        Box::pin(self.poll().map(|result, _, _| result.map_err(|_| Unavailable)))
    }
}
