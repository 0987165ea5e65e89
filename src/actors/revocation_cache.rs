//! RevocationCache: every revocation and redemption that has not expired, and how clients stand.
//!
//! It is complete: loaded before the server is ready and fed by the change log, so "not in it" means "not revoked" and
//! checking a token reads no database. One set serves all workers. A set for each would take `workers` times the memory,
//! and a revocation would have to wait for each worker's answer before it may be acknowledged; this one counts for the
//! next request on every worker as soon as it is written. It is cut into shards, so that workers who read and the one
//! who writes hardly ever meet at the same lock; `docs/adr/` has the measurement.
//!
//! The actor is what must be done by one at a time: it forgets what has expired. When the clock is set back, some of that
//! has not expired any more: until it is read again, a token that may have been forgotten is not active.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix::prelude::*;
use ahash::RandomState;
use arc_swap::ArcSwap;
use tokio::sync::{Mutex, MutexGuard};

use crate::api::audit::Principal;
use crate::clock::Clock;
use crate::db::{Conn, Db, DbError, client_status, revocations, transactions};
use crate::oauth::activity::{ClientStatus, InvalidatedToken, RevocationCheck};
use crate::oauth::client::ClientId;
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;
use crate::unavailable::Unavailable;

/// Ids have 74 random bits, the last ones among them, so they spread evenly.
const SHARDS: usize = 64;

/// How long an id is kept after its token has expired, in seconds: the clocks of instances may differ by as much.
const KEPT_AFTER_EXPIRY: i64 = 300;

/// How often what has expired is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// How often it is looked whether the clock was set back.
const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_secs(1);

type Shard = HashMap<TokenId, i64, RandomState>;

/// The set; a clone is the same set.
#[derive(Clone)]
pub struct Revocations(Arc<Sets>);

struct Sets {
    spent: Vec<RwLock<Shard>>,
    known: AtomicUsize,
    /// Tokens that end by this second may be missing, because they had been expired long enough.
    forgotten_until: AtomicI64,
    /// Replaced as a whole: clients that were disabled or told to forget their tokens are few.
    standings: ArcSwap<Standings>,
    /// See [`Revocations::reading`].
    reading: Mutex<()>,
}

#[derive(Clone, Default)]
struct Standings {
    everybody: Option<UnixMillis>,
    clients: HashMap<ClientId, ClientStatus, RandomState>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self(Arc::new(Sets {
            spent: (0..SHARDS).map(|_| RwLock::default()).collect(),
            known: AtomicUsize::new(0),
            forgotten_until: AtomicI64::new(i64::MIN),
            standings: ArcSwap::default(),
            reading: Mutex::default(),
        }))
    }
}

impl Revocations {
    /// Reads all that counts at `now` from the database.
    ///
    /// # Errors
    /// When the database cannot be reached, or holds what it should not.
    pub fn load(&self, conn: &mut Conn, now: UnixMillis) -> Result<(), DbError> {
        self.load_spent(conn, now)?;
        let read = Standings {
            everybody: client_status::global_not_before(conn)?,
            clients: client_status::exceptions(conn)?.into_iter().collect(),
        };
        self.take_over(&read);
        Ok(())
    }

    /// Takes over how all clients stand. What was taken back here since that was read stays so.
    fn take_over(&self, read: &Standings) {
        self.0.standings.rcu(|current| {
            let mut next = read.clone();
            next.everybody = next.everybody.max(current.everybody);
            for (id, standing) in current.clients.iter().filter(|(_, known)| known.not_before.is_some()) {
                let known = next.clients.entry(id.clone()).or_default();
                known.not_before = known.not_before.max(standing.not_before);
            }
            next
        });
    }

    /// Reads the tokens that count at `now`, also those that had been forgotten by a clock that was fast.
    ///
    /// # Errors
    /// As [`Revocations::load`].
    fn load_spent(&self, conn: &mut Conn, now: UnixMillis) -> Result<(), DbError> {
        let since = forgotten_at(now);
        revocations::for_each(conn, since, |spent| self.spend(spent))?;
        self.0.forgotten_until.store(since, Ordering::SeqCst);
        Ok(())
    }

    /// Whether tokens have been forgotten that count again, because the clock was set back.
    fn has_forgotten_too_much(&self, now: UnixMillis) -> bool {
        self.0.forgotten_until.load(Ordering::SeqCst) > forgotten_at(now)
    }

    /// From now on this token is not active, on any worker.
    pub fn spend(&self, spent: InvalidatedToken) {
        let mut shard = self.shard(&spent.jti).write().unwrap_or_else(PoisonError::into_inner);
        if shard.insert(spent.jti, spent.expires_at).is_none() {
            self.0.known.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// From now on these clients stand as said; a not-before never goes back in time.
    ///
    /// Whoever read the database a moment earlier may come a moment later: what it brings must not undo a revocation.
    pub fn set_standings(&self, standings: &[(ClientId, ClientStatus)]) {
        self.0.standings.rcu(|current| {
            let mut next = Standings::clone(current);
            for (id, standing) in standings {
                let known = next.clients.get(id).and_then(|known| known.not_before);
                let standing = ClientStatus {
                    not_before: standing.not_before.max(known),
                    ..*standing
                };
                match standing == ClientStatus::default() {
                    true => next.clients.remove(id),
                    false => next.clients.insert(id.clone(), standing),
                };
            }
            next
        });
    }

    /// From now on these clients stand as the database has it. What was written before this is called is taken over when it
    /// returns, and nothing that is older comes after it.
    ///
    /// # Errors
    /// When the database cannot be reached; they stand as before then.
    pub async fn reload_standings(&self, db: &Db, ids: Vec<ClientId>) -> Result<(), DbError> {
        let _reading = self.reading().await;
        let standings = db
            .run_repeatable(move |conn| {
                let standings = client_status::of_clients(conn, &ids)?;
                Ok(ids.iter().cloned().zip(standings).collect::<Vec<_>>())
            })
            .await?;
        self.set_standings(&standings);
        Ok(())
    }

    /// To be held while standings are read and taken over: of two who do so, who has read earlier must not speak later.
    pub async fn reading(&self) -> MutexGuard<'_, ()> {
        self.0.reading.lock().await
    }

    /// From now on nothing issued to this client before this moment is active; whether it is disabled is not touched: the
    /// change feed may have learnt of that while the moment was written.
    fn set_not_before(&self, id: &ClientId, moment: UnixMillis) {
        self.0.standings.rcu(|current| {
            let mut next = Standings::clone(current);
            let standing = next.clients.entry(id.clone()).or_default();
            standing.not_before = standing.not_before.max(Some(moment));
            next
        });
    }

    /// From now on nothing issued before this moment is active; it never goes back in time either.
    pub fn set_global_not_before(&self, moment: Option<UnixMillis>) {
        self.0.standings.rcu(|current| Standings {
            everybody: moment.max(current.everybody),
            ..Standings::clone(current)
        });
    }

    /// Takes a token back, for good: when this returns, the database and every worker of this instance know it.
    ///
    /// # Errors
    /// [`Unavailable`] when the database did not say that it is written.
    pub async fn revoke(&self, db: &Db, spent: InvalidatedToken, now: UnixMillis) -> Result<(), Unavailable> {
        db.run_repeatable(move |conn| revocations::revoke(conn, spent, now))
            .await
            .map_err(report)?;
        self.spend(spent);
        db.has_written();
        Ok(())
    }

    /// Uses a one-time token up; `true` for the one caller, over all instances and restarts, who did it.
    ///
    /// # Errors
    /// [`Unavailable`] when the database did not say: nobody knows then whether it was used, and the answer must be no.
    pub async fn redeem(&self, db: &Db, spent: InvalidatedToken, now: UnixMillis) -> Result<bool, Unavailable> {
        // Done twice it accepts no second use: if the first commit counted and only its answer was lost, the second insert
        // finds the row, or waits until it is there, and the answer is no.
        let redeemed = db
            .run_repeatable(move |conn| revocations::redeem(conn, spent, now))
            .await
            .map_err(report)?;
        self.spend(spent);
        if redeemed {
            db.has_written();
        }
        Ok(redeemed)
    }

    /// As [`Revocations::revoke`], by an operator: the audit trail tells of it.
    ///
    /// # Errors
    /// As [`Revocations::revoke`].
    pub async fn revoke_by(
        &self,
        db: &Db,
        by: Principal,
        spent: InvalidatedToken,
        now: UnixMillis,
    ) -> Result<(), Unavailable> {
        db.run_repeatable(move |conn| transactions::revoke_token(conn, &by, spent, now))
            .await
            .map_err(report)?;
        self.spend(spent);
        db.has_written();
        Ok(())
    }

    /// Takes back all that was issued to a client until now; `false` when there is no such client.
    ///
    /// # Errors
    /// As [`Revocations::revoke`].
    pub async fn revoke_client_by(
        &self,
        db: &Db,
        by: Principal,
        id: ClientId,
        now: UnixMillis,
    ) -> Result<bool, Unavailable> {
        let named = id.clone();
        let moment = db
            .run_repeatable(move |conn| transactions::revoke_client_tokens(conn, &by, &named, now))
            .await
            .map_err(report)?;
        let Some(moment) = moment else {
            return Ok(false);
        };
        self.set_not_before(&id, moment);
        db.has_written();
        Ok(true)
    }

    /// How many tokens are known to be spent.
    pub fn known(&self) -> usize {
        self.0.known.load(Ordering::Relaxed)
    }

    /// Forgets tokens that have been expired long enough; answers how many.
    pub fn forget_expired(&self, now: UnixMillis) -> usize {
        let since = forgotten_at(now);
        // First: whoever does not find a token any more must know why.
        self.0.forgotten_until.fetch_max(since, Ordering::SeqCst);
        let mut forgotten = 0;
        for shard in &self.0.spent {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let before = shard.len();
            shard.retain(|_, expires_at| *expires_at > since);
            forgotten += before - shard.len();
            // Or a wave of revocations would hold its memory for good.
            if shard.capacity() > 4 * shard.len() + 64 {
                shard.shrink_to_fit();
            }
        }
        self.0.known.fetch_sub(forgotten, Ordering::Relaxed);
        forgotten
    }

    fn shard(&self, jti: &TokenId) -> &RwLock<Shard> {
        &self.0.spent[jti.low_byte() % SHARDS]
    }
}

impl RevocationCheck for Revocations {
    fn is_invalidated(&self, jti: &TokenId) -> bool {
        self.shard(jti)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(jti)
    }

    fn remembers(&self, expires_at: i64) -> bool {
        expires_at > self.0.forgotten_until.load(Ordering::SeqCst)
    }

    fn client_status(&self, client_id: &str) -> ClientStatus {
        let standings = self.0.standings.load();
        let mut standing = standings.clients.get(client_id).copied().unwrap_or_default();
        standing.not_before = standing.not_before.max(standings.everybody);
        standing
    }
}

/// What ended by this second may be forgotten at `now`.
fn forgotten_at(now: UnixMillis) -> i64 {
    now.seconds() - KEPT_AFTER_EXPIRY
}

fn report(error: DbError) -> Unavailable {
    log::warn!("revocation not written: {error}");
    Unavailable
}

/// The actor.
pub struct RevocationCache {
    revocations: Revocations,
    db: Db,
    clock: Clock,
    loading: bool,
}

impl RevocationCache {
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
        let forgotten = self.revocations.forget_expired(now);
        if forgotten > 0 {
            log::debug!("expired revocations forgotten count={forgotten}");
        }
    }

    fn look_at_clock(&mut self, ctx: &mut Context<Self>) {
        if self.loading || !self.revocations.has_forgotten_too_much(self.clock.now()) {
            return;
        }
        self.loading = true;
        let (revocations, db, clock) = (self.revocations.clone(), self.db.clone(), self.clock.clone());
        // Not Db::run: to read a million of them takes longer than a query may.
        let work = move || db.run_here(|conn| revocations.load_spent(conn, clock.now()));
        let loading = tokio::task::spawn_blocking(work).into_actor(self);
        ctx.spawn(loading.map(|loaded, this, _| {
            this.loading = false;
            match loaded {
                Ok(Ok(())) => log::warn!("the clock was set back, revocations were read again"),
                Ok(Err(error)) => log::debug!("the clock was set back, revocations cannot be read: {error}"),
                Err(stopped) => log::debug!("revocations were not read: {stopped}"),
            }
        }));
    }
}

impl Actor for RevocationCache {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(FORGET_EVERY, |this, _| this.forget());
        ctx.run_interval(LOOK_AT_CLOCK_EVERY, Self::look_at_clock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(number: u8, expires_at: i64) -> InvalidatedToken {
        InvalidatedToken {
            jti: TokenId::new(UnixMillis(1), [number; 10]),
            expires_at,
        }
    }

    #[test]
    fn g1_a_spent_token_is_known_until_it_has_been_expired_for_long() {
        let revocations = Revocations::default();
        for number in 0..200 {
            revocations.spend(spent(number, 1000));
            revocations.spend(spent(number, 1000));
        }
        assert_eq!(revocations.known(), 200);
        assert!(revocations.is_invalidated(&spent(7, 0).jti));
        assert!(!revocations.is_invalidated(&spent(201, 0).jti));
        assert_eq!(
            revocations.forget_expired(UnixMillis::from_seconds(1000 + KEPT_AFTER_EXPIRY - 1)),
            0
        );
        assert_eq!(
            revocations.forget_expired(UnixMillis::from_seconds(1000 + KEPT_AFTER_EXPIRY)),
            200
        );
        assert_eq!(
            (revocations.known(), revocations.is_invalidated(&spent(7, 0).jti)),
            (0, false)
        );
    }

    #[test]
    fn g1_what_may_have_been_forgotten_is_not_remembered() {
        let revocations = Revocations::default();
        assert!(revocations.remembers(0));
        let later = UnixMillis::from_seconds(1000 + KEPT_AFTER_EXPIRY);
        revocations.forget_expired(later);
        assert_eq!(
            (revocations.remembers(1000), revocations.remembers(1001)),
            (false, true)
        );
        assert!(!revocations.has_forgotten_too_much(later));
        assert!(
            revocations.has_forgotten_too_much(UnixMillis(later.0 - 1000)),
            "the clock was set back"
        );
        revocations.forget_expired(UnixMillis(later.0 - 1000));
        assert!(!revocations.remembers(1000), "it is not known again by that");
    }

    #[test]
    fn g1_a_moment_changes_nothing_else_and_never_goes_back() {
        let (revocations, id) = (Revocations::default(), ClientId::parse("demo").unwrap());
        let stands = |disabled, moment: Option<i64>| ClientStatus {
            disabled,
            not_before: moment.map(UnixMillis),
        };
        revocations.set_standings(&[(id.clone(), stands(true, None))]);
        revocations.set_not_before(&id, UnixMillis(9));
        revocations.set_not_before(&id, UnixMillis(5));
        assert_eq!(revocations.client_status("demo"), stands(true, Some(9)));
    }

    #[test]
    fn g1_what_was_read_before_a_moment_does_not_undo_it() {
        let (revocations, id) = (Revocations::default(), ClientId::parse("demo").unwrap());
        revocations.set_not_before(&id, UnixMillis(9));
        revocations.set_global_not_before(Some(UnixMillis(4)));
        revocations.take_over(&Standings::default());
        let standing = revocations.client_status("demo");
        assert_eq!(standing.not_before, Some(UnixMillis(9)));
        assert_eq!(revocations.client_status("another").not_before, Some(UnixMillis(4)));
    }

    #[test]
    fn a_client_stands_as_was_last_said() {
        let (revocations, id) = (Revocations::default(), ClientId::parse("demo").unwrap());
        let disabled = ClientStatus {
            disabled: true,
            not_before: Some(UnixMillis(5)),
        };
        revocations.set_standings(&[(id.clone(), disabled)]);
        assert_eq!(revocations.client_status("demo"), disabled);
        revocations.set_global_not_before(Some(UnixMillis(9)));
        assert_eq!(revocations.client_status("demo").not_before, Some(UnixMillis(9)));
        assert_eq!(revocations.client_status("other").not_before, Some(UnixMillis(9)));
        revocations.set_standings(&[(id, ClientStatus::default())]);
        revocations.set_global_not_before(None);
        let enabled_again = ClientStatus {
            disabled: false,
            not_before: Some(UnixMillis(9)),
        };
        assert_eq!(
            revocations.client_status("demo"),
            enabled_again,
            "what was taken back stays so"
        );
    }
}
