//! The queue of messages to peers. No request waits for them, so one task sends them in groups.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use super::connection::{COMMAND_TIMEOUT, Connection};
use super::failures;
use crate::throttle::Failure;

/// A message to peers.
pub(super) enum Job {
    /// Store a client.
    Share {
        name: String,
        value: Vec<u8>,
        ttl: Duration,
    },
    /// Count a failed authentication.
    Count {
        names: Vec<String>,
        failures: Vec<Failure>,
        answer: oneshot::Sender<Vec<Duration>>,
    },
}

/// The maximum number of jobs per round trip: enough for thousands of jobs per second, and at most
/// a megabyte.
const MAX_GROUP: usize = 64;

/// Publishes how far the change log has come, and counts that. Only the latest number matters, so
/// there is no queue.
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
        match connection.run(&publish).await {
            Some(_) => drop(published.fetch_add(1, Ordering::Relaxed)),
            // Not retried: by the time of a retry, every instance has polled.
            None => connection.has_failed(),
        }
    }
}

/// Processes jobs for as long as the process lives.
pub(super) async fn run(connection: &Connection, mut jobs: mpsc::Receiver<Job>) {
    let mut group = Vec::with_capacity(MAX_GROUP);
    while jobs.recv_many(&mut group, MAX_GROUP).await > 0 {
        let mut commands = redis::pipe();
        for job in &group {
            match job {
                Job::Share { name, value, ttl } => {
                    let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
                    commands.cmd("SET").arg(name).arg(value).arg("PX").arg(milliseconds);
                }
                Job::Count { names, failures, .. } => failures::add(&mut commands, names, failures),
            }
        }
        // Otherwise one command that Redis rejects, for example because its memory is full, would
        // fail the whole group.
        commands.ignore_errors();
        match connection.run(&commands).await {
            Some(values) => group
                .drain(..)
                .zip(values)
                .for_each(|(job, value)| finish(connection, job, value)),
            None => {
                connection.has_failed();
                group.clear();
                // Jobs that arrive meanwhile are dropped as soon as the connection is known to be
                // down.
                sleep(COMMAND_TIMEOUT / 10).await;
            }
        }
    }
}

fn finish(connection: &Connection, job: Job, value: Value) {
    match (job, value) {
        (_, Value::ServerError(_)) => connection.has_failed(),
        (Job::Count { answer, .. }, value) => {
            if let Some(levels) = failures::levels(value) {
                // The request may have stopped waiting.
                let _ = answer.send(levels);
            }
        }
        (Job::Share { .. }, _) => {}
    }
}
