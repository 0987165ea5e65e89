//! Client status: which clients are disabled, and from which moment on the tokens of a client are
//! valid.

use std::collections::HashMap;

use diesel::prelude::*;

use super::changes::{self, Change};
use super::conn::Conn;
use super::error::DbError;
use super::locks;
use super::schema::{clients, not_before};
use crate::oauth::activity::ClientStatus;
use crate::oauth::client::ClientId;
use crate::time::UnixMillis;

/// The row of the global not-before. No client has an empty id.
const GLOBAL: &str = "";

/// Revokes every token issued until `now` to a client, or to all clients if `client` is `None`.
/// Returns the new not-before.
///
/// The not-before is the millisecond after `now`, because a token may have been issued earlier
/// within the millisecond of `now`.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub fn revoke_until(conn: &mut Conn, client: Option<&ClientId>, now: UnixMillis) -> Result<UnixMillis, DbError> {
    conn.write(|conn| set_not_before(conn, client, now))
}

/// As [`revoke_until`], within a transaction.
pub(super) fn set_not_before(
    conn: &mut Conn,
    client: Option<&ClientId>,
    now: UnixMillis,
) -> Result<UnixMillis, DbError> {
    // Locked first, as in every change of a client. Otherwise two writers could deadlock.
    locks::wait_for_log(conn)?;
    let moment = UnixMillis(now.0 + 1);
    let id = client.map_or(GLOBAL, ClientId::as_str);
    // A not-before never moves back. Otherwise a clock that was set back would make revoked tokens
    // active again.
    let updated = diesel::update(not_before::table.find(id))
        .filter(not_before::not_before_ms.lt(moment.0))
        .set(not_before::not_before_ms.eq(moment.0))
        .execute(conn)?;
    if updated == 0 {
        let row = (not_before::client_id.eq(id), not_before::not_before_ms.eq(moment.0));
        let insert = diesel::insert_into(not_before::table).values(row);
        match conn {
            Conn::Sqlite(conn) => insert.on_conflict_do_nothing().execute(conn)?,
            Conn::Postgres(conn) => insert.on_conflict_do_nothing().execute(conn)?,
        };
    }
    let change = client.map_or(Change::GlobalNotBefore, |id| Change::Client(id.clone()));
    changes::append(conn, &change, now)?;
    Ok(moment)
}

/// The global not-before, if any.
///
/// # Errors
/// The database cannot be reached.
pub fn global_not_before(conn: &mut Conn) -> Result<Option<UnixMillis>, DbError> {
    let moment = not_before::table
        .find(GLOBAL)
        .select(not_before::not_before_ms)
        .first::<i64>(conn)
        .optional()?;
    Ok(moment.map(UnixMillis))
}

/// The status of clients, in the order of `ids`. A client that does not exist has the status of a
/// disabled one, whatever the clock of the deleting instance was.
///
/// # Errors
/// The database cannot be reached.
pub fn of_clients(conn: &mut Conn, ids: &[ClientId]) -> Result<Vec<ClientStatus>, DbError> {
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let enabled: HashMap<String, bool> = clients::table
        .filter(clients::client_id.eq_any(texts.clone()))
        .select((clients::client_id, clients::enabled))
        .load::<(String, bool)>(conn)?
        .into_iter()
        .collect();
    let moments: HashMap<String, i64> = not_before::table
        .filter(not_before::client_id.eq_any(texts))
        .select((not_before::client_id, not_before::not_before_ms))
        .load::<(String, i64)>(conn)?
        .into_iter()
        .collect();
    let status = |id: &ClientId| ClientStatus {
        disabled: enabled.get(id.as_str()) != Some(&true),
        not_before: moments.get(id.as_str()).copied().map(UnixMillis),
    };
    Ok(ids.iter().map(status).collect())
}

/// Every client whose status differs from that of a new client.
///
/// # Errors
/// The database cannot be reached.
pub fn exceptions(conn: &mut Conn) -> Result<HashMap<ClientId, ClientStatus>, DbError> {
    let mut statuses: HashMap<ClientId, ClientStatus> = HashMap::new();
    let disabled: Vec<String> = clients::table
        .filter(clients::enabled.eq(false))
        .select(clients::client_id)
        .load(conn)?;
    for id in disabled.iter().filter_map(|id| ClientId::parse(id)) {
        statuses.entry(id).or_default().disabled = true;
    }
    let moments: Vec<(String, i64)> = not_before::table
        .select((not_before::client_id, not_before::not_before_ms))
        .load(conn)?;
    let named: Vec<ClientId> = moments.iter().filter_map(|(id, _)| ClientId::parse(id)).collect();
    // There are few: clients that were deleted or whose tokens were all revoked.
    for chunk in named.chunks(500) {
        for (id, status) in chunk.iter().zip(of_clients(conn, chunk)?) {
            statuses.insert(id.clone(), status);
        }
    }
    Ok(statuses)
}
