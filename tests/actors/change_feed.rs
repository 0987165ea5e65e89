//! ChangeFeed: changes of other processes reach the caches and the key ring of this one.

use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr};
use diesel::RunQueryDsl;
use mintage::actors::change_feed::{ChangeFeed, LocalState, PollNow};
use mintage::actors::client_cache::{CacheCounts, ClientCache, ClientCacheHandle, ClientCaches};
use mintage::cluster::feed_lag::FeedLag;
use mintage::config;
use mintage::db::changes::{self, Change};
use mintage::db::{Db, clients, revocations, signing_keys};
use mintage::keys::{KeyStore, SigningKey};
use mintage::oauth::activity::{InvalidatedToken, RevocationCheck};
use mintage::oauth::alg::Alg;
use mintage::oauth::client::ClientId;
use mintage::peers::Peers;
use mintage::revocation::Revocations;
use mintage::unavailable::Unavailable;
use testkit::sample::{NOW, client, id};
use testkit::sqlite::Sqlite;
use testkit::time::Time;
use tokio::time::Instant;

use crate::{migrated, open};

/// A feed with two caches, and a database with the clients `a` and `b`.
struct Subject {
    time: Time,
    sqlite: Sqlite,
    caches: Vec<ClientCacheHandle>,
    local: LocalState,
    feed: Addr<ChangeFeed>,
}

fn subject() -> Subject {
    let sqlite = migrated();
    let db = open(&sqlite);
    for text in ["a", "b"] {
        db.run_here(|conn| clients::insert(conn, &client(text))).unwrap();
    }
    let seen = db.run_here(changes::last).unwrap();
    subject_on(sqlite, db, seen)
}

fn subject_on(sqlite: Sqlite, db: Db, seen: i64) -> Subject {
    let time = Time::paused();
    let local = LocalState {
        caches: ClientCaches::default(),
        revocations: Revocations::new(db.clone()),
        keys: KeyStore::default(),
        routes: Default::default(),
        key_encryption_key: None,
        feed_lag: FeedLag::default(),
    };
    let caches: Vec<ClientCacheHandle> = (0..2).map(|_| cache_over(&db)).collect();
    caches.iter().for_each(|cache| local.caches.add(cache.clone()));
    let feed = ChangeFeed::new(db, time.clock.clone(), local.clone(), seen).start();
    Subject {
        time,
        sqlite,
        caches,
        local,
        feed,
    }
}

/// As [`subject`], with an unreachable Redis; and the database handle of the feed.
fn subject_among_peers() -> (Subject, Db) {
    let mut subject = subject();
    let db = open(&subject.sqlite);
    let seen = db.run_here(changes::last).unwrap();
    let peers = Peers::at("redis://127.0.0.1:1", None).unwrap();
    let feed = ChangeFeed::new(db.clone(), subject.time.clock.clone(), subject.local.clone(), seen);
    subject.feed = feed.with_peers(peers).start();
    (subject, db)
}

fn cache_over(db: &Db) -> ClientCacheHandle {
    let db = db.clone();
    let load = Rc::new(move |id: ClientId| {
        let db = db.clone();
        let loading: futures_util::future::LocalBoxFuture<'static, _> =
            Box::pin(async move { db.run(move |conn| clients::find(conn, &id)).await });
        loading
    });
    ClientCacheHandle::start(ClientCache::new(&config::Cache::default(), load, Rc::new(|| false)))
}

impl Subject {
    /// Whether the client is enabled, according to each cache.
    async fn enabled(&self, text: &str) -> Vec<bool> {
        let mut answers = Vec::new();
        for cache in &self.caches {
            let answer = cache.lookup(id(text), self.time.clock.now()).await;
            answers.push(answer.unwrap().is_some_and(|client| client.enabled));
        }
        answers
    }

    async fn counts(&self) -> Vec<CacheCounts> {
        self.local.caches.stats().await
    }

    async fn poll(&self) -> Result<(), Unavailable> {
        self.feed.send(PollNow).await.unwrap()
    }

    /// Disables a client like another process, with a separate connection.
    fn elsewhere_disable(&self, text: &str) {
        let disable = |conn: &mut _| testkit::sample::set_enabled(conn, &id(text), false, NOW);
        assert!(open(&self.sqlite).run_here(disable).unwrap());
    }

    fn elsewhere_append(&self, change: Change) {
        let append = |conn: &mut _| changes::append(conn, &change, NOW);
        open(&self.sqlite).run_here(append).unwrap();
    }
}

#[actix::test]
async fn a_change_of_another_process_is_applied_within_a_second() {
    let subject = subject();
    assert_eq!(subject.enabled("a").await, [true, true]);
    subject.elsewhere_disable("a");
    assert_eq!(subject.enabled("a").await, [true, true]);
    subject.time.passes(999).await;
    assert_eq!(subject.enabled("a").await, [false, false]);
}

#[actix::test]
async fn the_log_is_polled_about_every_250_ms() {
    let subject = subject();
    for _ in 0..4 {
        subject.elsewhere_disable("a");
        subject.time.passes(300).await;
    }
    let invalidations: Vec<u64> = subject.counts().await.iter().map(|count| count.invalidations).collect();
    assert_eq!(invalidations, [4, 4]);
    let last = subject.local.feed_lag.age().unwrap();
    assert!(last <= Duration::from_millis(280), "{last:?}");
}

#[actix::test]
async fn poll_now_returns_when_the_changes_are_applied() {
    let subject = subject();
    assert_eq!(subject.enabled("a").await, [true, true]);
    subject.elsewhere_disable("a");
    let began = Instant::now();
    assert_eq!(subject.poll().await, Ok(()));
    assert!(began.elapsed() < Duration::from_millis(200));
    assert_eq!(subject.enabled("a").await, [false, false]);
}

#[actix::test]
async fn only_the_changed_client_is_forgotten() {
    let subject = subject();
    assert_eq!(subject.enabled("a").await, [true, true]);
    assert_eq!(subject.enabled("b").await, [true, true]);
    subject.elsewhere_disable("a");
    subject.poll().await.unwrap();
    assert!(subject.counts().await.iter().all(|count| count.entries == 1));
}

#[actix::test]
async fn a_change_is_applied_once() {
    let subject = subject();
    subject.elsewhere_disable("a");
    for _ in 0..3 {
        subject.poll().await.unwrap();
    }
    assert!(subject.counts().await.iter().all(|count| count.invalidations == 1));
}

#[actix::test]
async fn a_client_created_by_another_process_is_visible() {
    let subject = subject();
    assert_eq!(subject.enabled("new").await, [false, false]);
    let insert = |conn: &mut _| clients::insert(conn, &client("new"));
    open(&subject.sqlite).run_here(insert).unwrap();
    subject.poll().await.unwrap();
    assert_eq!(subject.enabled("new").await, [true, true]);
}

#[actix::test]
async fn a_change_of_the_keys_reloads_the_key_ring() {
    let subject = subject();
    assert!(subject.local.keys.ring().is_none());
    let generate = |alg| Ok(SigningKey::generate(alg, NOW, None).unwrap());
    let complete = |conn: &mut _| signing_keys::complete(conn, NOW, None, generate);
    let stored = open(&subject.sqlite).run_here(complete).unwrap();
    subject.poll().await.unwrap();
    let ring = subject.local.keys.ring().unwrap();
    assert_eq!(ring.keys().len(), stored.keys.len());
    assert!(Alg::ALL.into_iter().all(|alg| ring.signer(alg, NOW).is_some()));
}

#[actix::test]
async fn an_unknown_kind_of_change_clears_every_cache() {
    let subject = subject();
    assert_eq!(subject.enabled("a").await, [true, true]);
    assert_eq!(subject.enabled("b").await, [true, true]);
    subject.elsewhere_append(Change::Unknown);
    subject.poll().await.unwrap();
    assert!(subject.counts().await.iter().all(|count| count.entries == 0));
    assert!(subject.local.keys.ring().is_some());
}

#[actix::test]
async fn a_long_log_is_read_to_its_end() {
    let subject = subject();
    let many = |conn: &mut mintage::db::Conn| {
        conn.write(|conn| (0..2100).try_for_each(|_| changes::append(conn, &Change::Client(id("a")), NOW)))
    };
    open(&subject.sqlite).run_here(many).unwrap();
    subject.poll().await.unwrap();
    assert!(
        subject
            .counts()
            .await
            .iter()
            .all(|count| (1..=3).contains(&count.invalidations))
    );
}

#[actix::test]
async fn without_a_database_poll_now_is_unavailable_and_the_feed_recovers() {
    let sqlite = Sqlite::empty();
    let db = open(&sqlite);
    let subject = subject_on(sqlite, db, 0);
    assert_eq!(subject.poll().await, Err(Unavailable));
    assert_eq!(subject.local.feed_lag.age(), None);
    subject.time.passes(1000).await;
    let migrate = |conn: &mut _| mintage::db::migrations::up(conn);
    open(&subject.sqlite).run_here(migrate).unwrap();
    // Long enough for the breaker to close again.
    subject.time.passes(20_000).await;
    assert!(subject.local.feed_lag.age().is_some());
}

/// The janitor removes log lines that are an hour old, so a feed interrupted for longer never reads
/// them.
#[actix::test]
async fn g2_a_feed_that_was_interrupted_for_long_reloads_everything() {
    let subject = subject();
    assert_eq!(subject.enabled("a").await, [true, true]);
    subject.poll().await.unwrap();
    subject.elsewhere_disable("a");
    let spent = InvalidatedToken {
        jti: testkit::sample::claims("a", 1).jti,
        expires_at: NOW.seconds() + 60,
    };
    let elsewhere = open(&subject.sqlite);
    elsewhere
        .run_here(|conn| revocations::revoke(conn, spent, NOW))
        .unwrap();
    // The line read last stays, so that the feed can detect the gap only by the time.
    elsewhere
        .run_here(|conn| {
            let removed = "DELETE FROM changes WHERE seq > (SELECT min(seq) + 1 FROM changes)";
            Ok(diesel::sql_query(removed).execute(conn)?)
        })
        .unwrap();
    assert_eq!(subject.poll().await, Ok(()));
    assert_eq!(
        subject.enabled("a").await,
        [true, true],
        "the line of its change is gone"
    );
    tokio::time::advance(Duration::from_secs(1900)).await;
    assert_eq!(subject.poll().await, Ok(()));
    assert_eq!(subject.enabled("a").await, [false, false]);
    assert!(subject.local.revocations.is_invalidated(&spent.jti));
    assert!(subject.local.revocations.client_status("a").disabled);
}

/// The database was replaced by a backup, or by a replica that lacks the last commits: numbers are
/// assigned again.
#[actix::test]
async fn g2_a_feed_whose_last_line_is_gone_reloads_everything() {
    let subject = subject();
    assert_eq!(subject.enabled("a").await, [true, true]);
    subject.poll().await.unwrap();
    subject.elsewhere_disable("a");
    let restore = "UPDATE changes SET seq = seq - 2 WHERE seq > 1";
    let restored = |conn: &mut mintage::db::Conn| {
        diesel::sql_query("DELETE FROM changes WHERE seq = 1").execute(conn)?;
        Ok(diesel::sql_query(restore).execute(conn)?)
    };
    open(&subject.sqlite).run_here(restored).unwrap();
    assert_eq!(subject.poll().await, Ok(()));
    assert_eq!(subject.enabled("a").await, [false, false]);
    assert!(subject.local.revocations.client_status("a").disabled);
    subject.elsewhere_disable("b");
    assert_eq!(subject.poll().await, Ok(()));
    assert_eq!(
        subject.enabled("b").await,
        [false, false],
        "the feed continues from there"
    );
}

#[actix::test]
async fn g2_a_line_committed_after_a_higher_number_is_applied() {
    let subject = subject();
    assert_eq!(subject.enabled("a").await, [true, true]);
    subject.poll().await.unwrap();
    let passed_over = |conn: &mut mintage::db::Conn| {
        let line = "INSERT INTO changes (seq, kind, subject, at_ms) VALUES (9, 'client', 'b', 1)";
        Ok(diesel::sql_query(line).execute(conn)?)
    };
    open(&subject.sqlite).run_here(passed_over).unwrap();
    subject.poll().await.unwrap();
    subject.elsewhere_disable("a");
    let late = |conn: &mut mintage::db::Conn| {
        Ok(diesel::sql_query("UPDATE changes SET seq = 5 WHERE seq = 10").execute(conn)?)
    };
    open(&subject.sqlite).run_here(late).unwrap();
    subject.poll().await.unwrap();
    assert_eq!(subject.enabled("a").await, [false, false]);
}

#[actix::test]
async fn with_peers_a_write_of_this_instance_triggers_a_poll() {
    let (subject, db) = subject_among_peers();
    subject.time.passes(100).await;
    let age = || subject.local.feed_lag.age();
    assert_eq!(age(), None);
    db.has_written();
    subject.time.passes(5).await;
    assert!(age().is_some(), "not polled before the next regular poll");
}

#[actix::test]
async fn writes_trigger_at_most_fifty_additional_polls_per_second() {
    let (subject, db) = subject_among_peers();
    subject.time.passes(10).await;
    let statements = || db.stats().primary.statements_total;
    let before = statements();
    subject.feed.send(PollNow).await.unwrap().unwrap();
    let by_one_poll = statements() - before;
    let (before, began) = (statements(), Instant::now());
    for _ in 0..1000 {
        db.has_written();
        subject.time.passes(1).await;
    }
    let triggered = (statements() - before) / by_one_poll;
    // The regular polls come in addition.
    let polls = |apart: u64| began.elapsed().as_millis() as u64 / apart + 1;
    assert!((polls(40)..=polls(20) + polls(225)).contains(&triggered), "{triggered}");
}
