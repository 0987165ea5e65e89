//! What is told to peers: nobody waits for it, so it goes through one task in groups.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use super::connection::{COMMAND_TIMEOUT, Connection};
use super::failures;
use crate::throttle::Failure;

/// What is to be told.
pub(super) enum Job {
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

/// Jobs that go in one round trip: enough for thousands of trips a second, and a megabyte at most.
const GROUP: usize = 64;

/// Publishes how far the change log has come, and counts that. Only the last number counts, so there is no queue.
pub(super) async fn announce(
    connection: &Connection,
    channel: &str,
    mut announced: watch::Receiver<i64>,
    published: &AtomicU64,
) {
    while announced.changed().await.is_ok() {
        let number = *announced.borrow_and_update();
        let mut publish = redis::pipe();
        publish.cmd("PUBLISH").arg(channel).arg(number);
        match connection.in_time(&publish).await {
            Some(_) => drop(published.fetch_add(1, Ordering::Relaxed)),
            // Not tried again: by then everybody has polled.
            None => connection.has_failed(),
        }
    }
}

/// Does jobs for as long as the process lives.
pub(super) async fn run(connection: &Connection, mut jobs: mpsc::Receiver<Job>) {
    let mut group = Vec::with_capacity(GROUP);
    while jobs.recv_many(&mut group, GROUP).await > 0 {
        let mut commands = redis::pipe();
        for job in &group {
            match job {
                Job::Keep { name, value, ttl } => {
                    let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
                    commands.cmd("SET").arg(name).arg(value).arg("PX").arg(milliseconds);
                }
                Job::Count { names, failures, .. } => failures::add(&mut commands, names, failures),
            }
        }
        // Or one that Redis refuses, because its memory is full, would take the answers of the others with it.
        commands.ignore_errors();
        match connection.in_time(&commands).await {
            Some(values) => group
                .drain(..)
                .zip(values)
                .for_each(|(job, value)| done(connection, job, value)),
            None => {
                connection.has_failed();
                group.clear();
                // What comes meanwhile is dropped as soon as the connection knows that it is down.
                sleep(COMMAND_TIMEOUT / 10).await;
            }
        }
    }
}

fn done(connection: &Connection, job: Job, value: Value) {
    match (job, value) {
        (_, Value::ServerError(_)) => connection.has_failed(),
        (Job::Count { answer, .. }, value) => {
            if let Some(left) = failures::left(value) {
                // Whoever has hung up needs no answer.
                let _ = answer.send(left);
            }
        }
        (Job::Keep { .. }, _) => {}
    }
}
