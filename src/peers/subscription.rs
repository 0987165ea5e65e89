//! The subscription: receives the announcements of peers, and knows since when none was missed.
//!
//! An announcement is the number of a change, in decimal digits. It is not signed, because it is
//! not trusted: it only triggers a read of the log, and a flood of announcements triggers no more
//! reads than `actors/change_feed` allows.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use futures_util::StreamExt;
use redis::Value;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::connection::{COMMAND_TIMEOUT, CONNECT_TIMEOUT, Connection, PING_INTERVAL, backoff, cause};
use crate::mutex::lock;

/// How far the change log has come, as announced by this instance and its peers.
pub(super) struct Announcements {
    /// The highest number that this instance has announced or is about to announce.
    announced: watch::Sender<i64>,
    /// The highest number that this instance has read from the change log.
    read: AtomicI64,
    /// The highest number announced by others, limited to what the log has confirmed.
    received: AtomicI64,
    /// Notified when the log should be read.
    wake: Notify,
    /// Since when announcements are received; `None` while there is no subscription.
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
    /// Initializes the numbers: the log has been read up to `read`, and none of it needs to be
    /// announced.
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
        // Announced numbers beyond the end of the log are discarded. Otherwise a false one would
        // silence this instance for good.
        let received = self.received.fetch_min(read, Ordering::SeqCst);
        self.announced.send_if_modified(|announced| {
            let news = number > received.max(*announced);
            *announced = if news { number } else { read.min(*announced) };
            news
        });
    }

    /// Handles an announcement of `number`.
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

    /// The number for this instance to announce.
    pub(super) fn announced(&self) -> watch::Receiver<i64> {
        self.announced.subscribe()
    }

    /// See [`super::Peers::listening_since`].
    pub(super) fn listening_since(&self) -> Option<Instant> {
        *lock(&self.listening_since)
    }

    /// The number of announcements received.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Keeps the subscription for as long as the process lives.
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
                // From here on every announcement is received. Earlier ones may have been missed,
                // so no client from a peer is used until the log has been read again.
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

/// Returns when Redis closes the connection.
async fn receive_all(announcements: &Announcements, mut messages: PubSubStream) {
    while let Some(message) = messages.next().await {
        let text = std::str::from_utf8(message.get_payload_bytes()).unwrap_or_default();
        if let Ok(number) = text.parse() {
            announcements.receive(number);
        }
    }
}

/// Returns when a ping is not answered and no message arrives either. On a broken connection
/// nothing arrives; on a flooded one the reply only waits behind messages.
async fn until_silent(announcements: &Announcements, mut sink: PubSubSink) {
    loop {
        sleep(PING_INTERVAL).await;
        let before = announcements.count();
        let pong = timeout(COMMAND_TIMEOUT, sink.ping::<Value>()).await;
        if !matches!(pong, Ok(Ok(_))) && announcements.count() == before {
            return;
        }
    }
}
