//! RevocationCache: every revocation and redemption that has not expired, and how clients stand.
//!
//! It is complete: loaded before the server is ready and fed by the change log, so "not in it" means "not revoked" and
//! checking a token reads no database. One set serves all workers. A set for each would take `workers` times the memory,
//! and a revocation would have to wait for each worker's answer before it may be acknowledged; this one counts for the
//! next request on every worker as soon as it is written. It is cut into shards, so that workers who read and the one
//! who writes hardly ever meet at the same lock; `docs/adr/` has the measurement.
//!
//! The actor is what must be done by one at a time: it forgets what has expired.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix::prelude::*;
use ahash::RandomState;
use arc_swap::ArcSwap;

use super::Unavailable;
use crate::clock::Clock;
use crate::db::{Conn, Db, DbError, revocations, standing};
use crate::oauth::activity::{ClientStanding, Denials, Spent};
use crate::oauth::client::ClientId;
use crate::oauth::time::UnixMillis;
use crate::oauth::token_id::TokenId;

/// Ids have 74 random bits, the last ones among them, so they spread evenly.
const SHARDS: usize = 64;

/// How long an id is kept after its token has expired, in seconds: the clocks of instances may differ by as much.
const KEPT_AFTER_EXPIRY: i64 = 300;

/// How often what has expired is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);

type Shard = HashMap<TokenId, i64, RandomState>;

/// The set; a clone is the same set.
#[derive(Clone)]
pub struct Revocations(Arc<Sets>);

struct Sets {
    spent: Vec<RwLock<Shard>>,
    known: AtomicUsize,
    /// Replaced as a whole: clients that were disabled or told to forget their tokens are few.
    standings: ArcSwap<Standings>,
    /// Held from the reading of standings to their taking over: who read earlier must not speak later.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Standings {
    everybody: Option<UnixMillis>,
    clients: HashMap<ClientId, ClientStanding, RandomState>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self(Arc::new(Sets {
            spent: (0..SHARDS).map(|_| RwLock::default()).collect(),
            known: AtomicUsize::new(0),
            standings: ArcSwap::default(),
            reading: tokio::sync::Mutex::default(),
        }))
    }
}

impl Revocations {
    /// Reads all that counts at `now` from the database.
    ///
    /// # Errors
    /// When the database cannot be reached, or holds what it should not.
    pub fn load(&self, conn: &mut Conn, now: UnixMillis) -> Result<(), DbError> {
        revocations::for_each(conn, now.seconds() - KEPT_AFTER_EXPIRY, |spent| self.spend(spent))?;
        let standings = Standings {
            everybody: standing::of_everybody(conn)?,
            clients: standing::exceptions(conn)?.into_iter().collect(),
        };
        self.0.standings.store(Arc::new(standings));
        Ok(())
    }

    /// From now on this token is not active, on any worker.
    pub fn spend(&self, spent: Spent) {
        let mut shard = self.shard(&spent.jti).write().unwrap_or_else(PoisonError::into_inner);
        if shard.insert(spent.jti, spent.expires_at).is_none() {
            self.0.known.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// From now on these clients stand as said; a not-before never goes back in time.
    ///
    /// Whoever read the database a moment earlier may come a moment later: what it brings must not undo a revocation.
    pub fn set_standings(&self, standings: &[(ClientId, ClientStanding)]) {
        self.0.standings.rcu(|current| {
            let mut next = Standings::clone(current);
            for (id, standing) in standings {
                let known = next.clients.get(id).and_then(|known| known.not_before);
                let standing = ClientStanding {
                    not_before: standing.not_before.max(known),
                    ..*standing
                };
                match standing == ClientStanding::default() {
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
        let _turn = self.0.reading.lock().await;
        let standings = db
            .run_repeatable(move |conn| {
                let standings = standing::of_clients(conn, &ids)?;
                Ok(ids.iter().cloned().zip(standings).collect::<Vec<_>>())
            })
            .await?;
        self.set_standings(&standings);
        Ok(())
    }

    /// From now on what was issued to this client before `moment` is not active; however else it stands, it stays so.
    pub fn set_not_before(&self, id: &ClientId, moment: UnixMillis) {
        self.0.standings.rcu(|current| {
            let mut next = Standings::clone(current);
            let standing = next.clients.entry(id.clone()).or_default();
            standing.not_before = standing.not_before.max(Some(moment));
            next
        });
    }

    /// From now on nothing issued before this moment is active; it never goes back in time either.
    pub fn set_everybody(&self, moment: Option<UnixMillis>) {
        self.0.standings.rcu(|current| Standings {
            everybody: moment.max(current.everybody),
            ..Standings::clone(current)
        });
    }

    /// Takes a token back, for good: when this returns, the database and every worker of this instance know it.
    ///
    /// # Errors
    /// [`Unavailable`] when the database did not say that it is written.
    pub async fn revoke(&self, db: &Db, spent: Spent, now: UnixMillis) -> Result<(), Unavailable> {
        db.run_repeatable(move |conn| revocations::revoke(conn, spent, now))
            .await
            .map_err(report)?;
        self.spend(spent);
        Ok(())
    }

    /// Uses a one-time token up; `true` for the one caller, over all instances and restarts, who did it.
    ///
    /// # Errors
    /// [`Unavailable`] when the database did not say: nobody knows then whether it was used, and the answer must be no.
    pub async fn redeem(&self, db: &Db, spent: Spent, now: UnixMillis) -> Result<bool, Unavailable> {
        let redeemed = db
            .run(move |conn| revocations::redeem(conn, spent, now))
            .await
            .map_err(report)?;
        self.spend(spent);
        Ok(redeemed)
    }

    /// Takes back all that was issued to a client until now; to all clients, if none is named.
    ///
    /// # Errors
    /// As [`Revocations::revoke`].
    pub async fn revoke_until(&self, db: &Db, client: Option<ClientId>, now: UnixMillis) -> Result<(), Unavailable> {
        let named = client.clone();
        let moment = db
            .run(move |conn| standing::revoke_until(conn, named.as_ref(), now))
            .await
            .map_err(report)?;
        match client {
            None => self.set_everybody(Some(moment)),
            Some(id) => self.set_not_before(&id, moment),
        }
        Ok(())
    }

    /// How many tokens are known to be spent.
    pub fn known(&self) -> usize {
        self.0.known.load(Ordering::Relaxed)
    }

    /// Forgets tokens that have been expired long enough; answers how many.
    pub fn forget_expired(&self, now: UnixMillis) -> usize {
        let since = now.seconds() - KEPT_AFTER_EXPIRY;
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

impl Denials for Revocations {
    fn is_spent(&self, jti: &TokenId) -> bool {
        self.shard(jti)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(jti)
    }

    fn standing(&self, client_id: &str) -> ClientStanding {
        let standings = self.0.standings.load();
        let mut standing = standings.clients.get(client_id).copied().unwrap_or_default();
        standing.not_before = standing.not_before.max(standings.everybody);
        standing
    }
}

fn report(error: DbError) -> Unavailable {
    log::warn!("revocation not written: {error}");
    Unavailable
}

/// The actor.
pub struct RevocationCache {
    revocations: Revocations,
    clock: Clock,
}

impl RevocationCache {
    /// Looks after a set.
    pub fn new(revocations: Revocations, clock: Clock) -> Self {
        Self { revocations, clock }
    }
}

impl Actor for RevocationCache {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(FORGET_EVERY, |this, _| {
            let forgotten = this.revocations.forget_expired(this.clock.now());
            if forgotten > 0 {
                log::debug!("expired revocations forgotten count={forgotten}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(number: u8, expires_at: i64) -> Spent {
        Spent {
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
        assert!(revocations.is_spent(&spent(7, 0).jti));
        assert!(!revocations.is_spent(&spent(201, 0).jti));
        assert_eq!(
            revocations.forget_expired(UnixMillis::from_seconds(1000 + KEPT_AFTER_EXPIRY - 1)),
            0
        );
        assert_eq!(
            revocations.forget_expired(UnixMillis::from_seconds(1000 + KEPT_AFTER_EXPIRY)),
            200
        );
        assert_eq!(
            (revocations.known(), revocations.is_spent(&spent(7, 0).jti)),
            (0, false)
        );
    }

    #[test]
    fn a_moment_changes_nothing_else_and_never_goes_back() {
        let (revocations, id) = (Revocations::default(), ClientId::parse("demo").unwrap());
        let disabled = ClientStanding {
            disabled: true,
            not_before: None,
        };
        revocations.set_standings(&[(id.clone(), disabled)]);
        revocations.set_not_before(&id, UnixMillis(9));
        revocations.set_not_before(&id, UnixMillis(5));
        let expected = ClientStanding {
            disabled: true,
            not_before: Some(UnixMillis(9)),
        };
        assert_eq!(revocations.standing("demo"), expected);
    }

    #[test]
    fn a_client_stands_as_was_last_said() {
        let (revocations, id) = (Revocations::default(), ClientId::parse("demo").unwrap());
        let disabled = ClientStanding {
            disabled: true,
            not_before: Some(UnixMillis(5)),
        };
        revocations.set_standings(&[(id.clone(), disabled)]);
        assert_eq!(revocations.standing("demo"), disabled);
        revocations.set_everybody(Some(UnixMillis(9)));
        assert_eq!(revocations.standing("demo").not_before, Some(UnixMillis(9)));
        assert_eq!(revocations.standing("other").not_before, Some(UnixMillis(9)));
        revocations.set_standings(&[(id, ClientStanding::default())]);
        revocations.set_everybody(None);
        let enabled_again = ClientStanding {
            disabled: false,
            not_before: Some(UnixMillis(9)),
        };
        assert_eq!(
            revocations.standing("demo"),
            enabled_again,
            "what was taken back stays so"
        );
    }
}
