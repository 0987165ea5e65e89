//! The secrets of clients. A client may have several, each stored as a hash.

use diesel::prelude::*;

use super::changes::{self, Change};
use super::conn::Conn;
use super::error::DbError;
use super::locks;
use super::schema::{clients, secrets};
use crate::oauth::client::{Client, ClientId};
use crate::oauth::secret_hash::SecretHash;
use crate::oauth::stored_secret::{LastUsed, StoredSecret};
use crate::time::UnixMillis;

#[derive(Queryable, Insertable)]
#[diesel(table_name = secrets, treat_none_as_default_value = false)]
struct SecretRow {
    secret_id: String,
    client_id: String,
    hash: String,
    created_at_ms: i64,
    expires_at_ms: Option<i64>,
    last_used_at_ms: Option<i64>,
}

/// Adds a secret to a client, within a transaction that also appends to the change log.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub(super) fn insert(conn: &mut Conn, client: &ClientId, secret: &StoredSecret) -> Result<(), DbError> {
    let row = SecretRow::new(client, secret);
    diesel::insert_into(secrets::table).values(row).execute(conn)?;
    Ok(())
}

/// Adds all secrets of new clients, as [`insert`] does.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub(super) fn insert_many(conn: &mut Conn, clients: &[&Client]) -> Result<(), DbError> {
    let of_client = |client: &&Client| -> Vec<SecretRow> {
        let rows = client.secrets.iter().map(|secret| SecretRow::new(&client.id, secret));
        rows.collect()
    };
    let rows: Vec<SecretRow> = clients.iter().flat_map(of_client).collect();
    if !rows.is_empty() {
        let insert = diesel::insert_into(secrets::table).values(rows);
        match conn {
            Conn::Sqlite(conn) => insert.execute(conn)?,
            Conn::Postgres(conn) => insert.execute(conn)?,
        };
    }
    Ok(())
}

impl SecretRow {
    fn new(client: &ClientId, secret: &StoredSecret) -> Self {
        Self {
            secret_id: secret.id.to_string(),
            client_id: client.as_str().to_owned(),
            hash: secret.hash.to_stored(),
            created_at_ms: secret.created_at.0,
            expires_at_ms: secret.expires_at.map(|at| at.0),
            last_used_at_ms: secret.last_used.moment().map(|at| at.0),
        }
    }
}

/// Maximum number of secrets of a client, including expired ones. Each is compared at every
/// request.
pub const MAX_SECRETS: i64 = 10;

/// The result of adding a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The secret was added.
    Done,
    /// No client has this id.
    NoClient,
    /// The client already has [`MAX_SECRETS`] secrets.
    TooMany,
    /// The client already has this secret, valid or not.
    Known,
}

/// Adds a secret to a client. With `others_end`, the other secrets of the client expire then,
/// unless they expire earlier.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub fn add(
    conn: &mut Conn,
    client: &ClientId,
    secret: &StoredSecret,
    others_end: Option<UnixMillis>,
) -> Result<Added, DbError> {
    conn.write(|conn| {
        // First, because the lock of the change log also keeps other writers from adding a secret.
        changes::append(conn, &Change::Client(client.clone()), secret.created_at)?;
        let of_client = secrets::table.filter(secrets::client_id.eq(client.as_str()));
        let exists: i64 = clients::table.find(client.as_str()).count().get_result(conn)?;
        if exists == 0 {
            return Ok(Added::NoClient);
        }
        let same = of_client.filter(secrets::hash.eq(secret.hash.to_stored()));
        if same.count().get_result::<i64>(conn)? > 0 {
            return Ok(Added::Known);
        }
        if of_client.count().get_result::<i64>(conn)? >= MAX_SECRETS {
            return Ok(Added::TooMany);
        }
        if let Some(end) = others_end {
            let expires_later = secrets::expires_at_ms.is_null().or(secrets::expires_at_ms.gt(end.0));
            diesel::update(secrets::table.filter(secrets::client_id.eq(client.as_str())))
                .filter(expires_later)
                .set(secrets::expires_at_ms.eq(end.0))
                .execute(conn)?;
        }
        insert(conn, client, secret)?;
        Ok(Added::Done)
    })
}

/// Deletes a secret. Returns `false` if the client has none with this id.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub fn revoke(conn: &mut Conn, client: &ClientId, secret_id: &str, now: UnixMillis) -> Result<bool, DbError> {
    conn.write(|conn| {
        // Locked first, as in every change of a secret. Otherwise two writers could deadlock.
        locks::wait_for_log(conn)?;
        let the_secret = secrets::client_id
            .eq(client.as_str())
            .and(secrets::secret_id.eq(secret_id));
        let deleted = diesel::delete(secrets::table.filter(the_secret)).execute(conn)?;
        if deleted == 1 {
            changes::append(conn, &Change::Client(client.clone()), now)?;
        }
        Ok(deleted == 1)
    })
}

/// Replaces the stored hash `from` of a secret with `to`. Returns `false` if the secret has another
/// hash or does not exist.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub fn rehash(
    conn: &mut Conn,
    client: &ClientId,
    secret_id: &str,
    from: &SecretHash,
    to: &SecretHash,
    now: UnixMillis,
) -> Result<bool, DbError> {
    conn.write(|conn| {
        // Locked first, as in every change of a secret. Otherwise two writers could deadlock.
        locks::wait_for_log(conn)?;
        let the_secret = secrets::client_id
            .eq(client.as_str())
            .and(secrets::secret_id.eq(secret_id))
            .and(secrets::hash.eq(from.to_stored()));
        let replaced = diesel::update(secrets::table.filter(the_secret))
            .set(secrets::hash.eq(to.to_stored()))
            .execute(conn)?;
        if replaced == 1 {
            changes::append(conn, &Change::Client(client.clone()), now)?;
        }
        Ok(replaced == 1)
    })
}

/// Records when secrets were last used. An earlier time never replaces a later one.
///
/// # Errors
/// The database rejects the statement or cannot be reached. Nothing is recorded then.
pub fn used(conn: &mut Conn, uses: &[(String, UnixMillis)]) -> Result<(), DbError> {
    let mut uses: Vec<&(String, UnixMillis)> = uses.iter().collect();
    // The same order on all instances. Each transaction keeps its changed rows locked until it
    // commits, so different orders could deadlock.
    uses.sort_unstable();
    conn.write(|conn| {
        for (secret_id, moment) in uses {
            let earlier = secrets::last_used_at_ms
                .is_null()
                .or(secrets::last_used_at_ms.lt(moment.0));
            diesel::update(secrets::table.find(secret_id))
                .filter(earlier)
                .set(secrets::last_used_at_ms.eq(moment.0))
                .execute(conn)?;
        }
        Ok(())
    })
}

/// Deletes all secrets of a client.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub(super) fn delete_all(conn: &mut Conn, client: &ClientId) -> Result<(), DbError> {
    diesel::delete(secrets::table.filter(secrets::client_id.eq(client.as_str()))).execute(conn)?;
    Ok(())
}

/// The secrets of clients, each with the id of its client, oldest first.
///
/// # Errors
/// The database cannot be reached, or a stored hash is malformed.
pub(super) fn of_clients(conn: &mut Conn, clients: &[&str]) -> Result<Vec<(String, StoredSecret)>, DbError> {
    let rows: Vec<SecretRow> = secrets::table
        .filter(secrets::client_id.eq_any(clients.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()))
        .order((secrets::created_at_ms, secrets::secret_id))
        .load(conn)?;
    rows.into_iter()
        .map(|row| {
            let hash = SecretHash::from_stored(&row.hash)
                .ok_or_else(|| DbError::Inconsistent(format!("secret {} has a malformed hash", row.secret_id)))?;
            let secret = StoredSecret {
                id: row.secret_id.into(),
                hash,
                created_at: UnixMillis(row.created_at_ms),
                expires_at: row.expires_at_ms.map(UnixMillis),
                last_used: LastUsed::at(row.last_used_at_ms.map(UnixMillis)),
            };
            Ok((row.client_id, secret))
        })
        .collect()
}
