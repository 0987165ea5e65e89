//! The audit log. An event is written in the transaction of the change that it describes, or
//! neither is.

use diesel::prelude::*;

use super::conn::Conn;
use super::error::DbError;
use super::schema::audit;
use crate::api::audit::{ActorKind, AuditDocument, AuditEvent, Principal};
use crate::time::UnixMillis;

/// Runs `work` and writes its event in one transaction. `work` returns no event if it changed
/// nothing.
///
/// # Errors
/// The error of `work`, or the database rejects the statement or cannot be reached. Nothing is
/// changed then.
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

/// Writes several events within their transaction.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub(super) fn append_many(
    conn: &mut Conn,
    principal: &Principal,
    now: UnixMillis,
    events: &[AuditEvent],
) -> Result<(), DbError> {
    let rows: Vec<NewRow> = events.iter().map(|event| NewRow::new(principal, now, event)).collect();
    let insert = diesel::insert_into(audit::table).values(rows);
    match conn {
        Conn::Sqlite(conn) => insert.execute(conn)?,
        Conn::Postgres(conn) => insert.execute(conn)?,
    };
    Ok(())
}

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
}

impl<'a> NewRow<'a> {
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
    let rows: Vec<AuditRow> = audit::table
        .filter(audit::id.gt(after))
        .order(audit::id)
        .limit(limit)
        .load(conn)?;
    Ok(rows.into_iter().map(AuditRow::into_document).collect())
}

impl AuditRow {
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
