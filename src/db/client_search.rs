//! Clients by name and label.
//!
//! No index helps to find a part of a name, and one of labels would be for few. So a search walks
//! through the clients in the order of their ids, and visits a bounded number for each page.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use super::clients;
use super::conn::Conn;
use super::error::DbError;
use super::schema::clients as table;
use crate::api::client_search::ClientSearch;
use crate::oauth::client::{Client, ClientId};

/// Maximum number of clients that one search visits for a page.
pub const WALK: i64 = 20_000;

/// A page of clients.
#[derive(Debug)]
pub struct Found {
    /// The clients, ordered by id.
    pub clients: Vec<Client>,
    /// Where to continue; `None` at the end of all clients.
    pub next: Option<ClientId>,
}

/// At most `limit` of the clients that match, those after the id `after`. A search visits at most
/// `walk` clients: it may find few or none, and return where to continue.
///
/// # Errors
/// The database cannot be reached, or a row is malformed.
pub fn search(
    conn: &mut Conn,
    wanted: &ClientSearch,
    after: Option<&ClientId>,
    limit: usize,
    walk: i64,
) -> Result<Found, DbError> {
    let after = after.map_or("", ClientId::as_str);
    let fetched = limit as i64 + 1;
    if wanted.is_empty() {
        let mut found = clients::list(conn, Some(after), fetched)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|client| client.id.clone());
        return Ok(Found { clients: found, next });
    }
    let end: Option<String> = table::table
        .filter(table::client_id.gt(after))
        .order(table::client_id)
        .select(table::client_id)
        .offset(walk - 1)
        .first(conn)
        .optional()?;
    // Decided by the ids: one of the clients may be deleted before it is read.
    let mut ids = matching(conn, wanted, after, end.as_deref(), fetched)?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let next = match more {
        true => ids.last().cloned(),
        false => end,
    };
    let position = |id: String| ClientId::parse(&id).ok_or_else(|| malformed(&id));
    Ok(Found {
        clients: clients::with_ids(conn, &ids)?,
        next: next.map(position).transpose()?,
    })
}

fn malformed(id: &str) -> DbError {
    DbError::Inconsistent(format!("client {id:?} has a malformed client_id"))
}

/// The ids of at most `limit` clients that match, after `after` and up to `end`.
fn matching(
    conn: &mut Conn,
    wanted: &ClientSearch,
    after: &str,
    end: Option<&str>,
    limit: i64,
) -> Result<Vec<String>, DbError> {
    // Not LIKE: the position of a text needs no pattern, whose wildcards would have to be escaped.
    // With the collation C, PostgreSQL folds the letters of ASCII alone, as SQLite always does.
    let (position, name) = match conn {
        Conn::Sqlite(_) => ("instr(", "lower(clients.name)"),
        Conn::Postgres(_) => ("strpos(", "lower(clients.name COLLATE \"C\")"),
    };
    let contains = |column: &str, part: String| {
        sql::<Bool>(&format!("{position}{column}, "))
            .bind::<Text, _>(part)
            .sql(") > 0")
    };
    let mut ids = table::table
        .filter(table::client_id.gt(after))
        .order(table::client_id)
        .select(table::client_id)
        .limit(limit)
        .into_boxed();
    if let Some(end) = end {
        ids = ids.filter(table::client_id.le(end));
    }
    if let Some(part) = wanted.name() {
        ids = ids.filter(contains(name, part.to_owned()));
    }
    for fragment in wanted.label_fragments() {
        ids = ids.filter(contains("clients.labels", fragment));
    }
    Ok(ids.load(conn)?)
}
