//! The audit log. An event is written in the transaction of the change that it describes, or
//! neither is. Its lines form a chain ([`super::audit_chain`]).

use diesel::prelude::*;
use serde_json::json;

use super::audit_chain::{LineContent, LineHash, follow};
use super::authority;
use super::conn::Conn;
use super::error::DbError;
use super::locks;
use super::schema::audit;
use crate::api::audit::{Action, ActorKind, AuditDocument, AuditEvent, AuditNote, Principal};
use crate::encoding::hex;
use crate::oauth::duty::Duties;
use crate::time::UnixMillis;

/// Authorizes an operator, runs `work` and writes its event, in one transaction. `work` receives the
/// duties that the operator holds, and returns no event if it changed nothing.
///
/// # Errors
/// [`DbError::NotAuthorized`], the error of `work`, or the database rejects the statement or cannot
/// be reached. Nothing is changed then.
pub fn audited<T>(
    conn: &mut Conn,
    principal: &Principal,
    now: UnixMillis,
    work: impl FnOnce(&mut Conn, Duties) -> Result<(T, Option<AuditEvent>), DbError>,
) -> Result<T, DbError> {
    conn.write(|conn| {
        let held = authority::held(conn, principal, now)?;
        let (value, event) = work(conn, held)?;
        if let Some(event) = event {
            append(conn, principal, now, &event)?;
        }
        Ok(value)
    })
}

/// Writes an event within its transaction.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub(super) fn append(
    conn: &mut Conn,
    principal: &Principal,
    now: UnixMillis,
    event: &AuditEvent,
) -> Result<(), DbError> {
    append_many(conn, principal, now, std::slice::from_ref(event))
}

/// Writes several events within their transaction, each with the hash over itself and the line
/// before.
///
/// The lock of the change log is the lock of the audit log: one lock, so that no order of locks can be
/// wrong. It is held from reading the last line to the commit.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub(super) fn append_many(
    conn: &mut Conn,
    principal: &Principal,
    now: UnixMillis,
    events: &[AuditEvent],
) -> Result<(), DbError> {
    locks::wait_for_log(conn)?;
    let end = End::find(conn)?.read_on(conn)?;
    append_after(conn, &end, principal, now, events)
}

/// Writes events behind `end`, which must be the end of the audit log under the lock.
fn append_after(
    conn: &mut Conn,
    end: &End,
    principal: &Principal,
    now: UnixMillis,
    events: &[AuditEvent],
) -> Result<(), DbError> {
    let rows = events.iter().map(|event| NewRow::new(principal, now, event));
    insert_after(conn, end, rows)
}

fn insert_after<'a>(conn: &mut Conn, end: &End, rows: impl Iterator<Item = NewRow<'a>>) -> Result<(), DbError> {
    let mut previous = end.hash;
    let rows = rows.map(|mut row| {
        previous = follow(&previous, &row.content());
        row.hash = previous.as_bytes().to_vec();
        row
    });
    let insert = diesel::insert_into(audit::table).values(rows.collect::<Vec<NewRow>>());
    match conn {
        Conn::Sqlite(conn) => insert.execute(conn)?,
        Conn::Postgres(conn) => insert.execute(conn)?,
    };
    Ok(())
}

/// Writes events that are no part of a change, in one transaction.
///
/// # Errors
/// The database rejects the statement or cannot be reached. Nothing is written then.
pub fn append_notes(conn: &mut Conn, notes: &[AuditNote]) -> Result<(), DbError> {
    conn.write(|conn| {
        locks::wait_for_log(conn)?;
        let end = End::find(conn)?.read_on(conn)?;
        let rows = notes.iter().map(|note| NewRow::new(&note.by, note.at, &note.event));
        insert_after(conn, &end, rows)
    })
}

/// Covers lines without a hash at the end of the audit log, which version 0.1 wrote, by an
/// `audit.begin` event. Does nothing if the last line has a hash.
///
/// Called at the start, because the walk over a long old log may take longer than a request.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub fn begin(conn: &mut Conn, now: UnixMillis) -> Result<(), DbError> {
    let end = End::find(conn)?;
    if end.unhashed == 0 && !end.has_more {
        return Ok(());
    }
    // Most of the walk is done without the lock: lines are only ever added behind it.
    let end = end.read_on(conn)?;
    conn.write(|conn| {
        locks::wait_for_log(conn)?;
        let end = End { has_more: true, ..end }.read_on(conn)?;
        if end.unhashed == 0 {
            return Ok(());
        }
        let event = AuditEvent {
            action: Action::AuditBegin,
            subject: "audit".into(),
            detail: json!({ "lines": end.unhashed, "last_id": end.id }),
        };
        append_after(conn, &end, &Principal::server("start"), now, &[event])
    })
}

/// The end of the audit log, as far as it was read.
#[derive(Clone, Copy)]
struct End {
    /// The last line that was read; 0 if there is none.
    id: i64,
    hash: LineHash,
    /// The number of lines without a hash since the last one with a hash.
    unhashed: i64,
    /// Whether lines may follow that were not read.
    has_more: bool,
}

impl End {
    /// The last line, if it has a hash. Otherwise the last line that has one.
    fn find(conn: &mut Conn) -> Result<Self, DbError> {
        type Found = Option<(i64, Option<Vec<u8>>)>;
        let columns = (audit::id, audit::hash);
        let newest = audit::table.order(audit::id.desc()).select(columns);
        let last: Found = newest.first(conn).optional()?;
        let hash_of = |found: &Found| found.as_ref()?.1.as_deref().and_then(LineHash::from_stored);
        let (id, hash, has_more) = match (&last, hash_of(&last)) {
            (None, _) => (0, LineHash::START, false),
            (Some((id, _)), Some(hash)) => (*id, hash, false),
            (Some(_), None) => {
                let hashed: Found = newest.filter(audit::hash.is_not_null()).first(conn).optional()?;
                match (&hashed, hash_of(&hashed)) {
                    (Some((id, _)), Some(hash)) => (*id, hash, true),
                    _ => (0, LineHash::START, true),
                }
            }
        };
        Ok(Self {
            id,
            hash,
            unhashed: 0,
            has_more,
        })
    }

    /// Reads to the end.
    fn read_on(mut self, conn: &mut Conn) -> Result<Self, DbError> {
        while self.has_more {
            let page = rows_after(conn, self.id, PAGE_SIZE)?;
            self.has_more = page.len() as i64 == PAGE_SIZE;
            for row in page {
                self.id = row.id;
                match row.hash.as_deref().and_then(LineHash::from_stored) {
                    Some(hash) => (self.hash, self.unhashed) = (hash, 0),
                    None => {
                        self.hash = follow(&self.hash, &row.content());
                        self.unhashed += 1;
                    }
                }
            }
        }
        Ok(self)
    }
}

/// Lines read per query while the whole log is read.
pub const PAGE_SIZE: i64 = 500;

/// A new row. The database assigns its number.
#[derive(Insertable)]
#[diesel(table_name = audit, treat_none_as_default_value = false)]
struct NewRow<'a> {
    at_ms: i64,
    who: &'a str,
    origin: &'a str,
    action: &'a str,
    subject: &'a str,
    detail: String,
    kind: &'static str,
    context: String,
    hash: Vec<u8>,
}

impl<'a> NewRow<'a> {
    /// The row without its hash.
    fn new(principal: &'a Principal, now: UnixMillis, event: &'a AuditEvent) -> Self {
        Self {
            at_ms: now.0,
            who: &principal.actor,
            origin: &principal.source,
            action: event.action.name(),
            subject: &event.subject,
            detail: event.detail.to_string(),
            kind: principal.kind.name(),
            context: principal.context.to_string(),
            hash: Vec::new(),
        }
    }

    fn content(&self) -> LineContent<'_> {
        LineContent {
            at_ms: self.at_ms,
            texts: [
                Some(self.who),
                Some(self.kind),
                Some(self.origin),
                Some(self.action),
                Some(self.subject),
                Some(&self.detail),
                Some(&self.context),
            ],
        }
    }
}

#[derive(Queryable)]
struct AuditRow {
    id: i64,
    at_ms: i64,
    who: String,
    origin: String,
    action: String,
    subject: String,
    detail: String,
    kind: Option<String>,
    context: Option<String>,
    hash: Option<Vec<u8>>,
}

/// At most `limit` events, newest first, and older than number `before` if given.
///
/// # Errors
/// The database cannot be reached.
pub fn list(conn: &mut Conn, before: Option<i64>, limit: i64) -> Result<Vec<AuditDocument>, DbError> {
    let rows: Vec<AuditRow> = audit::table
        .filter(audit::id.lt(before.unwrap_or(i64::MAX)))
        .order(audit::id.desc())
        .limit(limit)
        .load(conn)?;
    Ok(rows.into_iter().map(AuditRow::into_document).collect())
}

/// At most `limit` events after number `after`, oldest first.
///
/// # Errors
/// The database cannot be reached.
pub fn since(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<AuditDocument>, DbError> {
    let rows = rows_after(conn, after, limit)?;
    Ok(rows.into_iter().map(AuditRow::into_document).collect())
}

/// A line of the audit log, with what its hash covers.
pub struct ChainLine(AuditRow);

impl ChainLine {
    /// The number of the line.
    pub fn id(&self) -> i64 {
        self.0.id
    }

    /// What its hash covers.
    pub fn content(&self) -> LineContent<'_> {
        self.0.content()
    }

    /// The stored hash.
    pub fn stored_hash(&self) -> Option<&[u8]> {
        self.0.hash.as_deref()
    }

    /// The line as it is printed.
    pub fn into_document(self) -> AuditDocument {
        self.0.into_document()
    }
}

/// As [`since`], to verify the lines.
///
/// # Errors
/// As [`since`].
pub fn lines(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<ChainLine>, DbError> {
    Ok(rows_after(conn, after, limit)?.into_iter().map(ChainLine).collect())
}

fn rows_after(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<AuditRow>, DbError> {
    let rows = audit::table
        .filter(audit::id.gt(after))
        .order(audit::id)
        .limit(limit)
        .load(conn)?;
    Ok(rows)
}

impl AuditRow {
    fn content(&self) -> LineContent<'_> {
        LineContent {
            at_ms: self.at_ms,
            texts: [
                Some(&self.who),
                self.kind.as_deref(),
                Some(&self.origin),
                Some(&self.action),
                Some(&self.subject),
                Some(&self.detail),
                self.context.as_deref(),
            ],
        }
    }

    fn into_document(self) -> AuditDocument {
        let object = |text: &str| serde_json::from_str(text).unwrap_or_default();
        AuditDocument {
            id: self.id,
            at: UnixMillis(self.at_ms).to_string(),
            actor_kind: self.kind(),
            actor: self.who,
            source: self.origin,
            action: self.action,
            subject: self.subject,
            detail: object(&self.detail),
            context: object(self.context.as_deref().unwrap_or("{}")),
            hash: self.hash.as_deref().map(hex),
        }
    }

    /// Version 0.1 did not store the kind. The source tells it.
    fn kind(&self) -> ActorKind {
        let stored = self.kind.as_deref().and_then(|kind| kind.parse().ok());
        stored.unwrap_or_else(|| match self.origin.as_str() {
            "keys.rotate_every" => ActorKind::Server,
            source if source.starts_with("command line") => ActorKind::User,
            _ => ActorKind::Client,
        })
    }
}
