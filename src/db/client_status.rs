//! Client status: which clients are disabled, and whose tokens from before a moment are not valid.

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

/// The row of the global not-before: no client has an empty id.
const GLOBAL: &str = "";

/// Makes every token issued to a client until `now` inactive; to all clients, if none is named.
///
/// The moment after `now` is written: a token of this very millisecond may have been issued before.
///
/// # Errors
/// When the database refuses or cannot be reached.
pub fn revoke_until(conn: &mut Conn, client: Option<&ClientId>, now: UnixMillis) -> Result<UnixMillis, DbError> {
    conn.write(|conn| set_not_before(conn, client, now))
}

/// As [`revoke_until`], inside of a transaction.
pub(super) fn set_not_before(
    conn: &mut Conn,
    client: Option<&ClientId>,
    now: UnixMillis,
) -> Result<UnixMillis, DbError> {
    // First, as everybody who changes clients does, or two of them could wait for each other.
    locks::wait_for_log(conn)?;
    let moment = UnixMillis(now.0 + 1);
    let id = client.map_or(GLOBAL, ClientId::as_str);
    // Never back in time: a clock that was set back must not make revoked tokens active again.
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

/// The global not-before, if there is one.
///
/// # Errors
/// When the database cannot be reached.
pub fn global_not_before(conn: &mut Conn) -> Result<Option<UnixMillis>, DbError> {
    let moment = not_before::table
        .find(GLOBAL)
        .select(not_before::not_before_ms)
        .first::<i64>(conn)
        .optional()?;
    Ok(moment.map(UnixMillis))
}

/// The status of some clients, in the order in which they are named. One that does not exist has the status of a
/// disabled one, whatever the clock of the instance that deleted it said.
///
/// # Errors
/// When the database cannot be reached.
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

/// Every client whose status differs from that of a new one.
///
/// # Errors
/// When the database cannot be reached.
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
    // Few: clients that were deleted or whose tokens were all taken back.
    for chunk in named.chunks(500) {
        for (id, status) in chunk.iter().zip(of_clients(conn, chunk)?) {
            statuses.insert(id.clone(), status);
        }
    }
    Ok(statuses)
}
