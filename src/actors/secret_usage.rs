//! SecretUsage: when each secret was last used, written four times a minute instead of on every
//! request.
//!
//! A worker notes a use in its cached client, and passes it on at most once a minute per secret. A
//! crash loses the uses of the last 15 seconds, and those noted while the database was unavailable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;

use crate::db::{Db, DbError, secrets};
use crate::mutex::lock;
use crate::time::UnixMillis;

/// The time between two writes.
const INTERVAL: Duration = Duration::from_secs(15);

/// The number of secrets that may wait while the database is unavailable; an entry takes about 100
/// bytes. Further uses are dropped: the worker passes a later use on again, a minute later at the
/// earliest.
const MAX_WAITING: usize = 100_000;

/// Secrets written per transaction. Few, because the writer of token records waits for the
/// transaction.
const BATCH: usize = 500;

/// The uses not yet written. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct SecretUsage(Arc<Mutex<HashMap<String, UnixMillis>>>);

impl SecretUsage {
    /// Notes that a secret was used at `now`.
    pub fn note(&self, secret_id: &str, now: UnixMillis) {
        let mut waiting = lock(&self.0);
        if let Some(noted) = waiting.get_mut(secret_id) {
            // A use put back after a failed write may be older than one noted meanwhile.
            *noted = now.max(*noted);
        } else if waiting.len() < MAX_WAITING {
            waiting.insert(secret_id.to_owned(), now);
        }
    }

    /// Writes the noted uses. Those that cannot be written are kept for the next write.
    ///
    /// # Errors
    /// When the database rejects a write or is unavailable.
    pub async fn write(&self, db: &Db) -> Result<(), DbError> {
        let noted = std::mem::take(&mut *lock(&self.0));
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

    /// Starts the actor that writes every 15 seconds.
    pub fn start(self, db: Db) -> Addr<SecretUsageWriter> {
        SecretUsageWriter { uses: self, db }.start()
    }
}

/// The actor.
pub struct SecretUsageWriter {
    uses: SecretUsage,
    db: Db,
}

impl Actor for SecretUsageWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.write_later(ctx);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_uses_of_a_secret_the_later_one_is_kept() {
        let uses = SecretUsage::default();
        for moment in [5, 9, 7] {
            uses.note("secret", UnixMillis(moment));
        }
        let waiting = uses.0.lock().unwrap();
        assert_eq!(waiting["secret"], UnixMillis(9));
    }
}
