//! The subscription: what peers announce, and knowing since when nothing of it was missed.
//!
//! A message is the number of a change, in decimal digits. It is not signed: it is believed by nobody, it only makes the
//! log be read, which a flood of them does no more often than `actors/change_feed` allows.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use futures_util::StreamExt;
use redis::Value;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::connection::{COMMAND_TIMEOUT, CONNECT_TIMEOUT, Connection, PING_EVERY, backoff, cause, lock};

/// How far the change log has come, as this instance and others have announced it.
pub(super) struct Announcements {
    /// The highest number that this instance has announced, or is about to.
    announced: watch::Sender<i64>,
    /// The highest number that this instance has read in the change log.
    read: AtomicI64,
    /// The highest number that others have announced, as far as the log has confirmed it.
    received: AtomicI64,
    /// Rung when the log should be read now.
    wake: Notify,
    /// Since when announcements come in; `None` while they do not.
    listening_since: Mutex<Option<Instant>>,
    /// Announcements received, those of this instance included.
    count: AtomicU64,
}

impl Default for Announcements {
    fn default() -> Self {
        Self {
            announced: watch::Sender::new(0),
            read: AtomicI64::new(0),
            received: AtomicI64::new(0),
            wake: Notify::new(),
            listening_since: Mutex::default(),
            count: AtomicU64::new(0),
        }
    }
}

impl Announcements {
    /// The log has been read up to `read`, and nothing of that needs to be announced.
    pub(super) fn begin(&self, read: i64) {
        self.read.store(read, Ordering::SeqCst);
        self.announced.send_replace(read);
    }

    /// See [`super::Peers::begin_in_another_log`].
    pub(super) fn begin_in_another_log(&self, last: i64) {
        self.read.store(last, Ordering::SeqCst);
        self.received.store(last, Ordering::SeqCst);
        self.announced.send_replace(last);
    }

    /// See [`super::Peers::has_written`].
    pub(super) fn has_written(&self) {
        let next = self.read.load(Ordering::SeqCst) + 1;
        self.announced
            .send_modify(|announced| *announced = next.max(*announced));
    }

    /// See [`super::Peers::has_read`].
    pub(super) fn has_read(&self, number: i64) {
        let read = self.read.fetch_max(number, Ordering::SeqCst).max(number);
        // What anybody has claimed beyond the end of the log is forgotten, or a false claim would silence this instance for good.
        let received = self.received.fetch_min(read, Ordering::SeqCst);
        self.announced.send_if_modified(|announced| {
            let news = number > received.max(*announced);
            *announced = if news { number } else { read.min(*announced) };
            news
        });
    }

    /// Somebody has announced this number.
    pub(super) fn receive(&self, number: i64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.received.fetch_max(number, Ordering::SeqCst);
        if number > self.read.load(Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }

    /// See [`super::Peers::woken`].
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// What this instance is to announce.
    pub(super) fn announced(&self) -> watch::Receiver<i64> {
        self.announced.subscribe()
    }

    /// See [`super::Peers::listening_since`].
    pub(super) fn listening_since(&self) -> Option<Instant> {
        *lock(&self.listening_since)
    }

    /// How many were received.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Listens for as long as the process lives.
pub(super) async fn listen(
    client: &redis::Client,
    channel: &str,
    announcements: &Announcements,
    connection: &Connection,
) {
    let mut failures = 0;
    loop {
        match subscribe(client, channel).await {
            Ok(subscription) => {
                failures = 0;
                let (sink, messages) = subscription.split();
                // From here on every announcement is received. What was announced before may have been missed: what a peer
                // says of a client does not count until the log has been read once more.
                *lock(&announcements.listening_since) = Some(Instant::now());
                announcements.wake.notify_one();
                tokio::select! {
                    () = until_silent(announcements, sink) => {}
                    () = receive_all(announcements, messages) => {}
                }
                *lock(&announcements.listening_since) = None;
                log::debug!("redis subscription lost");
            }
            Err(error) => log::debug!(error:%; "redis subscription failed"),
        }
        connection.has_failed();
        failures += 1;
        sleep(backoff(failures)).await;
    }
}

async fn subscribe(client: &redis::Client, channel: &str) -> Result<PubSub, String> {
    let subscribing = async {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.subscribe(channel).await?;
        Ok(subscription)
    };
    match timeout(CONNECT_TIMEOUT, subscribing).await {
        Ok(subscribed) => subscribed.map_err(|error| cause(&error)),
        Err(_) => Err("no answer in time".into()),
    }
}

/// Ends when the other side has closed.
async fn receive_all(announcements: &Announcements, mut messages: PubSubStream) {
    while let Some(message) = messages.next().await {
        let text = std::str::from_utf8(message.get_payload_bytes()).unwrap_or_default();
        if let Ok(number) = text.parse() {
            announcements.receive(number);
        }
    }
}

/// Ends when a ping is not answered and nothing else comes either: a connection that was cut without a word is silent, one
/// on which the answer waits behind a flood is not.
async fn until_silent(announcements: &Announcements, mut sink: PubSubSink) {
    loop {
        sleep(PING_EVERY).await;
        let before = announcements.count();
        let pong = timeout(COMMAND_TIMEOUT, sink.ping::<Value>()).await;
        if !matches!(pong, Ok(Ok(_))) && announcements.count() == before {
            return;
        }
    }
}
