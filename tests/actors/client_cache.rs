//! ClientCache: what a lookup returns, what it costs, and what it must never return.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use mintage::actors::client_cache::{
    Answer, CacheCounts, Clear, ClientCache, ClientCacheHandle, ClientCaches, Invalidate, Lifetimes, Stats, Tune, Warm,
};
use mintage::clients::loader::SecondLevel;
use mintage::config;
use mintage::db::DbError;
use mintage::db::changes::RecentChanges;
use mintage::oauth::client::Client;
use mintage::time::UnixMillis;
use mintage::unavailable::Unavailable;
use testkit::sample::{NOW, client, id};
use testkit::time::{Time, about};
use tokio::time::Instant;

/// A fake table of clients that a test can make slow or unavailable.
#[derive(Default)]
struct Table {
    rows: RefCell<HashMap<String, Client>>,
    takes: Cell<Duration>,
    down: Cell<bool>,
    outage_known: Cell<bool>,
    loads: Cell<usize>,
}

impl Table {
    fn insert(&self, client: Client) {
        self.rows.borrow_mut().insert(client.id.to_string(), client);
    }
}

/// The clients that peers have, and the number of lookups among them.
#[derive(Default)]
struct Peers {
    known: RefCell<HashMap<String, (Client, UnixMillis)>>,
    takes: Cell<Duration>,
    asked: Cell<usize>,
}

/// A cache with a fake table.
struct Subject {
    time: Time,
    table: Rc<Table>,
    cache: ClientCacheHandle,
}

/// A cache with a table of these clients; ttl 10 s, negative ttl 5 s, stale for 60 s, three
/// entries.
fn subject(clients: &[&str]) -> Subject {
    subject_with(clients, |_| {})
}

fn subject_with(clients: &[&str], change: impl Fn(&mut config::Cache)) -> Subject {
    let time = Time::paused();
    let table = Rc::new(Table::default());
    clients.iter().for_each(|id| table.insert(client(id)));
    let cache = cache_over(&table, change);
    Subject { time, table, cache }
}

fn cache_over(table: &Rc<Table>, change: impl Fn(&mut config::Cache)) -> ClientCacheHandle {
    ClientCacheHandle::start(new_cache(table, change))
}

/// A cache with a table, and peers that come before the table.
fn subject_among(peers: &Rc<Peers>, clients: &[&str], change: impl Fn(&mut config::Cache)) -> Subject {
    let time = Time::paused();
    let table = Rc::new(Table::default());
    clients.iter().for_each(|id| table.insert(client(id)));
    let peers = peers.clone();
    let second_level: SecondLevel = Rc::new(move |id| {
        let peers = peers.clone();
        peers.asked.set(peers.asked.get() + 1);
        // The reply is that of the time of the request, as from a slow Redis.
        let answer = peers.known.borrow().get(id.as_str()).cloned();
        Box::pin(async move {
            if peers.takes.get() > Duration::ZERO {
                tokio::time::sleep(peers.takes.get()).await;
            }
            answer
        })
    });
    let cache = new_cache(&table, change).with_second_level(Some(second_level));
    let cache = ClientCacheHandle::start(cache);
    Subject { time, table, cache }
}

fn new_cache(table: &Rc<Table>, change: impl Fn(&mut config::Cache)) -> ClientCache {
    let mut settings = config::Cache {
        capacity: 3,
        ttl: config::Duration::seconds(10),
        negative_ttl: config::Duration::seconds(5),
        stale_if_error: config::Duration::seconds(60),
        ..Default::default()
    };
    change(&mut settings);
    let (loading, known) = (table.clone(), table.clone());
    let load = Rc::new(move |id: mintage::oauth::client::ClientId| {
        let table = loading.clone();
        table.loads.set(table.loads.get() + 1);
        // Read when the load starts and returned when it ends, like a row from a slow database.
        let row = table.rows.borrow().get(id.as_str()).cloned();
        let loading: futures_util::future::LocalBoxFuture<'static, _> = Box::pin(async move {
            if table.takes.get() > Duration::ZERO {
                tokio::time::sleep(table.takes.get()).await;
            }
            match table.down.get() {
                true => Err(DbError::Unavailable("caused by the test".into())),
                false => Ok(row),
            }
        });
        loading
    });
    ClientCache::new(&settings, load, Rc::new(move || known.outage_known.get()))
}

impl Subject {
    async fn lookup(&self, text: &str) -> Answer {
        self.cache.lookup(id(text), self.time.clock.now()).await
    }

    async fn counts(&self) -> CacheCounts {
        self.cache.send(Stats).await.unwrap()
    }

    fn loads(&self) -> usize {
        self.table.loads.get()
    }

    /// Disables a client in the table without notifying the cache.
    fn disable(&self, text: &str) {
        let mut changed = client(text);
        changed.enabled = false;
        self.table.insert(changed);
    }
}

fn found(answer: Answer) -> bool {
    matches!(answer, Ok(Some(_)))
}

fn absent(answer: Answer) -> bool {
    matches!(answer, Ok(None))
}

fn unavailable(answer: Answer) -> bool {
    matches!(answer, Err(Unavailable))
}

fn enabled(answer: Answer) -> bool {
    answer.unwrap().unwrap().enabled
}

#[actix::test]
async fn a_client_is_loaded_once_and_then_cached() {
    let subject = subject(&["a"]);
    for _ in 0..3 {
        assert_eq!(subject.lookup("a").await.unwrap().unwrap().id, id("a"));
    }
    let counts = subject.counts().await;
    assert_eq!((counts.hits, counts.misses, counts.loads, counts.entries), (2, 1, 1, 1));
    assert_eq!(subject.loads(), 1);
}

#[actix::test]
async fn hits_and_misses_add_up_to_the_lookups() {
    let subject = subject(&["a", "b"]);
    for text in ["a", "a", "b", "unknown", "unknown"] {
        let _ = subject.lookup(text).await;
    }
    subject.time.passes(10_000).await;
    subject.table.down.set(true);
    for text in ["a", "b", "unknown", "c"] {
        let _ = subject.lookup(text).await;
    }
    let counts = subject.counts().await;
    assert_eq!(counts.hits + counts.misses, 9);
    assert_eq!((counts.hits, counts.negative_hits, counts.stale_served), (2, 1, 2));
}

#[actix::test]
async fn the_lookup_of_an_operator_is_not_counted() {
    let subject = subject(&["a"]);
    let current = async |text| subject.cache.current(id(text), subject.time.clock.now()).await;
    assert!(found(current("a").await) && absent(current("unknown").await));
    subject.time.passes(10_000).await;
    assert!(found(current("a").await) && found(current("a").await));
    let counts = subject.counts().await;
    let expected = CacheCounts {
        entries: counts.entries,
        negative_entries: counts.negative_entries,
        ..CacheCounts::default()
    };
    assert_eq!((counts, counts.entries), (expected, 1));
    // Otherwise it is a lookup like every other.
    assert_eq!(subject.loads(), 3);
    assert!(found(subject.lookup("a").await));
    assert_eq!((subject.counts().await.hits, subject.loads()), (1, 3));
}

#[actix::test]
async fn an_entry_past_its_ttl_is_loaded_again_on_lookup() {
    let subject = subject(&["a"]);
    assert!(enabled(subject.lookup("a").await));
    subject.disable("a");
    subject.time.passes(9_999).await;
    assert!(enabled(subject.lookup("a").await));
    subject.time.passes(1).await;
    assert!(!enabled(subject.lookup("a").await));
    assert_eq!(subject.counts().await.expirations, 1);
    assert_eq!(subject.loads(), 2);
}

#[actix::test]
async fn nothing_is_loaded_without_a_lookup() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    subject.time.passes(60_000).await;
    assert_eq!((subject.loads(), subject.counts().await.expirations), (1, 0));
}

#[actix::test]
async fn after_the_clock_is_set_back_entries_are_loaded_again() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    assert!(absent(subject.lookup("unknown").await));
    subject.time.clock.advance(-1);
    subject.disable("a");
    subject.table.insert(client("unknown"));
    assert!(!enabled(subject.lookup("a").await));
    assert!(found(subject.lookup("unknown").await));
}

#[actix::test]
async fn after_the_clock_is_set_back_an_entry_of_unknown_age_is_not_served_stale() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    subject.time.clock.advance(-1);
    subject.table.down.set(true);
    subject.table.outage_known.set(true);
    assert!(unavailable(subject.lookup("a").await));
}

#[actix::test]
async fn a_hundred_lookups_of_one_client_load_it_once() {
    let subject = subject(&["a"]);
    subject.table.takes.set(Duration::from_millis(20));
    let answers = join_all((0..100).map(|_| subject.lookup("a"))).await;
    assert!(answers.into_iter().all(found));
    let counts = subject.counts().await;
    assert_eq!((subject.loads(), counts.misses, counts.loads), (1, 100, 1));
}

#[actix::test]
async fn a_load_continues_when_its_first_caller_disconnects() {
    let subject = subject(&["a"]);
    subject.table.takes.set(Duration::from_millis(20));
    let hanging_up = tokio::time::timeout(Duration::from_millis(5), subject.lookup("a"));
    let (first, second) = join(hanging_up, subject.lookup("a")).await;
    assert!(first.is_err());
    assert!(found(second));
    assert_eq!(subject.loads(), 1);
}

#[actix::test]
async fn an_unknown_id_is_looked_up_in_the_database_once() {
    let subject = subject(&[]);
    for _ in 0..5 {
        assert!(absent(subject.lookup("unknown").await));
    }
    let counts = subject.counts().await;
    assert_eq!(subject.loads(), 1);
    assert_eq!(
        (counts.negative_hits, counts.negative_entries, counts.entries),
        (4, 1, 0)
    );
}

#[actix::test]
async fn unknown_ids_never_evict_a_client() {
    let subject = subject(&["a", "b", "c"]);
    for text in ["a", "b", "c"] {
        assert!(found(subject.lookup(text).await));
    }
    for n in 0..1500 {
        assert!(absent(subject.lookup(&format!("unknown {n}")).await));
    }
    let before = subject.loads();
    for text in ["a", "b", "c"] {
        assert!(found(subject.lookup(text).await));
    }
    let counts = subject.counts().await;
    assert_eq!((subject.loads(), counts.evictions), (before, 0));
    assert_eq!((counts.entries, counts.negative_entries), (3, 1000));
}

#[actix::test]
async fn an_unknown_id_is_forgotten_after_the_negative_ttl() {
    let subject = subject(&[]);
    assert!(absent(subject.lookup("late").await));
    subject.table.insert(client("late"));
    subject.time.passes(4_999).await;
    assert!(absent(subject.lookup("late").await));
    subject.time.passes(1).await;
    assert!(found(subject.lookup("late").await));
    assert_eq!(subject.counts().await.negative_entries, 0);
}

#[actix::test]
async fn a_created_client_is_visible_immediately() {
    let subject = subject(&[]);
    assert!(absent(subject.lookup("new").await));
    subject.table.insert(client("new"));
    subject.cache.send(Invalidate(id("new"))).await.unwrap();
    assert!(found(subject.lookup("new").await));
}

#[actix::test]
async fn an_outage_is_an_error_and_never_looks_like_absence() {
    let subject = subject(&["a"]);
    subject.table.down.set(true);
    for _ in 0..2 {
        assert!(unavailable(subject.lookup("a").await));
        assert!(unavailable(subject.lookup("unknown").await));
    }
    let counts = subject.counts().await;
    assert_eq!((counts.load_failures, counts.negative_entries), (4, 0));
    subject.table.down.set(false);
    assert!(found(subject.lookup("a").await));
}

#[actix::test]
async fn every_waiter_of_a_load_gets_the_outage_error() {
    let subject = subject(&["a"]);
    subject.table.takes.set(Duration::from_millis(20));
    subject.table.down.set(true);
    let answers = join_all((0..10).map(|_| subject.lookup("a"))).await;
    assert!(answers.into_iter().all(unavailable));
    assert_eq!(subject.loads(), 1);
}

#[actix::test]
async fn a_stale_entry_is_served_immediately_during_a_known_outage() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    subject.time.passes(10_000).await;
    subject.table.outage_known.set(true);
    let began = Instant::now();
    assert!(found(subject.lookup("a").await));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!((subject.loads(), subject.counts().await.stale_served), (1, 1));
}

#[actix::test]
async fn a_stale_entry_is_served_after_50_ms_when_the_database_does_not_answer() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    subject.time.passes(10_000).await;
    subject.table.takes.set(Duration::from_secs(2));
    let began = Instant::now();
    let answers = join_all((0..3).map(|_| subject.lookup("a"))).await;
    assert!(answers.into_iter().all(found));
    assert!(about(began.elapsed(), 50), "{:?}", began.elapsed());
    assert_eq!((subject.loads(), subject.counts().await.stale_served), (2, 3));
}

#[actix::test]
async fn later_callers_wait_no_longer_than_50_ms_for_a_running_load() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    subject.time.passes(10_000).await;
    subject.table.takes.set(Duration::from_secs(2));
    assert!(found(subject.lookup("a").await));
    let began = Instant::now();
    assert!(found(subject.lookup("a").await));
    assert!(began.elapsed() <= Duration::from_millis(50), "{:?}", began.elapsed());
    assert_eq!((subject.loads(), subject.counts().await.stale_served), (2, 2));
}

#[actix::test]
async fn a_stale_entry_is_served_when_the_load_fails_within_50_ms() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    subject.time.passes(10_000).await;
    subject.table.takes.set(Duration::from_millis(10));
    subject.table.down.set(true);
    let began = Instant::now();
    assert!(found(subject.lookup("a").await));
    assert!(about(began.elapsed(), 10), "{:?}", began.elapsed());
    let counts = subject.counts().await;
    assert_eq!((counts.stale_served, counts.load_failures), (1, 1));
}

#[actix::test]
async fn a_load_within_50_ms_is_not_served_stale() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    subject.disable("a");
    subject.time.passes(10_000).await;
    subject.table.takes.set(Duration::from_millis(45));
    assert!(!enabled(subject.lookup("a").await));
    assert_eq!(subject.counts().await.stale_served, 0);
}

#[actix::test]
async fn nothing_is_served_beyond_ttl_and_stale_if_error() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    subject.table.down.set(true);
    subject.table.outage_known.set(true);
    subject.time.passes(69_999).await;
    assert!(found(subject.lookup("a").await));
    subject.time.passes(1).await;
    assert!(unavailable(subject.lookup("a").await));
    assert_eq!(subject.counts().await.entries, 0);
}

#[actix::test]
async fn a_load_that_began_within_stale_if_error_serves_nothing_beyond_it() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    subject.time.passes(69_990).await;
    subject.table.takes.set(Duration::from_millis(100));
    subject.table.down.set(true);
    // After 50 ms, while the load goes on.
    assert!(found(subject.lookup("a").await));
    subject.time.passes(10).await;
    assert!(unavailable(subject.lookup("a").await));
    assert_eq!((subject.loads(), subject.counts().await.stale_served), (2, 1));
}

#[actix::test]
async fn a_client_deleted_before_its_entry_is_loaded_again_is_absent() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    subject.table.rows.borrow_mut().clear();
    subject.time.passes(10_000).await;
    assert!(absent(subject.lookup("a").await));
    let counts = subject.counts().await;
    assert_eq!((counts.entries, counts.negative_entries), (0, 1));
}

#[actix::test]
async fn after_invalidate_is_acknowledged_no_older_version_is_served() {
    let subject = subject(&["a", "b"]);
    assert!(enabled(subject.lookup("a").await) && enabled(subject.lookup("b").await));
    subject.disable("a");
    subject.disable("b");
    subject.cache.send(Invalidate(id("a"))).await.unwrap();
    assert!(!enabled(subject.lookup("a").await));
    assert!(
        enabled(subject.lookup("b").await),
        "only the given client is invalidated"
    );
    assert_eq!(subject.counts().await.invalidations, 1);
}

#[actix::test]
async fn a_load_overtaken_by_an_invalidation_is_repeated_for_its_waiters() {
    let subject = subject(&["a"]);
    subject.table.takes.set(Duration::from_millis(20));
    let invalidation = async {
        subject.time.passes(10).await;
        subject.disable("a");
        subject.cache.send(Invalidate(id("a"))).await.unwrap();
        subject.lookup("a").await
    };
    let (before, after) = join(subject.lookup("a"), invalidation).await;
    assert!(!enabled(before) && !enabled(after));
    assert!(
        !enabled(subject.lookup("a").await),
        "the outdated client was not cached"
    );
    assert_eq!(subject.loads(), 2);
}

#[actix::test]
async fn a_load_overtaken_by_a_clear_is_repeated() {
    let subject = subject(&["a"]);
    subject.table.takes.set(Duration::from_millis(20));
    let clear = async {
        subject.time.passes(10).await;
        subject.disable("a");
        subject.cache.send(Clear).await.unwrap();
    };
    let (answer, ()) = join(subject.lookup("a"), clear).await;
    assert!(!enabled(answer));
    assert!(!enabled(subject.lookup("a").await));
    assert_eq!(subject.loads(), 2);
}

#[actix::test]
async fn an_invalidated_entry_is_not_served_stale() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    subject.time.passes(10_000).await;
    subject.table.takes.set(Duration::from_millis(100));
    subject.table.down.set(true);
    let invalidation = async {
        subject.time.passes(10).await;
        subject.cache.send(Invalidate(id("a"))).await.unwrap();
    };
    let (answer, ()) = join(subject.lookup("a"), invalidation).await;
    assert!(unavailable(answer));
    assert_eq!(subject.counts().await.stale_served, 0);
}

#[actix::test]
async fn clear_forgets_clients_and_unknown_ids() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await) && absent(subject.lookup("unknown").await));
    subject.cache.send(Clear).await.unwrap();
    let counts = subject.counts().await;
    assert_eq!(
        (counts.entries, counts.negative_entries, counts.invalidations),
        (0, 0, 1)
    );
    assert!(found(subject.lookup("a").await));
    assert_eq!(subject.loads(), 3);
}

#[actix::test]
async fn an_invalidation_returns_when_every_cache_has_forgotten_the_client() {
    let subject = subject(&["a"]);
    let caches = ClientCaches::default();
    let all: Vec<ClientCacheHandle> = (0..3).map(|_| cache_over(&subject.table, |_| {})).collect();
    all.iter().for_each(|cache| caches.add(cache.clone()));
    for cache in &all {
        assert!(enabled(cache.lookup(id("a"), subject.time.clock.now()).await));
    }
    subject.disable("a");
    caches.invalidate(&id("a")).await;
    let counts = caches.stats().await;
    assert_eq!(
        counts
            .iter()
            .map(|count| (count.invalidations, count.entries))
            .collect::<Vec<_>>(),
        [(1, 0); 3]
    );
    for cache in &all {
        assert!(!enabled(cache.lookup(id("a"), subject.time.clock.now()).await));
    }
}

#[actix::test]
async fn clear_and_warm_reach_every_cache() {
    let subject = subject(&["a"]);
    let caches = ClientCaches::default();
    (0..3).for_each(|_| caches.add(cache_over(&subject.table, |_| {})));
    let warm = vec![Arc::new(client("a")), Arc::new(client("b"))];
    caches.warm(warm, subject.time.clock.now()).await;
    assert!(caches.stats().await.iter().all(|count| count.entries == 2));
    caches.clear().await;
    assert!(caches.stats().await.iter().all(|count| count.entries == 0));
    assert_eq!(caches.count(), 3);
}

#[actix::test]
async fn warm_clients_are_hits_and_the_least_recently_used_are_evicted() {
    let subject = subject(&[]);
    let clients = ["a", "b", "c", "d"].map(|text| Arc::new(client(text))).to_vec();
    let loaded_at = subject.time.clock.now();
    subject.cache.send(Warm { clients, loaded_at }).await.unwrap();
    for text in ["b", "c", "d"] {
        assert!(found(subject.lookup(text).await));
    }
    let counts = subject.counts().await;
    assert_eq!((counts.hits, counts.evictions, subject.loads()), (3, 1, 0));
    assert!(absent(subject.lookup("a").await));
}

#[actix::test]
async fn the_age_of_a_warm_client_starts_when_it_was_read() {
    let subject = subject(&["a"]);
    let warm = Warm {
        clients: vec![Arc::new(client("a"))],
        loaded_at: subject.time.clock.now(),
    };
    subject.time.passes(10_000).await;
    subject.cache.send(warm).await.unwrap();
    assert!(found(subject.lookup("a").await));
    assert_eq!(subject.loads(), 1);
}

#[actix::test]
async fn the_least_recently_used_client_is_evicted() {
    let subject = subject(&["a", "b", "c", "d"]);
    for text in ["a", "b", "c", "a", "d"] {
        assert!(found(subject.lookup(text).await));
    }
    let counts = subject.counts().await;
    assert_eq!((counts.entries, counts.evictions), (3, 1));
    for text in ["a", "c", "d"] {
        assert!(found(subject.lookup(text).await));
    }
    assert_eq!(subject.loads(), 4, "only b was evicted");
}

#[actix::test]
async fn there_are_never_more_entries_than_the_capacity() {
    let subject = subject(&[]);
    for n in 0..50 {
        let text = format!("client {n}");
        subject.table.insert(client(&text));
        assert!(found(subject.lookup(&text).await));
        assert!(subject.counts().await.entries <= 3);
    }
    assert_eq!(subject.counts().await.evictions, 47);
}

#[actix::test]
async fn loading_an_entry_again_evicts_no_client() {
    let subject = subject(&["a", "b", "c"]);
    for _ in 0..3 {
        for text in ["a", "b", "c"] {
            assert!(found(subject.lookup(text).await));
        }
        subject.time.passes(10_000).await;
    }
    assert_eq!((subject.loads(), subject.counts().await.evictions), (9, 0));
}

#[actix::test]
async fn a_disabled_cache_reads_the_database_each_time() {
    let subject = subject_with(&["a"], |settings| settings.enabled = false);
    for _ in 0..3 {
        assert!(found(subject.lookup("a").await));
        assert!(absent(subject.lookup("unknown").await));
    }
    let warm = Warm {
        clients: vec![Arc::new(client("b"))],
        loaded_at: subject.time.clock.now(),
    };
    subject.cache.send(warm).await.unwrap();
    let counts = subject.counts().await;
    assert_eq!((subject.loads(), counts.misses, counts.hits), (6, 6, 0));
    assert_eq!((counts.entries, counts.negative_entries), (0, 0));
    subject.table.down.set(true);
    assert!(unavailable(subject.lookup("a").await));
}

#[actix::test]
async fn the_number_of_concurrent_loads_is_bounded() {
    let subject = subject(&["a"]);
    subject.table.takes.set(Duration::from_secs(1));
    let texts: Vec<String> = (0..1024).map(|n| format!("unknown {n}")).collect();
    let strangers = join_all(texts.iter().map(|text| subject.lookup(text)));
    let one_more = async {
        subject.time.passes(1).await;
        let began = Instant::now();
        assert!(unavailable(subject.lookup("a").await));
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(
            absent(subject.lookup("unknown 7").await),
            "joining a running load needs no capacity"
        );
    };
    let (strangers, ()) = join(strangers, one_more).await;
    assert!(strangers.into_iter().all(absent));
    assert_eq!(subject.loads(), 1024);
    assert!(found(subject.lookup("a").await));
}

#[actix::test]
async fn a_stale_entry_is_served_when_too_many_loads_are_running() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    subject.time.passes(10_000).await;
    subject.table.takes.set(Duration::from_secs(1));
    let texts: Vec<String> = (0..1024).map(|n| format!("unknown {n}")).collect();
    let strangers = join_all(texts.iter().map(|text| subject.lookup(text)));
    let one_more = async {
        subject.time.passes(1).await;
        subject.lookup("a").await
    };
    let (_, answer) = join(strangers, one_more).await;
    assert!(found(answer));
    assert_eq!(subject.counts().await.stale_served, 1);
}

#[actix::test]
async fn a_new_ttl_applies_from_the_next_lookup_on() {
    let subject = subject(&["a"]);
    assert!(found(subject.lookup("a").await));
    subject.time.passes(2_000).await;
    let shorter = config::Cache {
        ttl: config::Duration::seconds(2),
        ..Default::default()
    };
    subject.cache.send(Tune(Lifetimes::from(&shorter))).await.unwrap();
    assert!(found(subject.lookup("a").await));
    assert_eq!((subject.loads(), subject.counts().await.expirations), (2, 1));
}

fn peers_with(clients: &[&str], loaded_at: UnixMillis) -> Rc<Peers> {
    let peers = Rc::new(Peers::default());
    for text in clients {
        let known = (client(text), loaded_at);
        peers.known.borrow_mut().insert((*text).to_owned(), known);
    }
    peers
}

#[actix::test]
async fn a_client_from_a_peer_needs_no_load() {
    let peers = peers_with(&["a"], NOW);
    let subject = subject_among(&peers, &[], |_| {});
    let (first, second) = join(subject.lookup("a"), subject.lookup("a")).await;
    assert!(found(first) && found(second) && found(subject.lookup("a").await));
    assert_eq!((peers.asked.get(), subject.loads()), (1, 0));
    let counts = subject.counts().await;
    assert_eq!((counts.misses, counts.hits, counts.loads, counts.entries), (2, 1, 0, 1));
}

#[actix::test]
async fn a_client_without_a_peer_that_has_it_is_loaded() {
    let peers = peers_with(&[], NOW);
    let subject = subject_among(&peers, &["a"], |_| {});
    assert!(found(subject.lookup("a").await) && absent(subject.lookup("b").await));
    assert_eq!((peers.asked.get(), subject.loads()), (2, 2));
    assert!(absent(subject.lookup("b").await));
    assert_eq!(peers.asked.get(), 2);
}

#[actix::test]
async fn a_client_from_a_peer_keeps_its_age() {
    let peers = peers_with(&["a"], UnixMillis(NOW.0 - 9_000));
    let subject = subject_among(&peers, &["a"], |_| {});
    assert!(found(subject.lookup("a").await));
    subject.time.passes(999).await;
    assert!(found(subject.lookup("a").await));
    assert_eq!(peers.asked.get(), 1);
    subject.time.passes(1).await;
    peers.known.borrow_mut().clear();
    assert!(found(subject.lookup("a").await));
    assert_eq!((peers.asked.get(), subject.loads()), (2, 1));
}

#[actix::test]
async fn a_client_from_a_peer_overtaken_by_an_invalidation_is_looked_up_again() {
    let peers = peers_with(&["a"], NOW);
    peers.takes.set(Duration::from_millis(15));
    let subject = subject_among(&peers, &["a"], |_| {});
    subject.disable("a");
    let invalidation = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        // The caller of an invalidation has marked the client dirty, so no peer is used.
        peers.known.borrow_mut().clear();
        subject.cache.send(Invalidate(id("a"))).await.unwrap();
    };
    let (answer, ()) = join(subject.lookup("a"), invalidation).await;
    assert!(!enabled(answer));
    assert_eq!((peers.asked.get(), subject.loads()), (2, 1));
}

#[actix::test]
async fn without_a_cache_peers_are_not_used() {
    let peers = peers_with(&["a"], NOW);
    let subject = subject_among(&peers, &["a"], |cache| cache.enabled = false);
    assert!(found(subject.lookup("a").await));
    assert_eq!((peers.asked.get(), subject.loads()), (0, 1));
}

#[actix::test]
async fn a_client_changed_by_this_instance_is_not_usable_from_a_peer_until_the_log_is_read() {
    let subject = subject(&["a"]);
    let caches = ClientCaches::default();
    caches.add(subject.cache.clone());
    let since = Instant::now();
    caches.freshness().begin(1, &RecentChanges::default());
    caches.freshness().reach(1, since);
    caches.forget(&id("a")).await;
    let is_usable = |text| caches.freshness().is_usable(&id(text), since);
    assert!(is_usable("a"));
    caches.invalidate(&id("a")).await;
    assert!(!is_usable("a") && is_usable("b"));
}
