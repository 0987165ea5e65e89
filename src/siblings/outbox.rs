//! What is told to siblings: nobody waits for it, so it goes through one task in groups.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::failures::{self, Failure};
use super::{Inner, link};

/// What is to be told.
pub(super) enum Errand {
    /// A client.
    Keep {
        name: String,
        value: Vec<u8>,
        ttl: Duration,
    },
    /// A failed authentication.
    Count {
        names: Vec<String>,
        failures: Vec<Failure>,
        answer: oneshot::Sender<Vec<Duration>>,
    },
}

/// Errands that go in one round trip: enough for thousands of trips a second, and a megabyte at most.
const GROUP: usize = 64;

/// Publishes how far the change log has come. Only the last number counts, so there is no queue.
pub(super) async fn announce(inner: Arc<Inner>) {
    let mut announced = inner.announced.subscribe();
    while announced.changed().await.is_ok() {
        let number = *announced.borrow_and_update();
        let mut publish = redis::pipe();
        publish.cmd("PUBLISH").arg(inner.channel()).arg(number);
        match inner.link.in_time(&publish).await {
            Some(_) => drop(inner.counts.published.fetch_add(1, Ordering::Relaxed)),
            // Not tried again: by then everybody has polled.
            None => inner.has_failed(),
        }
    }
}

/// Does errands for as long as the process lives.
pub(super) async fn run(inner: Arc<Inner>, mut errands: mpsc::Receiver<Errand>) {
    let mut group = Vec::with_capacity(GROUP);
    while errands.recv_many(&mut group, GROUP).await > 0 {
        let mut commands = redis::pipe();
        for errand in &group {
            match errand {
                Errand::Keep { name, value, ttl } => {
                    let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
                    commands.cmd("SET").arg(name).arg(value).arg("PX").arg(milliseconds);
                }
                Errand::Count { names, failures, .. } => failures::add(&mut commands, names, failures),
            }
        }
        // Or one that Redis refuses, because its memory is full, would take the answers of the others with it.
        commands.ignore_errors();
        match inner.link.in_time(&commands).await {
            Some(values) => group
                .drain(..)
                .zip(values)
                .for_each(|(errand, value)| done(&inner, errand, value)),
            None => {
                inner.has_failed();
                group.clear();
                // What comes meanwhile is dropped as soon as the link knows that it is down.
                sleep(link::PATIENCE / 10).await;
            }
        }
    }
}

fn done(inner: &Inner, errand: Errand, value: Value) {
    match (errand, value) {
        (_, Value::ServerError(_)) => inner.has_failed(),
        (Errand::Count { answer, .. }, value) => {
            if let Some(left) = failures::left(value) {
                // Whoever has hung up needs no answer.
                let _ = answer.send(left);
            }
        }
        (Errand::Keep { .. }, _) => {}
    }
}
