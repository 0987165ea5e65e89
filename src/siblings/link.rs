//! [`Link`]: the connection that commands go through, kept up by one task; whoever wants it waits for nothing.
//!
//! A Redis that hangs looks like one that is down: a ping each second, and one more as soon as anybody is in doubt, must be
//! answered within [`PATIENCE`], or the connection is given up. Reads that a request waits for have [`QUICK`] and a breaker
//! before them: after the first few that were too slow, the next ones do not ask.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, RedisError, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::{Inner, backoff, lock};
use crate::breaker::{Breaker, BreakerSettings};

/// How long a request waits for what a sibling may know: a fraction of what the database takes when it is busy.
pub(super) const QUICK: Duration = Duration::from_millis(20);

/// How long a connection may take that nobody waits for.
pub(super) const CONNECT: Duration = Duration::from_secs(1);

/// How long a command may take that nobody waits for.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// A connection that did not last this long counts as one more failure, or one that comes and goes would fill the log.
const STEADY: Duration = Duration::from_secs(5);

/// Time between two pings.
pub(super) const PING_EVERY: Duration = Duration::from_secs(1);

/// Three reads too slow are enough to stop asking; one a second finds out whether that has changed.
const BREAKER: BreakerSettings = BreakerSettings {
    failure_rate: 0.5,
    window: 12,
    open_for: Duration::from_secs(1),
};

pub(super) struct Link {
    connection: ArcSwapOption<MultiplexedConnection>,
    breaker: Mutex<Breaker>,
    /// Rung by whoever was not answered.
    doubt: Notify,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            connection: ArcSwapOption::empty(),
            breaker: Mutex::new(Breaker::new(BREAKER)),
            doubt: Notify::new(),
        }
    }
}

impl Link {
    pub(super) fn is_up(&self) -> bool {
        self.connection.load().is_some()
    }

    /// Asks for what a request waits for. `None` at once without a connection and while the breaker is open.
    pub(super) async fn quickly<T: FromRedisValue>(&self, command: &Cmd, errors: &AtomicU64) -> Option<T> {
        let mut connection = self.connected()?;
        if !lock(&self.breaker).admit(now()) {
            return None;
        }
        // Not a tenth of what a caller of `/token` waits for a hung database.
        let answer = timeout(QUICK, command.query_async(&mut connection)).await;
        match answer {
            Ok(Ok(value)) => {
                lock(&self.breaker).succeeded();
                Some(value)
            }
            _ => {
                lock(&self.breaker).failed(now());
                errors.fetch_add(1, Ordering::Relaxed);
                self.doubt.notify_one();
                None
            }
        }
    }

    /// Does what nobody waits for. A command that Redis refuses is an error among the answers of the others.
    pub(super) async fn in_time(&self, commands: &Pipeline) -> Option<Vec<Value>> {
        let mut connection = self.connected()?;
        match timeout(PATIENCE, commands.query_async(&mut connection)).await {
            Ok(Ok(values)) => Some(values),
            _ => {
                self.doubt.notify_one();
                None
            }
        }
    }

    fn connected(&self) -> Option<MultiplexedConnection> {
        self.connection.load().as_deref().cloned()
    }
}

/// Keeps the link up for as long as the process lives.
pub(super) async fn keep_up(inner: Arc<Inner>) {
    let mut failures = 0;
    loop {
        match connect(&inner.client).await {
            Ok(connection) => {
                log::info!("redis answers");
                let since = Instant::now();
                inner.link.connection.store(Some(Arc::new(connection.clone())));
                until_silent(&inner.link, connection).await;
                inner.link.connection.store(None);
                log::warn!("redis does not answer any more, going on without it");
                if since.elapsed() > STEADY {
                    failures = 0;
                }
            }
            Err(cause) if failures == 0 => log::warn!("redis cannot be reached, going on without it: {cause}"),
            Err(cause) => log::debug!("redis cannot be reached: {cause}"),
        }
        inner.has_failed();
        failures += 1;
        sleep(backoff(failures)).await;
    }
}

async fn connect(client: &redis::Client) -> Result<MultiplexedConnection, String> {
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(PATIENCE));
    // The connection's own deadline does not cover the greeting.
    let connecting = async {
        let mut connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
        // Or a user who may not do even that would be connected and cut off again and again.
        redis::cmd("PING").query_async::<Value>(&mut connection).await?;
        Ok(connection)
    };
    match timeout(CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|error| cause(&error)),
        Err(_) => Err("no answer in time".into()),
    }
}

/// What may be logged of an error: never the address, which may come with a password.
pub(super) fn cause(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("{} ({code})", error.category()),
        None => error.category().to_owned(),
    }
}

/// Returns when a ping is not answered.
async fn until_silent(link: &Link, mut connection: MultiplexedConnection) {
    loop {
        // A wait and not a test of whether it is time: doubt cuts it short.
        let _ = timeout(PING_EVERY, link.doubt.notified()).await;
        let ping = redis::cmd("PING");
        let pong = timeout(PATIENCE, ping.query_async::<Value>(&mut connection)).await;
        if !matches!(pong, Ok(Ok(_))) {
            return;
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
