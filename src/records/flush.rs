//! One flush: writes a batch, and isolates the records that the database rejects.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use crate::db::tokens::{self, TokenRecord};
use crate::db::{Db, DbError};

/// Writes a part of a batch in one transaction.
pub type Sink = Rc<dyn Fn(Arc<Vec<TokenRecord>>, Range<usize>) -> LocalBoxFuture<'static, Result<(), DbError>>>;

/// After this many rejected records in a batch without a written one, the flush stops: the cause is
/// not in the records.
const MAX_REJECTIONS: usize = 16;

/// The result of a flush.
pub(crate) struct Outcome {
    pub fates: Vec<Fate>,
    /// Why records are `Unwritten` or `Uncertain`; `None` if the flush succeeded.
    pub failure: Option<DbError>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Written,
    /// The database rejected this record and accepted others of the batch.
    Rejected,
    /// Not tried, or the database was unavailable.
    Unwritten,
    /// The database rejected this record and accepted no other to compare with. It is retried after
    /// the others.
    Uncertain,
}

/// Writes a batch. Where the database rejects a part, the part is halved until each rejected record
/// is isolated.
///
/// A record is `Rejected` only if others of its batch were written. Otherwise the cause may be
/// outside of the records (a missing table, for example), and dropping them would lose what a later
/// attempt can write.
pub(crate) async fn write(sink: Sink, records: Arc<Vec<TokenRecord>>) -> Outcome {
    let mut fates = vec![Fate::Unwritten; records.len()];
    let whole = 0..records.len();
    let mut parts = Vec::from([whole]);
    let mut failure = None;
    let mut rejected = 0;
    let mut any_written = false;
    while let Some(part) = parts.pop() {
        match sink(records.clone(), part.clone()).await {
            Ok(()) => {
                fates[part].fill(Fate::Written);
                any_written = true;
            }
            Err(error) if error.is_unavailable() => {
                failure = Some(error);
                break;
            }
            Err(error) if part.len() == 1 => {
                log::debug!(error:%; "token record rejected");
                fates[part.start] = Fate::Rejected;
                rejected += 1;
                if !any_written && (rejected == MAX_REJECTIONS || parts.is_empty()) {
                    failure = Some(error);
                    break;
                }
            }
            Err(_) => {
                let middle = part.start + part.len() / 2;
                parts.push(middle..part.end);
                parts.push(part.start..middle);
            }
        }
    }
    if !any_written {
        for fate in fates.iter_mut().filter(|fate| **fate == Fate::Rejected) {
            *fate = Fate::Uncertain;
        }
    }
    Outcome { fates, failure }
}

/// The sink of a server: the `tokens` table.
pub fn table_sink(db: Db) -> Sink {
    Rc::new(move |records, part| {
        let db = db.clone();
        Box::pin(async move {
            db.run_repeatable(move |conn| tokens::insert_batch(conn, &records[part.clone()]))
                .await
        })
    })
}
