//! ClientCache: the clients that one worker has met lately, in an LRU map that the actor owns without locks.
//!
//! There is one on each HTTP worker thread, so a lookup never leaves its thread: a message within a thread costs
//! 0.2 to 0.6 µs, one across threads 5 to 9 µs. What it promises:
//! - a miss loads once, however many ask for the same client meanwhile;
//! - "no such client" is `Ok(None)`, an outage is an error, and the one never looks like the other;
//! - unknown ids have a small map of their own: strangers who try ids can neither evict a real client nor reach the
//!   database twice with the same id;
//! - past its ttl an entry is loaded again; while the database is away it is served stale, up to `stale_if_error`;
//! - after `Invalidate` is acknowledged, nothing from before is served.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use ahash::RandomState;
use lru::LruCache;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::clients::loader::{Loader, SecondLevel};
use crate::config;
use crate::db::DbError;
use crate::oauth::client::{Client, ClientId};
use crate::time::UnixMillis;
use crate::unavailable::Unavailable;

/// What a lookup answers; `None` is "no such client".
pub type Answer = Result<Option<Arc<Client>>, Unavailable>;

/// Whether the database is known to be out of reach, so that a stale entry is served without waiting.
pub type OutageKnown = Rc<dyn Fn() -> bool>;

/// Unknown ids remembered by each worker. An id takes at most 128 bytes, so this is at most about 200 KB.
const UNKNOWN_CAPACITY: NonZeroUsize = NonZeroUsize::new(1000).expect("not zero");

/// Loads that one worker has under way. The pool answers far fewer at a time; what comes on top waits for nothing.
const MAX_LOADS: usize = 1024;

/// How long a caller waits for the database before it gets a stale entry instead.
const STALE_AFTER: Duration = Duration::from_millis(50);

/// Who is this client?
#[derive(Message)]
#[rtype(result = "Answer")]
pub struct Lookup {
    /// Its id.
    pub id: ClientId,
    /// The time of the request; an entry's age is judged by it.
    pub now: UnixMillis,
}

/// Forget this client. Acknowledged when nothing from before can be served any more.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub struct Invalidate(pub ClientId);

/// Forget all clients.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub struct Clear;

/// Take these clients in, least recently used first, as read at `loaded_at`.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub struct Warm {
    /// The clients.
    pub clients: Vec<Arc<Client>>,
    /// When they were read.
    pub loaded_at: UnixMillis,
}

/// Use other lifetimes from now on (a reload of the configuration).
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub struct Tune(pub Lifetimes);

/// How is it going?
#[derive(Message)]
#[rtype(result = "CacheCounts")]
pub struct Stats;

/// A load came to an end.
#[derive(Message)]
#[rtype(result = "()")]
struct Loaded {
    id: ClientId,
    result: Result<Option<Client>, DbError>,
    /// When a peer read it; `None` when it comes from the database.
    loaded_at: Option<UnixMillis>,
}

/// No peer knows the client.
#[derive(Message)]
#[rtype(result = "()")]
struct NotShared(ClientId);

/// The lifetimes of `[cache]`, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    ttl: i64,
    negative_ttl: i64,
    stale_if_error: i64,
}

impl From<&config::Cache> for Lifetimes {
    fn from(cache: &config::Cache) -> Self {
        Self {
            ttl: cache.ttl.as_millis(),
            negative_ttl: cache.negative_ttl.as_millis(),
            stale_if_error: cache.stale_if_error.as_millis(),
        }
    }
}

/// What one cache has counted. `hits + misses` is the number of lookups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct CacheCounts {
    /// Lookups answered from memory, negative hits included.
    pub hits: u64,
    /// Lookups that memory did not answer.
    pub misses: u64,
    /// Misses that were answered with an entry past its ttl.
    pub stale_served: u64,
    /// Hits that answered "no such client".
    pub negative_hits: u64,
    /// Loads begun.
    pub loads: u64,
    /// Loads that the database did not answer.
    pub load_failures: u64,
    /// Entries that made room for others.
    pub evictions: u64,
    /// Entries that were asked for past their ttl.
    pub expirations: u64,
    /// Invalidations of one client or of all.
    pub invalidations: u64,
    /// Clients in memory.
    pub entries: u64,
    /// Unknown ids in memory.
    pub negative_entries: u64,
}

impl std::ops::AddAssign for CacheCounts {
    fn add_assign(&mut self, other: Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.stale_served += other.stale_served;
        self.negative_hits += other.negative_hits;
        self.loads += other.loads;
        self.load_failures += other.load_failures;
        self.evictions += other.evictions;
        self.expirations += other.expirations;
        self.invalidations += other.invalidations;
        self.entries += other.entries;
        self.negative_entries += other.negative_entries;
    }
}

/// The actor.
pub struct ClientCache {
    enabled: bool,
    lifetimes: Lifetimes,
    // Ids are chosen by strangers: ahash is keyed at random for each map, so nobody can aim at one bucket. It takes
    // a third of the time that std's SipHash takes for a client id.
    entries: LruCache<ClientId, Entry, RandomState>,
    unknown: LruCache<ClientId, UnixMillis, RandomState>,
    loads: HashMap<ClientId, Load>,
    load: Loader,
    second_level: Option<SecondLevel>,
    outage_known: OutageKnown,
    counts: CacheCounts,
}

struct Entry {
    client: Arc<Client>,
    loaded_at: UnixMillis,
}

/// A load under way and who waits for it.
struct Load {
    began: UnixMillis,
    waiters: Vec<oneshot::Sender<Answer>>,
    /// What to serve if the database does not answer.
    stale: Option<Arc<Client>>,
    /// The client was invalidated meanwhile: what this load brings is from before.
    outdated: bool,
    /// It has taken so long that whoever has a stale entry is not to wait for it.
    overdue: bool,
}

/// What the map says to a lookup, before anything is loaded.
pub enum Remembered {
    /// In memory and not too old.
    Known(Arc<Client>),
    /// Known not to exist.
    Unknown,
    /// In memory, past its ttl, but not too old for an outage.
    Stale(Arc<Client>),
    /// Not in memory.
    Nothing,
}

impl ClientCache {
    /// An empty cache.
    pub fn new(settings: &config::Cache, load: Loader, outage_known: OutageKnown) -> Self {
        let capacity = NonZeroUsize::new(settings.capacity).unwrap_or(NonZeroUsize::MIN);
        Self {
            enabled: settings.enabled,
            lifetimes: Lifetimes::from(settings),
            entries: LruCache::with_hasher(capacity, RandomState::new()),
            unknown: LruCache::with_hasher(UNKNOWN_CAPACITY, RandomState::new()),
            loads: HashMap::new(),
            load,
            second_level: None,
            outage_known,
            counts: CacheCounts::default(),
        }
    }

    /// With peers who are asked before the database is.
    pub fn before_the_database(self, second_level: Option<SecondLevel>) -> Self {
        Self { second_level, ..self }
    }

    /// The part of a lookup that the memory answers: one map access, one comparison of ages, one count.
    pub fn remembered(&mut self, id: &str, now: UnixMillis) -> Remembered {
        if let Some(entry) = self.entries.get(id) {
            // An age below zero: the clock was set back, and nobody knows how old the entry is.
            let age = now.since(entry.loaded_at);
            if (0..self.lifetimes.ttl).contains(&age) {
                self.counts.hits += 1;
                return Remembered::Known(entry.client.clone());
            }
            self.counts.misses += 1;
            self.counts.expirations += 1;
            let too_old = self.lifetimes.ttl.saturating_add(self.lifetimes.stale_if_error);
            if (0..too_old).contains(&age) {
                return Remembered::Stale(entry.client.clone());
            }
            self.entries.pop(id);
            return Remembered::Nothing;
        }
        if !self.unknown.is_empty() {
            match self.unknown.get(id) {
                Some(learned) if (0..self.lifetimes.negative_ttl).contains(&now.since(*learned)) => {
                    self.counts.hits += 1;
                    self.counts.negative_hits += 1;
                    return Remembered::Unknown;
                }
                Some(_) => {
                    self.unknown.pop(id);
                }
                None => {}
            }
        }
        self.counts.misses += 1;
        Remembered::Nothing
    }

    /// Takes a client in.
    pub fn remember(&mut self, client: Arc<Client>, loaded_at: UnixMillis) {
        self.unknown.pop(&client.id);
        let id = client.id.clone();
        let pushed_out = self.entries.push(id.clone(), Entry { client, loaded_at });
        if pushed_out.is_some_and(|(evicted, _)| evicted != id) {
            self.counts.evictions += 1;
        }
    }

    /// Joins the load of a client, or begins one.
    fn load(
        &mut self,
        id: ClientId,
        now: UnixMillis,
        stale: Option<Arc<Client>>,
        ctx: &mut Context<Self>,
    ) -> Response<Answer> {
        if stale.is_some() && (self.outage_known)() {
            self.counts.stale_served += 1;
            return Response::reply(Ok(stale));
        }
        if !self.enabled {
            return self.load_uncached(id);
        }
        let (answer, waiting) = oneshot::channel();
        let too_many = self.loads.len() == MAX_LOADS;
        match self.loads.get_mut(&id) {
            Some(load) if load.overdue && stale.is_some() => {
                self.counts.stale_served += 1;
                return Response::reply(Ok(stale));
            }
            Some(load) => load.waiters.push(answer),
            None if too_many && stale.is_some() => {
                self.counts.stale_served += 1;
                return Response::reply(Ok(stale));
            }
            None if too_many => return Response::reply(Err(Unavailable)),
            None => {
                if stale.is_some() {
                    let id = id.clone();
                    ctx.run_later(STALE_AFTER, move |this, _| this.answer_stale(&id));
                }
                let load = Load {
                    began: now,
                    waiters: vec![answer],
                    stale,
                    outdated: false,
                    overdue: false,
                };
                self.loads.insert(id.clone(), load);
                self.begin_load(id, ctx);
            }
        }
        Response::fut(async move { waiting.await.unwrap_or(Err(Unavailable)) })
    }

    fn begin_load(&mut self, id: ClientId, ctx: &mut Context<Self>) {
        let Some(second_level) = &self.second_level else {
            return self.read_database(id, ctx);
        };
        let asking = second_level(id.clone());
        let cache = ctx.address();
        actix::spawn(async move {
            match asking.await {
                Some((client, loaded_at)) => cache.do_send(Loaded {
                    id,
                    result: Ok(Some(client)),
                    loaded_at: Some(loaded_at),
                }),
                None => cache.do_send(NotShared(id)),
            }
        });
    }

    fn read_database(&mut self, id: ClientId, ctx: &mut Context<Self>) {
        self.counts.loads += 1;
        let loading = (self.load)(id.clone());
        let cache = ctx.address();
        // Not a future of the actor's own: those are all polled at each of its wakes.
        actix::spawn(async move {
            let result = loading.await;
            cache.do_send(Loaded {
                id,
                result,
                loaded_at: None,
            });
        });
    }

    /// `cache.enabled = false`: every lookup reads the database, as in a server without a cache.
    fn load_uncached(&mut self, id: ClientId) -> Response<Answer> {
        self.counts.loads += 1;
        let loading = (self.load)(id);
        Response::fut(async move {
            loading
                .await
                .map(|client| client.map(Arc::new))
                .map_err(|error| report(&error))
        })
    }

    fn answer_stale(&mut self, id: &ClientId) {
        let Some(load) = self.loads.get_mut(id) else {
            return;
        };
        load.overdue = true;
        if let Some(stale) = &load.stale {
            self.counts.stale_served += load.waiters.len() as u64;
            for waiter in load.waiters.drain(..) {
                // A caller that hung up needs no answer.
                let _ = waiter.send(Ok(Some(stale.clone())));
            }
        }
    }

    fn forget(&mut self, id: &ClientId) {
        self.entries.pop(id);
        self.unknown.pop(id);
        if let Some(load) = self.loads.get_mut(id) {
            load.outdated = true;
            load.stale = None;
        }
    }
}

impl Actor for ClientCache {
    type Context = Context<Self>;
}

impl Handler<Lookup> for ClientCache {
    type Result = Response<Answer>;

    fn handle(&mut self, lookup: Lookup, ctx: &mut Context<Self>) -> Self::Result {
        match self.remembered(lookup.id.as_str(), lookup.now) {
            Remembered::Known(client) => Response::reply(Ok(Some(client))),
            Remembered::Unknown => Response::reply(Ok(None)),
            Remembered::Stale(client) => self.load(lookup.id, lookup.now, Some(client), ctx),
            Remembered::Nothing => self.load(lookup.id, lookup.now, None, ctx),
        }
    }
}

impl Handler<NotShared> for ClientCache {
    type Result = ();

    fn handle(&mut self, NotShared(id): NotShared, ctx: &mut Context<Self>) {
        self.read_database(id, ctx);
    }
}

impl Handler<Loaded> for ClientCache {
    type Result = ();

    fn handle(&mut self, loaded: Loaded, ctx: &mut Context<Self>) {
        let Some(mut load) = self.loads.remove(&loaded.id) else {
            return;
        };
        if load.outdated && loaded.result.is_ok() {
            // What came is from before the invalidation, and its waiters may have asked after it: read again.
            load.outdated = false;
            self.loads.insert(loaded.id.clone(), load);
            self.begin_load(loaded.id, ctx);
            return;
        }
        let answer = match loaded.result {
            Ok(Some(client)) => {
                let client = Arc::new(client);
                self.remember(client.clone(), loaded.loaded_at.unwrap_or(load.began));
                Ok(Some(client))
            }
            Ok(None) => {
                self.entries.pop(&loaded.id);
                self.unknown.push(loaded.id, load.began);
                Ok(None)
            }
            Err(error) => {
                self.counts.load_failures += 1;
                let unavailable = report(&error);
                match load.stale.take() {
                    Some(stale) => {
                        self.counts.stale_served += load.waiters.len() as u64;
                        Ok(Some(stale))
                    }
                    None => Err(unavailable),
                }
            }
        };
        for waiter in load.waiters {
            // A caller that hung up needs no answer.
            let _ = waiter.send(answer.clone());
        }
    }
}

/// A row that cannot be read is worth a line; an outage tells of itself through the breaker.
fn report(error: &DbError) -> Unavailable {
    match error {
        DbError::Unavailable(error) => log::debug!(error:%; "client load failed"),
        error => log::error!(error:%; "client load failed"),
    }
    Unavailable
}

impl Handler<Invalidate> for ClientCache {
    type Result = ();

    fn handle(&mut self, Invalidate(id): Invalidate, _: &mut Context<Self>) {
        self.counts.invalidations += 1;
        self.forget(&id);
    }
}

impl Handler<Clear> for ClientCache {
    type Result = ();

    fn handle(&mut self, _: Clear, _: &mut Context<Self>) {
        self.counts.invalidations += 1;
        self.entries.clear();
        self.unknown.clear();
        for load in self.loads.values_mut() {
            load.outdated = true;
            load.stale = None;
        }
    }
}

impl Handler<Warm> for ClientCache {
    type Result = ();

    fn handle(&mut self, warm: Warm, _: &mut Context<Self>) {
        if !self.enabled {
            return;
        }
        for client in warm.clients {
            self.remember(client, warm.loaded_at);
        }
    }
}

impl Handler<Tune> for ClientCache {
    type Result = ();

    fn handle(&mut self, Tune(lifetimes): Tune, _: &mut Context<Self>) {
        self.lifetimes = lifetimes;
    }
}

impl Handler<Stats> for ClientCache {
    type Result = MessageResult<Stats>;

    fn handle(&mut self, _: Stats, _: &mut Context<Self>) -> Self::Result {
        MessageResult(CacheCounts {
            entries: self.entries.len() as u64,
            negative_entries: self.unknown.len() as u64,
            ..self.counts
        })
    }
}

/// The handle to the cache of this worker.
#[derive(Clone)]
pub struct ClientCacheHandle(Addr<ClientCache>);

impl ClientCacheHandle {
    /// Starts a cache on this thread.
    pub fn start(cache: ClientCache) -> Self {
        Self(cache.start())
    }

    /// The client with this id; `None` when there is none.
    ///
    /// # Errors
    /// [`Unavailable`] when neither memory nor database can tell.
    pub async fn lookup(&self, id: ClientId, now: UnixMillis) -> Answer {
        self.0.send(Lookup { id, now }).await.unwrap_or(Err(Unavailable))
    }

    /// Sends any other message and waits for it to be handled; `None` when the cache is gone.
    pub async fn tell<M>(&self, message: M) -> Option<M::Result>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        ClientCache: Handler<M>,
    {
        self.0.send(message).await.ok()
    }
}
