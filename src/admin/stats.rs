//! Figures of the database handle.

use super::{Administration, DbStats};

impl Administration {
    /// The state of the connection pools and their circuit breakers. Does not query the database.
    pub fn pool_stats(&self) -> DbStats {
        self.db.stats()
    }
}
