//! The forward-auth policy of all instances: how its route table is reloaded.

use crate::db::{Db, DbError, routes};
use crate::gateway::route_table::RouteTable;
use crate::snapshot::Snapshot;

/// Reloads the routes; returns when `table` contains every change committed before this call.
///
/// # Errors
/// When the database is unavailable, or a row is not a valid route. The old table then stays in
/// effect.
pub async fn reload(db: &Db, table: &Snapshot<RouteTable>) -> Result<(), DbError> {
    let ticket = table.ticket();
    let read = db.run_repeatable(routes::table).await?;
    table.apply(ticket, |_| read);
    Ok(())
}
