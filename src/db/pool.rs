//! The connection pool: r2d2 with every setting of `[database.pool]`.

use std::sync::Arc;

use r2d2::{HandleError, Pool};

use super::manager::{ConnectError, Manager};
use super::pool_counters::PoolCounters;
use crate::config;

/// The default handler of r2d2 logs an error at each attempt to connect. The circuit breaker
/// already logs an outage once.
#[derive(Debug)]
struct Quiet;

impl HandleError<ConnectError> for Quiet {
    fn handle_error(&self, error: ConnectError) {
        log::debug!(error:%; "database connection failed");
    }
}

/// Creates the pool without waiting for a connection. A database that is down at startup means "not
/// ready".
pub fn build(url: &str, database: &config::Database, counters: Arc<PoolCounters>) -> Pool<Manager> {
    let settings = &database.pool;
    Pool::builder()
        .max_size(settings.max_size)
        .min_idle(Some(settings.min_idle))
        .max_lifetime(Some(settings.max_lifetime.0))
        .idle_timeout(Some(settings.idle_timeout.0))
        .connection_timeout(settings.connection_timeout.0)
        // The manager decides whether a connection needs a test; see [`Manager`].
        .test_on_check_out(true)
        .error_handler(Box::new(Quiet))
        .build_unchecked(Manager::new(url, database.query_timeout.0, counters))
}
