//! One flush: writes a batch, and where the database rejects it, finds the records that it rejects.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use crate::db::tokens::{self, TokenRecord};
use crate::db::{Db, DbError};

/// Writes some records of a batch in one transaction.
pub type Sink = Rc<dyn Fn(Arc<Vec<TokenRecord>>, Range<usize>) -> LocalBoxFuture<'static, Result<(), DbError>>>;

/// Of a batch in which nothing could be written, this many refused records show that the trouble is not theirs.
const REJECTIONS_OF_AN_OUTAGE: usize = 16;

/// How a flush went for each record.
pub(crate) struct Outcome {
    pub fates: Vec<Fate>,
    /// Why the `Unwritten` ones were not written.
    pub failure: Option<DbError>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Written,
    /// The database takes others and not this one.
    Rejected,
    /// It was not tried, or the database was out of reach.
    Unwritten,
    /// The database refused it, and no other was written to compare with: it is tried again behind the others.
    Uncertain,
}

/// Writes a batch; where the database refuses it, halves it until the records that it refuses stand alone.
///
/// A record counts as refused only if others of its batch were written: when none is, the trouble is not the
/// record's (a table is missing, say), and giving it up would lose what a later try may write.
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
                if !any_written && (rejected == REJECTIONS_OF_AN_OUTAGE || parts.is_empty()) {
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

/// The sink of a running server: the `tokens` table.
pub fn table_sink(db: Db) -> Sink {
    Rc::new(move |records, part| {
        let db = db.clone();
        Box::pin(async move {
            db.run_repeatable(move |conn| tokens::insert_batch(conn, &records[part.clone()]))
                .await
        })
    })
}
