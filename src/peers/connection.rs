//! [`Connection`]: the connection that commands go through, kept up by one task; whoever wants it waits for nothing.
//!
//! A Redis that hangs looks like one that is down: a ping each second, and one more as soon as anybody is uncertain, must be
//! answered within [`COMMAND_TIMEOUT`], or the connection is given up. Reads that a request waits for have
//! [`LOOKUP_TIMEOUT`] and a breaker before them: after the first few that were too slow, the next ones do not ask.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, RedisError, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::retry_pause;
use crate::breaker::{Breaker, BreakerSettings};

/// How long a request waits for what a peer may know: a fraction of what the database takes when it is busy.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_millis(20);

/// How long a connection may take that nobody waits for.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a command may take that nobody waits for.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

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

pub(super) struct Connection {
    current: ArcSwapOption<MultiplexedConnection>,
    breaker: Mutex<Breaker>,
    /// Rung by whoever was not answered.
    uncertain: Notify,
    /// Connections and commands that failed or took too long.
    errors: AtomicU64,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            current: ArcSwapOption::empty(),
            breaker: Mutex::new(Breaker::new(BREAKER)),
            uncertain: Notify::new(),
            errors: AtomicU64::new(0),
        }
    }
}

impl Connection {
    pub(super) fn is_up(&self) -> bool {
        self.current.load().is_some()
    }

    /// Asks for what a request waits for. `None` at once without a connection and while the breaker is open.
    pub(super) async fn quickly<T: FromRedisValue>(&self, command: &Cmd) -> Option<T> {
        let mut connection = self.connected()?;
        if !lock(&self.breaker).admit(now()) {
            return None;
        }
        // Not a tenth of what a caller of `/token` waits for a hung database.
        let answer = timeout(LOOKUP_TIMEOUT, command.query_async(&mut connection)).await;
        match answer {
            Ok(Ok(value)) => {
                lock(&self.breaker).succeeded();
                Some(value)
            }
            _ => {
                lock(&self.breaker).failed(now());
                self.has_failed();
                self.uncertain.notify_one();
                None
            }
        }
    }

    /// Does what nobody waits for. A command that Redis refuses is an error among the answers of the others.
    pub(super) async fn in_time(&self, commands: &Pipeline) -> Option<Vec<Value>> {
        let mut connection = self.connected()?;
        match timeout(COMMAND_TIMEOUT, commands.query_async(&mut connection)).await {
            Ok(Ok(values)) => Some(values),
            _ => {
                self.uncertain.notify_one();
                None
            }
        }
    }

    pub(super) fn has_failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    fn connected(&self) -> Option<MultiplexedConnection> {
        self.current.load().as_deref().cloned()
    }
}

/// Keeps the link up for as long as the process lives.
pub(super) async fn keep_up(client: &redis::Client, connection: &Connection) {
    let mut failures = 0;
    loop {
        match connect(client).await {
            Ok(opened) => {
                log::info!("redis connected");
                let since = Instant::now();
                connection.current.store(Some(Arc::new(opened.clone())));
                until_silent(connection, opened).await;
                connection.current.store(None);
                log::warn!("redis connection lost");
                if since.elapsed() > STEADY {
                    failures = 0;
                }
            }
            Err(error) if failures == 0 => log::warn!(error:%; "redis unavailable"),
            Err(error) => log::debug!(error:%; "redis unavailable"),
        }
        connection.has_failed();
        failures += 1;
        sleep(backoff(failures)).await;
    }
}

async fn connect(client: &redis::Client) -> Result<MultiplexedConnection, String> {
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(COMMAND_TIMEOUT));
    // The connection's own deadline does not cover the greeting.
    let connecting = async {
        let mut connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
        // Or a user who may not do even that would be connected and cut off again and again.
        redis::cmd("PING").query_async::<Value>(&mut connection).await?;
        Ok(connection)
    };
    match timeout(CONNECT_TIMEOUT, connecting).await {
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
async fn until_silent(shared: &Connection, mut connection: MultiplexedConnection) {
    loop {
        // A wait and not a test of whether it is time: uncertainty cuts it short.
        let _ = timeout(PING_EVERY, shared.uncertain.notified()).await;
        let ping = redis::cmd("PING");
        let pong = timeout(COMMAND_TIMEOUT, ping.query_async::<Value>(&mut connection)).await;
        if !matches!(pong, Ok(Ok(_))) {
            return;
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// How long to wait after this many failures in a row: 100 ms at first, then twice as long each time, up to 5 s.
pub(super) fn backoff(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(5);
    retry_pause(FIRST, MAX, failures)
}
