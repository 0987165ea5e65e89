//! SecretUsage: when each secret was last used, written down a few times a minute instead of at each request.
//!
//! A worker notes a use in the client that its cache holds, and passes it on here at most once a minute for each secret
//! and worker. What a crash loses is the last quarter of a minute of it, and what was noted while the database was away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;

use crate::db::{Db, DbError, secrets};
use crate::time::UnixMillis;

/// Time between two writes.
const INTERVAL: Duration = Duration::from_secs(15);

/// Secrets that may wait to be written, while the database is away; an entry takes about 100 bytes. What comes on top is
/// forgotten: the next use after a minute tells it again.
const MAX_WAITING: usize = 100_000;

/// Secrets written in one transaction: few, since the writer of token records waits for it.
const BATCH: usize = 500;

/// Where workers leave their notes; a clone is the same place.
#[derive(Clone, Debug, Default)]
pub struct SecretUsage(Arc<Mutex<HashMap<String, UnixMillis>>>);

impl SecretUsage {
    /// Notes that a secret was used.
    pub fn note(&self, secret_id: &str, now: UnixMillis) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(noted) = waiting.get_mut(secret_id) {
            // What could not be written comes back, and may have been overtaken.
            *noted = now.max(*noted);
        } else if waiting.len() < MAX_WAITING {
            waiting.insert(secret_id.to_owned(), now);
        }
    }

    /// Writes down what has been noted; what cannot be written is kept for the next time.
    ///
    /// # Errors
    /// When the database refuses or cannot be reached.
    pub async fn write(&self, db: &Db) -> Result<(), DbError> {
        let noted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let noted: Vec<(String, UnixMillis)> = noted.into_iter().collect();
        let noted = Arc::new(noted);
        for start in (0..noted.len()).step_by(BATCH) {
            let (part, end) = (noted.clone(), noted.len().min(start + BATCH));
            let written = db
                .run_repeatable(move |conn| secrets::used(conn, &part[start..end]))
                .await;
            if let Err(error) = written {
                for (secret_id, moment) in &noted[start..] {
                    self.note(secret_id, *moment);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes every quarter of a minute from now on.
    pub fn start(self, db: Db) -> Addr<SecretUsageWriter> {
        SecretUsageWriter { uses: self, db }.start()
    }
}

/// The actor: a timer.
pub struct SecretUsageWriter {
    uses: SecretUsage,
    db: Db,
}

impl SecretUsageWriter {
    fn write_later(&mut self, ctx: &mut Context<Self>) {
        ctx.run_later(INTERVAL, |this, ctx| {
            let (uses, db) = (this.uses.clone(), this.db.clone());
            let writing = async move { uses.write(&db).await };
            ctx.spawn(writing.into_actor(this).map(|written, this, ctx| {
                if let Err(error) = written {
                    log::debug!(error:%; "secret usage not written");
                }
                this.write_later(ctx);
            }));
        });
    }
}

impl Actor for SecretUsageWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.write_later(ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_uses_the_later_one_is_kept_in_whatever_order_they_come() {
        let uses = SecretUsage::default();
        for moment in [5, 9, 7] {
            uses.note("secret", UnixMillis(moment));
        }
        let waiting = uses.0.lock().unwrap();
        assert_eq!(waiting["secret"], UnixMillis(9));
    }
}
