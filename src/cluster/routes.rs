//! The forward-auth policy of all instances: how the table of routes is read again.

use crate::db::{Db, DbError, routes};
use crate::gateway::route_table::RouteTable;
use crate::snapshot::Snapshot;

/// Reads the routes again; returns when `table` is at least as new as they were when this was called.
///
/// # Errors
/// When the database cannot be reached, or a row does not read as a route; the old table stays then.
pub async fn reload(db: &Db, table: &Snapshot<RouteTable>) -> Result<(), DbError> {
    let ticket = table.ticket();
    let read = db.run_repeatable(routes::table).await?;
    table.apply(ticket, |_| read);
    Ok(())
}
