//! The audit log: an event is written in the transaction of what it tells, or neither is.

use diesel::prelude::*;

use super::conn::Conn;
use super::error::DbError;
use super::schema::audit;
use crate::api::audit::{AuditDocument, AuditEvent, Principal};
use crate::time::UnixMillis;

/// Does `work` in one transaction with the event that tells of it; work that did nothing returns none.
///
/// # Errors
/// What `work` gave, or the database refuses or cannot be reached; nothing is done then.
pub fn audited<T>(
    conn: &mut Conn,
    principal: &Principal,
    now: UnixMillis,
    work: impl FnOnce(&mut Conn) -> Result<(T, Option<AuditEvent>), DbError>,
) -> Result<T, DbError> {
    conn.write(|conn| {
        let (value, event) = work(conn)?;
        if let Some(event) = event {
            append(conn, principal, now, &event)?;
        }
        Ok(value)
    })
}

/// Writes an event, inside of its transaction.
///
/// # Errors
/// When the database refuses or cannot be reached.
pub(super) fn append(
    conn: &mut Conn,
    principal: &Principal,
    now: UnixMillis,
    event: &AuditEvent,
) -> Result<(), DbError> {
    append_many(conn, principal, now, std::slice::from_ref(event))
}

/// Writes many events, inside of their transaction.
///
/// # Errors
/// When the database refuses or cannot be reached.
pub(super) fn append_many(
    conn: &mut Conn,
    principal: &Principal,
    now: UnixMillis,
    events: &[AuditEvent],
) -> Result<(), DbError> {
    let rows: Vec<NewLine> = events.iter().map(|event| NewLine::new(principal, now, event)).collect();
    let insert = diesel::insert_into(audit::table).values(rows);
    match conn {
        Conn::Sqlite(conn) => insert.execute(conn)?,
        Conn::Postgres(conn) => insert.execute(conn)?,
    };
    Ok(())
}

/// A line to be written; the database gives it its number.
#[derive(Insertable)]
#[diesel(table_name = audit, treat_none_as_default_value = false)]
struct NewLine<'a> {
    at_ms: i64,
    who: &'a str,
    origin: &'a str,
    action: &'a str,
    subject: &'a str,
    detail: String,
}

impl<'a> NewLine<'a> {
    fn new(principal: &'a Principal, now: UnixMillis, event: &'a AuditEvent) -> Self {
        Self {
            at_ms: now.0,
            who: &principal.actor,
            origin: &principal.source,
            action: event.action.name(),
            subject: &event.subject,
            detail: event.detail.to_string(),
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
}

/// At most `limit` lines, the newest first, older than line `before` if that is given.
///
/// # Errors
/// When the database cannot be reached.
pub fn list(conn: &mut Conn, before: Option<i64>, limit: i64) -> Result<Vec<AuditDocument>, DbError> {
    let rows: Vec<AuditRow> = audit::table
        .filter(audit::id.lt(before.unwrap_or(i64::MAX)))
        .order(audit::id.desc())
        .limit(limit)
        .load(conn)?;
    Ok(rows.into_iter().map(AuditRow::into_document).collect())
}

/// At most `limit` lines after line `after`, the oldest first.
///
/// # Errors
/// When the database cannot be reached.
pub fn since(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<AuditDocument>, DbError> {
    let rows: Vec<AuditRow> = audit::table
        .filter(audit::id.gt(after))
        .order(audit::id)
        .limit(limit)
        .load(conn)?;
    Ok(rows.into_iter().map(AuditRow::into_document).collect())
}

impl AuditRow {
    fn into_document(self) -> AuditDocument {
        AuditDocument {
            id: self.id,
            at: UnixMillis(self.at_ms).to_string(),
            actor: self.who,
            source: self.origin,
            action: self.action,
            subject: self.subject,
            detail: serde_json::from_str(&self.detail).unwrap_or_default(),
        }
    }
}
