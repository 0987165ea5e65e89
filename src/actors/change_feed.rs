//! ChangeFeed: polls the change log and tells the caches what to drop.
//!
//! What another process writes (the command line, another instance) reaches this one here, within one interval. The
//! actor also keeps the moment up to which everything in the log has been done: by it the server judges whether it may
//! still call a token active, and whether it is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use super::bookmark::Bookmark;
use super::client_caches::ClientCaches;
use super::key_rotator;
use super::revocation_cache::Revocations;
use super::route_store::RouteStore;
use crate::clock::Clock;
use crate::db::changes::{self, Change, Line};
use crate::db::{Db, DbError, client_status};
use crate::keys::{KeyEncryptionKey, KeyStore};
use crate::oauth::client::ClientId;
use crate::siblings::Siblings;
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

/// The moment up to which this instance knows all changes: when the last poll began whose changes are all done.
///
/// Not when it ended, and not when it was answered: what was written meanwhile is not in the answer, and until a change is
/// done it might as well not be known.
///
/// Kept by the monotonic clock: were it the wall clock, setting that forward would look like an outage.
#[derive(Clone, Debug)]
pub struct LastAnswer {
    since: Instant,
    /// Milliseconds after `since`, plus one; 0 before there was such a poll.
    at: Arc<AtomicU64>,
}

impl Default for LastAnswer {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            at: Arc::default(),
        }
    }
}

impl LastAnswer {
    /// How long ago that was, or `None` if there was none.
    pub fn age(&self) -> Option<Duration> {
        let at = self.at.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.since.elapsed().saturating_sub(Duration::from_millis(at)))
    }

    /// All that was written before this moment is known.
    pub fn set(&self, asked: Instant) {
        let at = asked.saturating_duration_since(self.since).as_millis() as u64 + 1;
        // Of two polls at a time, the one that ends last may have begun first.
        self.at.fetch_max(at, Ordering::Relaxed);
    }
}

/// What the feed acts on.
#[derive(Clone)]
pub struct Listeners {
    /// The client caches of all workers.
    pub caches: ClientCaches,
    /// What has been taken back.
    pub revocations: Revocations,
    /// The key ring.
    pub keys: KeyStore,
    /// The forward-auth policy.
    pub routes: RouteStore,
    /// What private keys are encrypted with.
    pub seal: Option<Arc<KeyEncryptionKey>>,
    /// Where the time of the last answer is kept.
    pub last_answer: LastAnswer,
}

/// The actor.
pub struct ChangeFeed {
    db: Db,
    clock: Clock,
    listeners: Listeners,
    /// What has been dealt with.
    seen: Bookmark,
    siblings: Siblings,
}

impl ChangeFeed {
    /// A feed that begins after number `seen`: to be read before the caches are filled.
    pub fn new(db: Db, clock: Clock, listeners: Listeners, seen: i64) -> Self {
        Self {
            db,
            clock,
            listeners,
            seen: Bookmark::new(seen),
            siblings: Siblings::default(),
        }
    }

    /// Reads the log at once when siblings say so, and when this instance has written; and tells them how far it came.
    pub fn among(self, siblings: Siblings) -> Self {
        Self { siblings, ..self }
    }

    fn poll(&self) -> ResponseActFuture<Self, Result<(), DbError>> {
        let (db, clock, listeners) = (self.db.clone(), self.clock.clone(), self.listeners.clone());
        let (siblings, seen) = (self.siblings.clone(), self.seen.clone());
        let work = async move { follow(&db, &clock, &listeners, &siblings, seen).await };
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
                    log::debug!("change log not read: {error}");
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
    listeners: &Listeners,
    siblings: &Siblings,
    mut seen: Bookmark,
) -> (Bookmark, Result<(), DbError>) {
    if listeners.last_answer.age().is_some_and(|age| age > LOST) {
        listeners.caches.seen().lose();
        if let Err(error) = listeners.read_all(db, clock).await {
            return (seen, Err(error));
        }
    }
    loop {
        match follow_a_page(db, clock, listeners, siblings, &mut seen).await {
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
    listeners: &Listeners,
    siblings: &Siblings,
    seen: &mut Bookmark,
) -> Result<bool, DbError> {
    let asked = Instant::now();
    let (from, missing) = (seen.from(), seen.missing());
    let read = db.run_repeatable(move |conn| Ok((changes::at(conn, &missing)?, changes::from(conn, from, PAGE)?)));
    let (late, lines) = read.await?;
    let more = lines.len() as i64 == PAGE;
    let mut turned = seen.clone();
    let Some(new) = turned.turn(late, lines, asked) else {
        *seen = listeners.begin_again(db, clock, siblings, seen).await?;
        return Ok(true);
    };
    if !new.is_empty() {
        // Before anything is invalidated: what is loaded again must not come from before.
        db.knows_change(turned.seq());
        listeners.caches.seen().note(&new, seen.seq(), turned.seq());
    }
    if !more {
        // Before it is done here, so that it is done everywhere at about the same time.
        siblings.has_read(turned.seq());
    }
    listeners.apply(db, clock, &new).await?;
    *seen = turned;
    if !more {
        listeners.caches.seen().reach(seen.seq(), asked);
        listeners.last_answer.set(asked);
    }
    Ok(more)
}

impl Listeners {
    /// Reads how everything stands, because the log is not the one that was read so far; answers where it ends.
    async fn begin_again(
        &self,
        db: &Db,
        clock: &Clock,
        siblings: &Siblings,
        seen: &Bookmark,
    ) -> Result<Bookmark, DbError> {
        log::error!("the change log lacks what was read from it: it is another database, or one that lost commits");
        // Before anything else is read, as at the start.
        let last = db.run_repeatable(changes::last).await?;
        db.knows_change_of_another_log(last);
        self.caches.seen().begin_in_another_log(last);
        siblings.begin_in_another_log(last);
        self.read_all(db, clock).await?;
        Ok(seen.in_another_log(last))
    }

    /// Reads how everything stands, because lines of the log may be gone that nobody here has read.
    async fn read_all(&self, db: &Db, clock: &Clock) -> Result<(), DbError> {
        log::warn!("lines of the change log may have been missed, everything is read again");
        let (revocations, now) = (self.revocations.clone(), clock.now());
        let reading = self.revocations.reading().await;
        let database = db.clone();
        // Not Db::run: to read a million of them takes longer than a query may.
        let work = move || database.run_here(|conn| revocations.load(conn, now));
        let read = tokio::task::spawn_blocking(work).await;
        read.map_err(|stopped| DbError::Unavailable(stopped.to_string()))??;
        drop(reading);
        let anything = Line {
            seq: 0,
            at: clock.now(),
            change: Change::Unknown,
        };
        self.apply(db, clock, &[anything]).await
    }

    /// Does what a page of the log says. Done twice it does no harm: it reads how things stand now.
    async fn apply(&self, db: &Db, clock: &Clock, page: &[Line]) -> Result<(), DbError> {
        let mut clients: Vec<ClientId> = Vec::new();
        let (mut everybody, mut keys, mut routes, mut unknown) = (false, false, false, false);
        for line in page {
            match &line.change {
                Change::Client(id) if clients.contains(id) => {}
                Change::Client(id) => clients.push(id.clone()),
                Change::InvalidatedToken(spent) => self.revocations.spend(*spent),
                Change::GlobalNotBefore => everybody = true,
                Change::Keys => keys = true,
                Change::Routes => routes = true,
                Change::Unknown => unknown = true,
            }
        }
        if !clients.is_empty() {
            self.revocations.reload_standings(db, clients.clone()).await?;
        }
        for id in &clients {
            self.caches.forget(id).await;
        }
        if everybody {
            self.revocations
                .set_global_not_before(db.run_repeatable(client_status::global_not_before).await?);
        }
        if unknown {
            self.caches.clear().await;
        }
        if keys || unknown {
            key_rotator::reload(db, clock, &self.keys, self.seal.as_deref()).await?;
        }
        if routes || unknown {
            self.reload_routes(db).await?;
        }
        Ok(())
    }

    async fn reload_routes(&self, db: &Db) -> Result<(), DbError> {
        match self.routes.reload(db).await {
            // The old routes still hold; leaving out the one that cannot be read could let more pass than either.
            Err(error @ DbError::Inconsistent(_)) => {
                log::error!("routes not taken over: {error}");
                Ok(())
            }
            reloaded => reloaded,
        }
    }
}

/// Between 90 % and 110 % of it, so that instances do not poll in step.
pub(super) fn jittered(interval: Duration) -> Duration {
    let mut byte = [128];
    // Without randomness the interval is merely the same for all.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    interval.mul_f64(0.9 + 0.2 * f64::from(byte[0]) / 255.0)
}

impl Actor for ChangeFeed {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.poll_again_later(ctx);
        if self.siblings.are_configured() {
            let work = poll_when_told(ctx.address(), self.db.clone(), self.siblings.clone());
            ctx.spawn(work.into_actor(self));
        }
    }
}

/// Polls besides the regular polls: one at a time, and no more often than [`SPACING`].
async fn poll_when_told(feed: Addr<ChangeFeed>, db: Db, siblings: Siblings) {
    loop {
        tokio::select! {
            () = siblings.nudged() => {}
            () = db.written() => siblings.has_written(),
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
