//! The compiled forward-auth policy of this instance: read by every worker without a lock, replaced whole.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use tokio::sync::Mutex;

use crate::db::{Db, DbError, routes};
use crate::gateway::route_table::RouteTable;

/// A shared table; a clone is the same one.
#[derive(Clone, Default)]
pub struct RouteStore(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// None until the routes are loaded.
    table: ArcSwapOption<RouteTable>,
    /// Held from reading the rows to replacing the table, or an older reading could replace a newer one.
    reloading: Mutex<()>,
}

impl RouteStore {
    /// The current table, or `None` before it is loaded.
    pub fn table(&self) -> Guard<Option<Arc<RouteTable>>> {
        self.0.table.load()
    }

    /// Replaces the table.
    pub fn set(&self, table: RouteTable) {
        self.0.table.store(Some(Arc::new(table)));
    }

    /// Reads the routes again; returns when the table is the new one.
    ///
    /// # Errors
    /// When the database cannot be reached, or a row does not read as a route; the old table stays then.
    pub async fn reload(&self, db: &Db) -> Result<(), DbError> {
        let _reloading = self.0.reloading.lock().await;
        let table = db.run_repeatable(routes::table).await?;
        self.set(table);
        Ok(())
    }
}
