//! What instances on one database tell one another through Redis, to be quicker. The only module that knows Redis.
//!
//! Nothing here is ever needed: an instance that receives nothing polls the change log and asks the database, as one
//! without Redis does. So nothing here is waited for longer than a moment, nothing that comes from there is believed
//! without proof, and every failure is the same as silence. Three things are told:
//! - "the change log has come as far as this number" (`subscription`): whoever receives it reads the log at once;
//! - clients, encrypted (`encryption`, `shared_client`): whether one may be used is for `clients/peer_cache` to judge;
//! - failed authentications (`failures`): how full a bucket is over all instances.

mod connection;
mod encryption;
mod failures;
mod queue;
mod shared_client;
mod subscription;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::oauth::client::ClientId;
use crate::throttle::Failure;
use connection::{Connection, lock};
use encryption::DeploymentKeys;
use queue::Job;
use subscription::Announcements;

pub use shared_client::SharedClient;

/// The peers of this instance; a clone knows the same ones. Without `redis.url` it knows none and does nothing.
#[derive(Clone, Default)]
pub struct Peers(Option<Arc<Inner>>);

/// `redis.url` cannot be used; it is not shown, because there may be a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUrl;

struct Inner {
    client: redis::Client,
    /// `keys.encryption_key`, if there is one: whoever has only the database cannot forge then.
    encryption_key: Option<Zeroizing<[u8; 32]>>,
    /// What is derived from the deployment's secret; unknown until the database has told it.
    keys: OnceLock<DeploymentKeys>,
    connection: Connection,
    announcements: Announcements,
    queue: mpsc::Sender<Job>,
    /// Taken by whoever empties it.
    jobs: Mutex<Option<mpsc::Receiver<Job>>>,
    counts: Counts,
}

/// What is counted here.
#[derive(Default)]
struct Counts {
    published: AtomicU64,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
    dropped: AtomicU64,
}

/// How it goes with Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisStats {
    /// Whether it answers, and announcements come in.
    pub up: bool,
    /// Connections and commands that failed or took too long.
    pub errors: u64,
    /// Announcements sent.
    pub published: u64,
    /// Announcements received, those of this instance included.
    pub received: u64,
    /// Clients that were taken from there.
    pub cache_hits: u64,
    /// Clients that were asked for there and then loaded from the database.
    pub cache_misses: u64,
    /// What was not told because too much waited.
    pub dropped: u64,
}

/// What waits to be told. A job is 1 KB or so, and Redis takes thousands a second: past this it does not answer.
const MAX_JOBS: usize = 1024;

impl Peers {
    /// For `redis.url`, without connecting. `encryption_key` is `keys.encryption_key`.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn at(url: &str, encryption_key: Option<Zeroizing<[u8; 32]>>) -> Result<Self, BadUrl> {
        if url.is_empty() {
            return Ok(Self::default());
        }
        let client = redis::Client::open(url).map_err(|_| BadUrl)?;
        let (queue, jobs) = mpsc::channel(MAX_JOBS);
        Ok(Self(Some(Arc::new(Inner {
            client,
            encryption_key,
            keys: OnceLock::new(),
            connection: Connection::default(),
            announcements: Announcements::default(),
            queue,
            jobs: Mutex::new(Some(jobs)),
            counts: Counts::default(),
        }))))
    }

    /// Whether there is a Redis to tell them anything through.
    pub fn are_configured(&self) -> bool {
        self.0.is_some()
    }

    /// Begins to connect and to listen, as an instance of the deployment with this secret whose caches know the change log
    /// up to number `read`. Does so once.
    pub fn join(&self, secret: &[u8; 32], read: i64) {
        let Some(inner) = &self.0 else { return };
        let keys = DeploymentKeys::derive(secret, inner.encryption_key.as_deref());
        if inner.keys.set(keys).is_err() {
            return;
        }
        inner.announcements.begin(read);
        let of = inner.clone();
        tokio::spawn(async move { connection::keep_up(&of.client, &of.connection).await });
        let of = inner.clone();
        tokio::spawn(async move {
            subscription::listen(&of.client, of.channel(), &of.announcements, &of.connection).await;
        });
        let of = inner.clone();
        tokio::spawn(async move {
            let announced = of.announcements.announced();
            queue::announce(&of.connection, of.channel(), announced, &of.counts.published).await;
        });
        if let Some(jobs) = lock(&inner.jobs).take() {
            let of = inner.clone();
            tokio::spawn(async move { queue::run(&of.connection, jobs).await });
        }
    }

    /// This instance has appended to the change log, so there is a number after the last that it has read: says so at once.
    /// Which number it is, the next poll will tell.
    pub fn has_written(&self) {
        if let Some(inner) = &self.0 {
            inner.announcements.has_written();
        }
    }

    /// This instance has read the change log up to this number, which others may want to know; does not wait.
    pub fn has_read(&self, number: i64) {
        if let Some(inner) = &self.0 {
            inner.announcements.has_read(number);
        }
    }

    /// The change log is another one, which ends at `last`: numbers of the old one say nothing about it.
    pub fn begin_in_another_log(&self, last: i64) {
        if let Some(inner) = &self.0 {
            inner.announcements.begin_in_another_log(last);
        }
    }

    /// Waits until there is reason to read the change log now. One waits at a time, and any number of reasons are one.
    pub async fn woken(&self) {
        match &self.0 {
            Some(inner) => inner.announcements.woken().await,
            None => std::future::pending().await,
        }
    }

    /// Since when every announcement has been received; `None` while some may not be.
    pub fn listening_since(&self) -> Option<Instant> {
        self.0.as_ref()?.announcements.listening_since()
    }

    /// The client as a peer knows it. `None` is "ask the database"; it comes within 20 ms.
    pub async fn client(&self, id: &ClientId) -> Option<SharedClient> {
        let inner = self.0.as_ref()?;
        let keys = inner.keys.get()?;
        let mut get = redis::cmd("GET");
        get.arg(keys.client_name(id));
        let value: Option<Vec<u8>> = inner.connection.quickly(&get).await?;
        shared_client::decrypt(keys, id, &value?)
    }

    /// Counts whether a client could be taken from a peer.
    pub fn count_shared(&self, found: bool) {
        let Some(inner) = &self.0 else { return };
        let counts = &inner.counts;
        let count = if found {
            &counts.cache_hits
        } else {
            &counts.cache_misses
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells peers of a client, for as long as `ttl`; does not wait.
    pub fn share(&self, shared: &SharedClient, ttl: Duration) {
        let Some((inner, keys)) = self.joined() else { return };
        if let Some(value) = shared_client::encrypt(keys, shared) {
            let name = keys.client_name(&shared.client.id);
            inner.send(Job::Keep { name, value, ttl });
        }
    }

    /// Adds a failed authentication to buckets that all instances share; answers how full they are now, each as the time in
    /// which it drains. `None` when Redis does not say.
    pub async fn count_failure(&self, failures: Vec<Failure>) -> Option<Vec<Duration>> {
        let (inner, keys) = self.joined()?;
        let names = failures.iter().map(|failure| keys.bucket_name(failure)).collect();
        let (answer, answered) = tokio::sync::oneshot::channel();
        inner.send(Job::Count {
            names,
            failures,
            answer,
        });
        answered.await.ok()
    }

    /// The figures for `/metrics`; `None` without Redis.
    pub fn stats(&self) -> Option<RedisStats> {
        let inner = self.0.as_ref()?;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Some(RedisStats {
            up: inner.connection.is_up() && self.listening_since().is_some(),
            errors: inner.connection.errors(),
            published: count(&inner.counts.published),
            received: inner.announcements.count(),
            cache_hits: count(&inner.counts.cache_hits),
            cache_misses: count(&inner.counts.cache_misses),
            dropped: count(&inner.counts.dropped),
        })
    }

    fn joined(&self) -> Option<(&Arc<Inner>, &DeploymentKeys)> {
        let inner = self.0.as_ref()?;
        Some((inner, inner.keys.get()?))
    }
}

impl Inner {
    /// Puts a job into the queue, if there is room and anybody to take it.
    fn send(&self, job: Job) {
        if !self.connection.is_up() || self.queue.try_send(job).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Where announcements go; nobody listens to the empty name, which is that of one who has not joined.
    fn channel(&self) -> &str {
        self.keys.get().map_or("", DeploymentKeys::channel)
    }
}

#[cfg(test)]
mod tests {
    use super::connection::backoff;
    use super::*;

    /// Peers of an instance that has joined and reaches nobody.
    fn joined(read: i64) -> Peers {
        let peers = Peers::at("redis://127.0.0.1:1", None).unwrap();
        peers.inner().announcements.begin(read);
        peers
    }

    impl Peers {
        fn inner(&self) -> &Inner {
            self.0.as_ref().unwrap()
        }

        fn announced(&self) -> i64 {
            *self.inner().announcements.announced().borrow()
        }

        /// Whether there is reason to read the log.
        async fn are_waking(&self) -> bool {
            tokio::time::timeout(Duration::ZERO, self.woken()).await.is_ok()
        }
    }

    #[tokio::test]
    async fn what_is_read_is_announced_unless_somebody_has_done_so() {
        let peers = joined(5);
        peers.has_read(5);
        assert_eq!(peers.announced(), 5);
        peers.has_read(6);
        assert_eq!(peers.announced(), 6);
        peers.inner().announcements.receive(9);
        peers.has_read(9);
        assert_eq!(peers.announced(), 6);
        peers.has_read(10);
        assert_eq!(peers.announced(), 10);
    }

    #[tokio::test]
    async fn what_is_written_is_announced_before_its_number_is_known_and_once_if_that_was_right() {
        let peers = joined(5);
        let mut announcements = peers.inner().announcements.announced();
        let mut told = || {
            announcements
                .has_changed()
                .unwrap()
                .then(|| *announcements.borrow_and_update())
        };
        peers.has_written();
        assert_eq!(told(), Some(6));
        peers.has_read(6);
        assert_eq!(told(), None);
        peers.has_written();
        assert_eq!(told(), Some(7));
        peers.has_read(9);
        assert_eq!(told(), Some(9));
        // What was written had been read already.
        peers.has_written();
        assert_eq!(told(), Some(10));
        peers.has_read(9);
        assert_eq!(told(), None);
        peers.has_read(10);
        assert_eq!(told(), Some(10));
    }

    #[tokio::test]
    async fn a_claim_beyond_the_log_silences_nobody() {
        let peers = joined(5);
        peers.inner().announcements.receive(i64::MAX);
        peers.has_read(5);
        peers.has_read(6);
        assert_eq!(peers.announced(), 6);
    }

    #[tokio::test]
    async fn only_news_is_a_reason_to_read_and_many_are_one() {
        let peers = joined(5);
        for number in [i64::MIN, 4, 5] {
            peers.inner().announcements.receive(number);
        }
        assert!(!peers.are_waking().await);
        for number in 6..1000 {
            peers.inner().announcements.receive(number);
        }
        assert!(peers.are_waking().await);
        assert!(!peers.are_waking().await);
        peers.has_read(1000);
        peers.inner().announcements.receive(1000);
        assert!(!peers.are_waking().await);
    }

    #[tokio::test]
    async fn without_redis_there_is_nobody() {
        let nobody = Peers::at("", None).unwrap();
        nobody.join(&[0; 32], 1);
        nobody.has_read(2);
        assert!(!nobody.are_configured() && !nobody.are_waking().await);
        assert!(nobody.client(&ClientId::parse("a").unwrap()).await.is_none());
        assert!(nobody.count_failure(Vec::new()).await.is_none());
        assert!(nobody.stats().is_none() && nobody.listening_since().is_none());
    }

    #[test]
    fn it_is_tried_again_ever_more_rarely_up_to_a_bound() {
        let milliseconds = |failures| backoff(failures).as_millis();
        for (failures, longest) in [(1, 100), (2, 200), (3, 400), (7, 5000), (u32::MAX, 5000)] {
            assert!((longest / 2..=longest).contains(&milliseconds(failures)), "{failures}");
        }
    }
}
