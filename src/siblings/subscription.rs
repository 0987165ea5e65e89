//! The subscription: what siblings announce, and knowing since when nothing of it was missed.
//!
//! A message is the number of a change, in decimal digits. It is not signed: it is believed by nobody, it only makes the
//! log be read, which a flood of them does no more often than `actors/change_feed` allows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use redis::Value;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use tokio::time::{Instant, sleep, timeout};

use super::link::{CONNECT, PATIENCE, PING_EVERY, cause};
use super::{Inner, backoff, lock};

/// Listens for as long as the process lives.
pub(super) async fn listen(inner: Arc<Inner>) {
    let mut failures = 0;
    loop {
        match subscribe(&inner).await {
            Ok(subscription) => {
                failures = 0;
                let (sink, messages) = subscription.split();
                // From here on every announcement is heard. What was announced before may have been missed: what a sibling
                // says of a client does not count until the log has been read once more.
                *lock(&inner.listening_since) = Some(Instant::now());
                inner.nudge.notify_one();
                tokio::select! {
                    () = until_silent(&inner, sink) => {}
                    () = hear_all(&inner, messages) => {}
                }
                *lock(&inner.listening_since) = None;
                log::debug!("redis: the subscription was cut");
            }
            Err(cause) => log::debug!("redis: no subscription: {cause}"),
        }
        inner.has_failed();
        failures += 1;
        sleep(backoff(failures)).await;
    }
}

async fn subscribe(inner: &Inner) -> Result<PubSub, String> {
    let subscribing = async {
        let mut subscription = inner.client.get_async_pubsub().await?;
        subscription.subscribe(inner.channel()).await?;
        Ok(subscription)
    };
    match timeout(CONNECT, subscribing).await {
        Ok(subscribed) => subscribed.map_err(|error| cause(&error)),
        Err(_) => Err("no answer in time".into()),
    }
}

/// Ends when the other side has closed.
async fn hear_all(inner: &Inner, mut messages: PubSubStream) {
    while let Some(message) = messages.next().await {
        let text = std::str::from_utf8(message.get_payload_bytes()).unwrap_or_default();
        if let Ok(number) = text.parse() {
            inner.hear(number);
        }
    }
}

/// Ends when a ping is not answered and nothing else comes either: a connection that was cut without a word is silent, one
/// on which the answer waits behind a flood is not.
async fn until_silent(inner: &Inner, mut sink: PubSubSink) {
    loop {
        sleep(PING_EVERY).await;
        let received = || inner.counts.received.load(Ordering::Relaxed);
        let before = received();
        let pong = timeout(PATIENCE, sink.ping::<Value>()).await;
        if !matches!(pong, Ok(Ok(_))) && received() == before {
            return;
        }
    }
}
