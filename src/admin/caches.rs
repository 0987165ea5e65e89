//! The client caches: clear.

use super::Administration;

impl Administration {
    /// Clears the client cache of every worker. Copies that peers have read before are not used
    /// again either.
    pub async fn clear_caches(&self) {
        self.caches.freshness().reject_until(self.clock.now());
        self.caches.clear().await;
    }
}
