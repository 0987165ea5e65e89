//! What instances on one database tell one another through Redis, to be quicker. The only room that knows Redis.
//!
//! Nothing here is ever needed: an instance that hears nothing polls the change log and asks the database, as one
//! without Redis does. So nothing here is waited for longer than a moment, nothing that comes from there is believed
//! without proof, and every failure is the same as silence. Three things are told:
//! - "the change log has come as far as this number" (`subscription`): whoever hears it reads the log at once;
//! - clients, sealed (`sealing`, `client_value`): whether one may be used is for `actors/shared_clients` to judge;
//! - failed authentications (`failures`): how full a bucket is over all instances.

mod client_value;
mod failures;
mod link;
mod outbox;
mod sealing;
mod subscription;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::oauth::client::ClientId;
use link::Link;
use outbox::Errand;
use sealing::Secrets;

pub use client_value::SharedClient;
pub use failures::{Bucket, Failure};

/// The siblings of this instance; a clone knows the same ones. Without `redis.url` it knows none and does nothing.
#[derive(Clone, Default)]
pub struct Siblings(Option<Arc<Inner>>);

/// `redis.url` cannot be used; it is not shown, because there may be a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadUrl;

struct Inner {
    client: redis::Client,
    /// `keys.encryption_key`, if there is one: whoever has only the database cannot forge then.
    encryption_key: Option<Zeroizing<[u8; 32]>>,
    /// What is derived from the deployment's secret; unknown until the database has told it.
    secrets: OnceLock<Secrets>,
    link: Link,
    /// The highest number that this instance has announced, or is about to.
    announced: watch::Sender<i64>,
    /// The highest number that this instance has read in the change log.
    read: AtomicI64,
    /// The highest number that others have announced, as far as the log has confirmed it.
    heard: AtomicI64,
    /// Rung when the log should be read now.
    nudge: Notify,
    /// Since when announcements come in; `None` while they do not.
    listening_since: Mutex<Option<Instant>>,
    outbox: mpsc::Sender<Errand>,
    /// Taken by whoever empties it.
    errands: Mutex<Option<mpsc::Receiver<Errand>>>,
    counts: Counts,
}

/// What is counted here.
#[derive(Default)]
struct Counts {
    errors: AtomicU64,
    published: AtomicU64,
    received: AtomicU64,
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
    /// Announcements heard, those of this instance included.
    pub received: u64,
    /// Clients that were taken from there.
    pub cache_hits: u64,
    /// Clients that were asked for there and then loaded from the database.
    pub cache_misses: u64,
    /// What was not told because too much waited.
    pub dropped: u64,
}

/// What waits to be told. An errand is 1 KB or so, and Redis takes thousands a second: past this it does not answer.
const OUTBOX: usize = 1024;

impl Siblings {
    /// For `redis.url`, without connecting. `encryption_key` is `keys.encryption_key`.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn at(url: &str, encryption_key: Option<Zeroizing<[u8; 32]>>) -> Result<Self, BadUrl> {
        if url.is_empty() {
            return Ok(Self::default());
        }
        let client = redis::Client::open(url).map_err(|_| BadUrl)?;
        let (outbox, errands) = mpsc::channel(OUTBOX);
        Ok(Self(Some(Arc::new(Inner {
            client,
            encryption_key,
            secrets: OnceLock::new(),
            link: Link::default(),
            announced: watch::Sender::new(0),
            read: AtomicI64::new(0),
            heard: AtomicI64::new(0),
            nudge: Notify::new(),
            listening_since: Mutex::default(),
            outbox,
            errands: Mutex::new(Some(errands)),
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
        let secrets = Secrets::derive(secret, inner.encryption_key.as_deref());
        if inner.secrets.set(secrets).is_err() {
            return;
        }
        inner.read.store(read, Ordering::SeqCst);
        inner.announced.send_replace(read);
        tokio::spawn(link::keep_up(inner.clone()));
        tokio::spawn(subscription::listen(inner.clone()));
        tokio::spawn(outbox::announce(inner.clone()));
        if let Some(errands) = lock(&inner.errands).take() {
            tokio::spawn(outbox::run(inner.clone(), errands));
        }
    }

    /// This instance has appended to the change log, so there is a number after the last that it has read: says so at once.
    /// Which number it is, the next poll will tell.
    pub fn has_written(&self) {
        let Some(inner) = &self.0 else { return };
        let next = inner.read.load(Ordering::SeqCst) + 1;
        inner
            .announced
            .send_modify(|announced| *announced = next.max(*announced));
    }

    /// This instance has read the change log up to this number, which others may want to know; does not wait.
    pub fn has_read(&self, number: i64) {
        let Some(inner) = &self.0 else { return };
        let read = inner.read.fetch_max(number, Ordering::SeqCst).max(number);
        // What anybody has claimed beyond the end of the log is forgotten, or a false claim would silence this instance for good.
        let heard = inner.heard.fetch_min(read, Ordering::SeqCst);
        inner.announced.send_if_modified(|announced| {
            let news = number > heard.max(*announced);
            *announced = if news { number } else { read.min(*announced) };
            news
        });
    }

    /// The change log is another one, which ends at `last`: numbers of the old one say nothing about it.
    pub fn begin_in_another_log(&self, last: i64) {
        let Some(inner) = &self.0 else { return };
        inner.read.store(last, Ordering::SeqCst);
        inner.heard.store(last, Ordering::SeqCst);
        inner.announced.send_replace(last);
    }

    /// Waits until there is reason to read the change log now. One waits at a time, and any number of reasons are one.
    pub async fn nudged(&self) {
        match &self.0 {
            Some(inner) => inner.nudge.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Since when every announcement has been heard; `None` while some may not be.
    pub fn listening_since(&self) -> Option<Instant> {
        *lock(&self.0.as_ref()?.listening_since)
    }

    /// The client as a sibling knows it. `None` is "ask the database"; it comes within 20 ms.
    pub async fn client(&self, id: &ClientId) -> Option<SharedClient> {
        let inner = self.0.as_ref()?;
        let secrets = inner.secrets.get()?;
        let mut get = redis::cmd("GET");
        get.arg(secrets.client_name(id));
        let value: Option<Vec<u8>> = inner.link.quickly(&get, &inner.counts.errors).await?;
        client_value::open(secrets, id, &value?)
    }

    /// Counts whether a client could be taken from a sibling.
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

    /// Tells siblings of a client, for as long as `ttl`; does not wait.
    pub fn share(&self, shared: &SharedClient, ttl: Duration) {
        let Some((inner, secrets)) = self.joined() else { return };
        if let Some(value) = client_value::seal(secrets, shared) {
            let name = secrets.client_name(&shared.client.id);
            inner.send(Errand::Keep { name, value, ttl });
        }
    }

    /// Adds a failed authentication to buckets that all instances share; answers how full they are now, each as the time in
    /// which it drains. `None` when Redis does not say.
    pub async fn count_failure(&self, failures: Vec<Failure>) -> Option<Vec<Duration>> {
        let (inner, secrets) = self.joined()?;
        let names = failures.iter().map(|failure| secrets.bucket_name(failure)).collect();
        let (answer, answered) = tokio::sync::oneshot::channel();
        inner.send(Errand::Count {
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
            up: inner.link.is_up() && self.listening_since().is_some(),
            errors: count(&inner.counts.errors),
            published: count(&inner.counts.published),
            received: count(&inner.counts.received),
            cache_hits: count(&inner.counts.cache_hits),
            cache_misses: count(&inner.counts.cache_misses),
            dropped: count(&inner.counts.dropped),
        })
    }

    fn joined(&self) -> Option<(&Arc<Inner>, &Secrets)> {
        let inner = self.0.as_ref()?;
        Some((inner, inner.secrets.get()?))
    }
}

impl Inner {
    /// Puts an errand into the outbox, if there is room and anybody to take it.
    fn send(&self, errand: Errand) {
        if !self.link.is_up() || self.outbox.try_send(errand).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn has_failed(&self) {
        self.counts.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody has announced this number.
    fn hear(&self, number: i64) {
        self.counts.received.fetch_add(1, Ordering::Relaxed);
        self.heard.fetch_max(number, Ordering::SeqCst);
        if number > self.read.load(Ordering::SeqCst) {
            self.nudge.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Between half of it and all of it, so that instances do not come back in step.
fn jittered(longest: Duration) -> Duration {
    let mut byte = [255];
    // Without randomness the wait is merely the same for all.
    let _ = rand::fill(&mut byte);
    longest.mul_f64(0.5 + 0.5 * f64::from(byte[0]) / 255.0)
}

/// How long to wait after this many failures in a row: 100 ms at first, then twice as long each time, up to 5 s.
fn backoff(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);
    jittered(FIRST.saturating_mul(1 << failures.clamp(1, 10) >> 1).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Siblings of an instance that has joined and reaches nobody.
    fn joined(read: i64) -> Siblings {
        let siblings = Siblings::at("redis://127.0.0.1:1", None).unwrap();
        let inner = siblings.0.as_ref().unwrap();
        inner.read.store(read, Ordering::SeqCst);
        inner.announced.send_replace(read);
        siblings
    }

    impl Siblings {
        fn inner(&self) -> &Inner {
            self.0.as_ref().unwrap()
        }

        fn announced(&self) -> i64 {
            *self.inner().announced.borrow()
        }

        /// Whether there is reason to read the log.
        async fn are_nudging(&self) -> bool {
            tokio::time::timeout(Duration::ZERO, self.nudged()).await.is_ok()
        }
    }

    #[tokio::test]
    async fn what_is_read_is_announced_unless_somebody_has_done_so() {
        let siblings = joined(5);
        siblings.has_read(5);
        assert_eq!(siblings.announced(), 5);
        siblings.has_read(6);
        assert_eq!(siblings.announced(), 6);
        siblings.inner().hear(9);
        siblings.has_read(9);
        assert_eq!(siblings.announced(), 6);
        siblings.has_read(10);
        assert_eq!(siblings.announced(), 10);
    }

    #[tokio::test]
    async fn what_is_written_is_announced_before_its_number_is_known_and_once_if_that_was_right() {
        let siblings = joined(5);
        let mut announcements = siblings.inner().announced.subscribe();
        let mut told = || {
            announcements
                .has_changed()
                .unwrap()
                .then(|| *announcements.borrow_and_update())
        };
        siblings.has_written();
        assert_eq!(told(), Some(6));
        siblings.has_read(6);
        assert_eq!(told(), None);
        siblings.has_written();
        assert_eq!(told(), Some(7));
        siblings.has_read(9);
        assert_eq!(told(), Some(9));
        // What was written had been read already.
        siblings.has_written();
        assert_eq!(told(), Some(10));
        siblings.has_read(9);
        assert_eq!(told(), None);
        siblings.has_read(10);
        assert_eq!(told(), Some(10));
    }

    #[tokio::test]
    async fn a_claim_beyond_the_log_silences_nobody() {
        let siblings = joined(5);
        siblings.inner().hear(i64::MAX);
        siblings.has_read(5);
        siblings.has_read(6);
        assert_eq!(siblings.announced(), 6);
    }

    #[tokio::test]
    async fn only_news_is_a_reason_to_read_and_many_are_one() {
        let siblings = joined(5);
        for number in [i64::MIN, 4, 5] {
            siblings.inner().hear(number);
        }
        assert!(!siblings.are_nudging().await);
        for number in 6..1000 {
            siblings.inner().hear(number);
        }
        assert!(siblings.are_nudging().await);
        assert!(!siblings.are_nudging().await);
        siblings.has_read(1000);
        siblings.inner().hear(1000);
        assert!(!siblings.are_nudging().await);
    }

    #[tokio::test]
    async fn without_redis_there_is_nobody() {
        let nobody = Siblings::at("", None).unwrap();
        nobody.join(&[0; 32], 1);
        nobody.has_read(2);
        assert!(!nobody.are_configured() && !nobody.are_nudging().await);
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
