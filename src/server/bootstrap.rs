//! `[bootstrap]` at the start: creates the first operator, and reports what is left to do.

use crate::config::Bootstrap;
use crate::db::bootstrap::{FirstOperator, first_operator};
use crate::db::{Conn, DbError};
use crate::time::UnixMillis;

/// Creates the client that the configuration names, if no client has `mintage:admin`.
///
/// # Errors
/// The database rejects a statement or cannot be reached.
pub fn run(conn: &mut Conn, settings: &Bootstrap, now: UnixMillis) -> Result<(), DbError> {
    let configured = settings.client().expect("the configuration has been validated");
    let Some((id, secret)) = configured else {
        return Ok(());
    };
    let done = first_operator(conn, &id, &secret, now)?;
    match done.operator {
        FirstOperator::Created => log::info!(client:% = id; "bootstrap client created"),
        FirstOperator::NotNeeded => {}
        FirstOperator::IdTaken => log::warn!(client:% = id; "bootstrap client not created"),
    }
    if done.has_secret {
        log::warn!(client:% = id; "bootstrap secret not replaced");
    }
    Ok(())
}
