//! The secrets of clients: several at a time, each a hash.

use diesel::prelude::*;

use super::conn::Conn;
use super::error::DbError;
use super::schema::secrets;
use crate::oauth::client::ClientId;
use crate::oauth::secret::{SecretHash, StoredSecret};
use crate::oauth::time::UnixMillis;

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

/// Adds a secret to a client; part of a transaction that also appends to the change log.
///
/// # Errors
/// When the database refuses or cannot be reached.
pub(super) fn insert(conn: &mut Conn, client: &ClientId, secret: &StoredSecret) -> Result<(), DbError> {
    let row = SecretRow {
        secret_id: secret.id.clone(),
        client_id: client.as_str().to_owned(),
        hash: secret.hash.to_stored(),
        created_at_ms: secret.created_at.0,
        expires_at_ms: secret.expires_at.map(|at| at.0),
        last_used_at_ms: None,
    };
    diesel::insert_into(secrets::table).values(row).execute(conn)?;
    Ok(())
}

/// Removes every secret of a client.
///
/// # Errors
/// When the database refuses or cannot be reached.
pub(super) fn delete_all(conn: &mut Conn, client: &ClientId) -> Result<(), DbError> {
    diesel::delete(secrets::table.filter(secrets::client_id.eq(client.as_str()))).execute(conn)?;
    Ok(())
}

/// The secrets of some clients, each with the id of its client, oldest first.
///
/// # Errors
/// When the database cannot be reached, or a stored hash is none.
pub(super) fn of_clients(conn: &mut Conn, clients: &[&str]) -> Result<Vec<(String, StoredSecret)>, DbError> {
    let rows: Vec<SecretRow> = secrets::table
        .filter(secrets::client_id.eq_any(clients.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()))
        .order((secrets::created_at_ms, secrets::secret_id))
        .load(conn)?;
    rows.into_iter()
        .map(|row| {
            let hash = SecretHash::from_stored(&row.hash)
                .ok_or_else(|| DbError::Inconsistent(format!("secret {} has no readable hash", row.secret_id)))?;
            let secret = StoredSecret {
                id: row.secret_id,
                hash,
                created_at: UnixMillis(row.created_at_ms),
                expires_at: row.expires_at_ms.map(UnixMillis),
            };
            Ok((row.client_id, secret))
        })
        .collect()
}
