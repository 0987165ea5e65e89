//! Messages between the instances of one database, through Redis. The only module that knows Redis.
//!
//! Redis is an optimization. An instance that receives nothing polls the change log and reads the
//! database, like one without Redis. So no request waits for Redis for longer than a moment,
//! nothing from Redis is used without proof, and every failure is treated as absence. Instances
//! share:
//! - the number that the change log has reached (`subscription`): the receiver reads the log at
//!   once;
//! - clients, encrypted (`encryption`, `shared_client`): `clients/peer_cache` decides whether one
//!   may be used;
//! - failed authentications (`failures`): how full a bucket is across all instances.

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

use crate::mutex::lock;
use crate::oauth::client::ClientId;
use crate::throttle::Failure;
use connection::Connection;
use encryption::DeploymentKeys;
use queue::Job;
use subscription::Announcements;

pub use shared_client::SharedClient;

/// The peers of this instance. Clones share one state. Without `redis.url` there are none, and
/// every method does nothing.
#[derive(Clone, Default)]
pub struct Peers(Option<Arc<Inner>>);

/// `redis.url` is invalid. The URL is not included, because it may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUrl;

struct Inner {
    client: redis::Client,
    /// `keys.encryption_key`, if set. With it, access to the database alone is not enough to forge
    /// values.
    encryption_key: Option<Zeroizing<[u8; 32]>>,
    /// Keys derived from the deployment's secret; unset until the secret has been read from the
    /// database.
    keys: OnceLock<DeploymentKeys>,
    connection: Connection,
    announcements: Announcements,
    queue: mpsc::Sender<Job>,
    /// Taken by the task that processes the jobs.
    jobs: Mutex<Option<mpsc::Receiver<Job>>>,
    counts: Counts,
}

/// The counters.
#[derive(Default)]
struct Counts {
    published: AtomicU64,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
    dropped: AtomicU64,
}

/// The state of the Redis connection, and counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisStats {
    /// Whether Redis answers and the subscription is active.
    pub up: bool,
    /// Connections and commands that failed or timed out.
    pub errors: u64,
    /// Announcements published.
    pub published: u64,
    /// Announcements received, those of this instance included.
    pub received: u64,
    /// Clients used from Redis.
    pub cache_hits: u64,
    /// Clients looked up in Redis and then loaded from the database.
    pub cache_misses: u64,
    /// Messages dropped because the queue was full or Redis was down.
    pub dropped: u64,
}

/// The maximum number of queued jobs. A job takes about 1 KB, and Redis handles thousands per
/// second: a full queue means that Redis does not answer.
const MAX_JOBS: usize = 1024;

impl Peers {
    /// Creates the peers for `redis.url`, without connecting. An empty URL means no peers.
    /// `encryption_key` is `keys.encryption_key`.
    ///
    /// # Errors
    /// When the URL is invalid.
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

    /// Whether `redis.url` is set.
    pub fn are_configured(&self) -> bool {
        self.0.is_some()
    }

    /// Starts to connect and to listen, as an instance of the deployment with this secret, whose
    /// caches know the change log up to number `read`. Only the first call has an effect.
    pub fn join(&self, secret: &[u8; 32], read: i64) {
        let Some(inner) = &self.0 else { return };
        let keys = DeploymentKeys::derive(secret, inner.encryption_key.as_deref());
        if inner.keys.set(keys).is_err() {
            return;
        }
        inner.announcements.begin(read);
        let of = inner.clone();
        tokio::spawn(async move { connection::maintain(&of.client, &of.connection).await });
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

    /// This instance has appended to the change log, so there is a number after the last one it has
    /// read: announces that number at once. The next poll corrects it.
    pub fn has_written(&self) {
        if let Some(inner) = &self.0 {
            inner.announcements.has_written();
        }
    }

    /// This instance has read the change log up to this number: announces it unless a peer has done
    /// so. Does not wait.
    pub fn has_read(&self, number: i64) {
        if let Some(inner) = &self.0 {
            inner.announcements.has_read(number);
        }
    }

    /// The change log was replaced by another one, which ends at `last`. Numbers of the old log
    /// have no meaning in it.
    pub fn begin_in_another_log(&self, last: i64) {
        if let Some(inner) = &self.0 {
            inner.announcements.begin_in_another_log(last);
        }
    }

    /// Waits until the change log should be read. Supports one waiter; several announcements wake
    /// it once.
    pub async fn woken(&self) {
        match &self.0 {
            Some(inner) => inner.announcements.woken().await,
            None => std::future::pending().await,
        }
    }

    /// Since when every announcement has been received; `None` while some may be missed.
    pub fn listening_since(&self) -> Option<Instant> {
        self.0.as_ref()?.announcements.listening_since()
    }

    /// Looks a client up in Redis, within 20 ms. On `None` the caller reads the database.
    pub async fn client(&self, id: &ClientId) -> Option<SharedClient> {
        let inner = self.0.as_ref()?;
        let keys = inner.keys.get()?;
        let mut get = redis::cmd("GET");
        get.arg(keys.client_name(id));
        let value: Option<Vec<u8>> = inner.connection.lookup(&get).await?;
        shared_client::decrypt(keys, id, &value?)
    }

    /// Counts whether a client from a peer could be used.
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

    /// Shares a client with peers for `ttl`. Does not wait.
    pub fn share(&self, shared: &SharedClient, ttl: Duration) {
        let Some((inner, keys)) = self.joined() else { return };
        if let Some(value) = shared_client::encrypt(keys, shared) {
            let name = keys.client_name(&shared.client.id);
            inner.send(Job::Share { name, value, ttl });
        }
    }

    /// Adds a failed authentication to buckets that all instances share. Returns the level of each,
    /// as the time until it is empty; `None` when Redis does not answer.
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

    /// The values for `/metrics`; `None` without Redis.
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
    /// Queues a job. Drops it when the queue is full or Redis is down.
    fn send(&self, job: Job) {
        if !self.connection.is_up() || self.queue.try_send(job).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The channel for announcements; empty before the instance has joined.
    fn channel(&self) -> &str {
        self.keys.get().map_or("", DeploymentKeys::channel)
    }
}

#[cfg(test)]
mod tests {
    use super::connection::backoff;
    use super::*;

    /// The peers of an instance that has joined but cannot reach Redis.
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

        /// Whether the log should be read.
        async fn are_waking(&self) -> bool {
            tokio::time::timeout(Duration::ZERO, self.woken()).await.is_ok()
        }
    }

    #[tokio::test]
    async fn progress_is_announced_unless_a_peer_has_done_so() {
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
    async fn a_write_is_announced_before_its_number_is_known_and_only_once() {
        let peers = joined(5);
        let mut announcements = peers.inner().announcements.announced();
        let mut announced = || {
            announcements
                .has_changed()
                .unwrap()
                .then(|| *announcements.borrow_and_update())
        };
        peers.has_written();
        assert_eq!(announced(), Some(6));
        peers.has_read(6);
        assert_eq!(announced(), None);
        peers.has_written();
        assert_eq!(announced(), Some(7));
        peers.has_read(9);
        assert_eq!(announced(), Some(9));
        // The write had been read already.
        peers.has_written();
        assert_eq!(announced(), Some(10));
        peers.has_read(9);
        assert_eq!(announced(), None);
        peers.has_read(10);
        assert_eq!(announced(), Some(10));
    }

    #[tokio::test]
    async fn a_false_announcement_beyond_the_log_does_not_silence_an_instance() {
        let peers = joined(5);
        peers.inner().announcements.receive(i64::MAX);
        peers.has_read(5);
        peers.has_read(6);
        assert_eq!(peers.announced(), 6);
    }

    #[tokio::test]
    async fn only_a_new_number_wakes_the_reader_and_several_wake_it_once() {
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
    async fn without_redis_there_are_no_peers() {
        let peers = Peers::at("", None).unwrap();
        peers.join(&[0; 32], 1);
        peers.has_read(2);
        assert!(!peers.are_configured() && !peers.are_waking().await);
        assert!(peers.client(&ClientId::parse("a").unwrap()).await.is_none());
        assert!(peers.count_failure(Vec::new()).await.is_none());
        assert!(peers.stats().is_none() && peers.listening_since().is_none());
    }

    #[test]
    fn retries_have_increasing_pauses_up_to_a_bound() {
        let milliseconds = |failures| backoff(failures).as_millis();
        for (failures, longest) in [(1, 100), (2, 200), (3, 400), (7, 5000), (u32::MAX, 5000)] {
            assert!((longest / 2..=longest).contains(&milliseconds(failures)), "{failures}");
        }
    }
}
