//! The audit log: list.

use super::error::failed;
use super::{Administration, OperationError};
use crate::api::audit::AuditDocument;
use crate::db::audit;

impl Administration {
    /// At most `limit` audit events, the newest first: those before event `before`, or the newest
    /// of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_audit(&self, before: Option<i64>, limit: i64) -> Result<Vec<AuditDocument>, OperationError> {
        let list = move |conn: &mut _| audit::list(conn, before, limit);
        self.db.read(list).await.map_err(failed)
    }
}
