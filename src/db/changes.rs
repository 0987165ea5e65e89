//! The change log. Every write that affects a cache appends to it in its own transaction.

use diesel::prelude::*;

use super::conn::Conn;
use super::error::DbError;
use super::locks;
use super::schema::changes;
use crate::oauth::activity::InvalidatedToken;
use crate::oauth::client::ClientId;
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;

/// A change of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A client or its secrets.
    Client(ClientId),
    /// The global not-before, which applies to all clients.
    GlobalNotBefore,
    /// A token was revoked or redeemed.
    InvalidatedToken(InvalidatedToken),
    /// The signing keys.
    Keys,
    /// The forward-auth policy.
    Routes,
    /// A change that a newer version wrote. This version cannot interpret it and drops everything
    /// cached.
    Unknown,
}

impl Change {
    fn columns(&self) -> (&'static str, String) {
        match self {
            Change::Client(id) => ("client", id.to_string()),
            Change::GlobalNotBefore => ("everybody", String::new()),
            Change::InvalidatedToken(token) => ("spent", format!("{} {}", token.jti, token.expires_at)),
            Change::Keys => ("keys", String::new()),
            Change::Routes => ("routes", String::new()),
            Change::Unknown => ("unknown", String::new()),
        }
    }

    fn from_columns(kind: &str, subject: &str) -> Self {
        let known = match kind {
            "client" => ClientId::parse(subject).map(Change::Client),
            "everybody" => Some(Change::GlobalNotBefore),
            "spent" => invalidated(subject).map(Change::InvalidatedToken),
            "keys" => Some(Change::Keys),
            "routes" => Some(Change::Routes),
            _ => None,
        };
        known.unwrap_or(Change::Unknown)
    }
}

/// Parses `JTI EXP`. The log contains the whole revocation, so that applying it needs no query.
fn invalidated(subject: &str) -> Option<InvalidatedToken> {
    let (jti, expires_at) = subject.split_once(' ')?;
    Some(InvalidatedToken {
        jti: TokenId::parse(jti)?,
        expires_at: expires_at.parse().ok()?,
    })
}

/// Appends to the log. Call this within the transaction of the write.
///
/// PostgreSQL assigns sequence numbers before the commit, so a reader could miss a number that is
/// committed late. Writers therefore hold a lock until they commit: numbers become visible in
/// order.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub fn append(conn: &mut Conn, change: &Change, now: UnixMillis) -> Result<(), DbError> {
    locks::wait_for_log(conn)?;
    let (kind, subject) = change.columns();
    diesel::insert_into(changes::table)
        .values((
            changes::kind.eq(kind),
            changes::subject.eq(subject),
            changes::at_ms.eq(now.0),
        ))
        .execute(conn)?;
    Ok(())
}

/// As [`append`], with one line for each of several clients.
///
/// # Errors
/// As [`append`].
pub(super) fn append_clients(conn: &mut Conn, ids: &[&ClientId], now: UnixMillis) -> Result<(), DbError> {
    /// A new row. The database assigns its number.
    #[derive(Insertable)]
    #[diesel(table_name = changes, treat_none_as_default_value = false)]
    struct NewRow<'a> {
        kind: &'a str,
        subject: &'a str,
        at_ms: i64,
    }
    locks::wait_for_log(conn)?;
    let rows: Vec<NewRow> = ids
        .iter()
        .map(|id| NewRow {
            kind: "client",
            subject: id.as_str(),
            at_ms: now.0,
        })
        .collect();
    let insert = diesel::insert_into(changes::table).values(rows);
    match conn {
        Conn::Sqlite(conn) => insert.execute(conn)?,
        Conn::Postgres(conn) => insert.execute(conn)?,
    };
    Ok(())
}

/// The number of the last change; 0 if there is none.
///
/// # Errors
/// The database cannot be reached.
pub fn last(conn: &mut Conn) -> Result<i64, DbError> {
    let last = changes::table
        .select(diesel::dsl::max(changes::seq))
        .first::<Option<i64>>(conn)?;
    Ok(last.unwrap_or(0))
}

/// A line of the change log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The number of the change.
    pub seq: i64,
    /// When the line was written, by the clock of its writer.
    pub at: UnixMillis,
    /// The change.
    pub change: Change,
}

/// The columns of a line.
type Row = (i64, i64, String, String);

impl From<Row> for Line {
    fn from((seq, at, kind, subject): Row) -> Self {
        Self {
            seq,
            at: UnixMillis(at),
            change: Change::from_columns(&kind, &subject),
        }
    }
}

/// Up to `limit` lines from number `seq` on, oldest first.
///
/// # Errors
/// The database cannot be reached.
pub fn from(conn: &mut Conn, seq: i64, limit: i64) -> Result<Vec<Line>, DbError> {
    let rows = changes::table
        .filter(changes::seq.ge(seq))
        .order(changes::seq)
        .limit(limit)
        .select((changes::seq, changes::at_ms, changes::kind, changes::subject))
        .load::<Row>(conn)?;
    Ok(rows.into_iter().map(Line::from).collect())
}

/// The lines with these numbers, as far as they exist.
///
/// # Errors
/// The database cannot be reached.
pub fn at(conn: &mut Conn, numbers: &[i64]) -> Result<Vec<Line>, DbError> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let rows = changes::table
        .filter(changes::seq.eq_any(numbers))
        .order(changes::seq)
        .select((changes::seq, changes::at_ms, changes::kind, changes::subject))
        .load::<Row>(conn)?;
    Ok(rows.into_iter().map(Line::from).collect())
}

/// The clients that changed recently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentChanges {
    /// The list is complete for changes after this number.
    pub after: i64,
    /// Each client with the number of its last change.
    pub clients: Vec<(ClientId, i64)>,
}

/// The clients that changed since `since`, if there are at most `limit`. If there are more, the
/// result is empty and begins at the end of the log.
///
/// # Errors
/// The database cannot be reached.
pub fn recent(conn: &mut Conn, since: UnixMillis, limit: i64) -> Result<RecentChanges, DbError> {
    let before = changes::table
        .filter(changes::at_ms.lt(since.0))
        .order(changes::seq.desc())
        .select(changes::seq)
        .first::<i64>(conn)
        .optional()?;
    let first = changes::table
        .select(diesel::dsl::min(changes::seq))
        .first::<Option<i64>>(conn)?;
    // Lines before the first one were removed or never existed.
    let mut after = before.or(first.map(|first| first - 1)).unwrap_or(0);
    let last_unknown = changes::table
        .filter(changes::seq.gt(after))
        .filter(changes::kind.ne_all(["client", "everybody", "spent", "keys", "routes"]))
        .select(diesel::dsl::max(changes::seq))
        .first::<Option<i64>>(conn)?;
    after = last_unknown.unwrap_or(after);
    let rows: Vec<(String, Option<i64>)> = changes::table
        .filter(changes::seq.gt(after))
        .filter(changes::kind.eq("client"))
        .group_by(changes::subject)
        .select((changes::subject, diesel::dsl::max(changes::seq)))
        .limit(limit + 1)
        .load(conn)?;
    if rows.len() as i64 > limit {
        let after = last(conn)?;
        return Ok(RecentChanges {
            after,
            clients: Vec::new(),
        });
    }
    let clients = rows
        .into_iter()
        .filter_map(|(subject, seq)| Some((ClientId::parse(&subject)?, seq?)))
        .collect();
    Ok(RecentChanges { after, clients })
}
