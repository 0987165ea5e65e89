//! [`Connection`]: the connection for commands. One task keeps it open, so no caller waits for a
//! connection.
//!
//! A Redis that hangs is treated like one that is down. A ping every second must be answered within
//! [`COMMAND_TIMEOUT`], otherwise the connection is closed; a timeout elsewhere triggers a ping at
//! once. Lookups during a request have [`LOOKUP_TIMEOUT`] and a circuit breaker: after a few
//! timeouts, requests skip Redis.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, RedisError, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::retry_pause;
use crate::breaker::{Breaker, BreakerSettings};
use crate::mutex::lock;

/// How long a request waits for a lookup: a fraction of what a busy database takes, and less than a
/// tenth of what a caller of `/token` waits for a database that hangs.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_millis(20);

/// How long connecting may take; no request waits for it.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a background command may take; no request waits for it.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

/// A connection that lasted for less than this counts as one more failure. Otherwise a connection
/// that opens and fails in turn would flood the log.
const MIN_UPTIME: Duration = Duration::from_secs(5);

/// The time between two pings.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The breaker opens after three slow lookups. It then admits one lookup per second to test for
/// recovery.
const BREAKER: BreakerSettings = BreakerSettings {
    failure_rate: 0.5,
    window: 12,
    open_for: Duration::from_secs(1),
};

pub(super) struct Connection {
    current: ArcSwapOption<MultiplexedConnection>,
    breaker: Mutex<Breaker>,
    /// Notified on a timeout: whether Redis still answers is uncertain.
    uncertain: Notify,
    /// Connections and commands that failed or timed out.
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

    /// Runs a lookup that a request waits for. Returns `None` immediately without a connection or
    /// with an open breaker.
    pub(super) async fn lookup<T: FromRedisValue>(&self, command: &Cmd) -> Option<T> {
        let mut connection = self.connected()?;
        if !lock(&self.breaker).admit(now()) {
            return None;
        }
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

    /// Runs background commands. A command that Redis rejects is an error among the replies; `None`
    /// means no reply at all.
    pub(super) async fn run(&self, commands: &Pipeline) -> Option<Vec<Value>> {
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

/// Keeps the connection open for as long as the process lives.
pub(super) async fn maintain(client: &redis::Client, connection: &Connection) {
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
                if since.elapsed() > MIN_UPTIME {
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
    // The library's own timeout does not cover the handshake.
    let connecting = async {
        let mut connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
        // A user without the right even to PING would otherwise be connected and disconnected in a
        // loop.
        redis::cmd("PING").query_async::<Value>(&mut connection).await?;
        Ok(connection)
    };
    match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected.map_err(|error| cause(&error)),
        Err(_) => Err("no answer in time".into()),
    }
}

/// The loggable part of an error. The address is left out, because it may contain a password.
pub(super) fn cause(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("{} ({code})", error.category()),
        None => error.category().to_owned(),
    }
}

/// Returns when a ping is not answered in time.
async fn until_silent(shared: &Connection, mut connection: MultiplexedConnection) {
    loop {
        // Not a plain sleep: a timeout elsewhere triggers the next ping at once.
        let _ = timeout(PING_INTERVAL, shared.uncertain.notified()).await;
        let ping = redis::cmd("PING");
        let pong = timeout(COMMAND_TIMEOUT, ping.query_async::<Value>(&mut connection)).await;
        if !matches!(pong, Ok(Ok(_))) {
            return;
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// The pause after this many failures in a row: 100 ms at first, then doubled each time, up to 5 s.
pub(super) fn backoff(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(5);
    retry_pause(FIRST, MAX, failures)
}
