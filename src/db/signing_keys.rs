//! The signing keys as rows. Private keys are encrypted by the time they come here, if they are at all.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use zeroize::Zeroizing;

use super::changes::{self, Change};
use super::conn::Conn;
use super::error::DbError;
use super::schema::signing_keys;
use crate::keys::StoredKey;
use crate::oauth::alg::Alg;
use crate::oauth::time::UnixMillis;

#[derive(Queryable, Insertable)]
#[diesel(table_name = signing_keys, treat_none_as_default_value = false)]
struct KeyRow {
    kid: String,
    alg: String,
    private_key: Vec<u8>,
    sealed: bool,
    created_at_ms: i64,
    activates_at_ms: i64,
    retires_at_ms: Option<i64>,
}

/// All keys, oldest first.
///
/// # Errors
/// When the database cannot be reached, or a row names no algorithm of ours.
pub fn list(conn: &mut Conn) -> Result<Vec<StoredKey>, DbError> {
    let rows: Vec<KeyRow> = signing_keys::table
        .order((signing_keys::created_at_ms, signing_keys::kid))
        .load(conn)?;
    rows.into_iter()
        .map(|row| {
            let alg = row
                .alg
                .parse()
                .map_err(|_| DbError::Inconsistent(format!("signing key {} has an unknown alg", row.kid)))?;
            Ok(StoredKey {
                kid: row.kid,
                alg,
                private: Zeroizing::new(row.private_key),
                sealed: row.sealed,
                created_at: UnixMillis(row.created_at_ms),
                activates_at: UnixMillis(row.activates_at_ms),
                retires_at: row.retires_at_ms.map(UnixMillis),
            })
        })
        .collect()
}

/// Makes sure that there is a key for every algorithm: `make` is called for each that lacks one.
///
/// In one transaction that locks first, so that of several instances starting at once only one makes keys.
///
/// # Errors
/// What `make` gave, or when the database refuses or cannot be reached.
pub fn complete(
    conn: &mut Conn,
    now: UnixMillis,
    make: impl Fn(Alg) -> Result<StoredKey, DbError>,
) -> Result<Vec<StoredKey>, DbError> {
    let missing = |keys: &[StoredKey]| -> Vec<Alg> {
        Alg::ALL
            .into_iter()
            .filter(|alg| !keys.iter().any(|key| key.alg == *alg))
            .collect()
    };
    let keys = list(conn)?;
    if missing(&keys).is_empty() {
        return Ok(keys);
    }
    conn.write(|conn| {
        // The change log's lock serves here too; on SQLite the transaction itself is the lock.
        changes::append(conn, &Change::Keys, now)?;
        for alg in missing(&list(conn)?) {
            let key = make(alg)?;
            let row = KeyRow {
                kid: key.kid.clone(),
                alg: key.alg.name().to_owned(),
                private_key: key.private.to_vec(),
                sealed: key.sealed,
                created_at_ms: key.created_at.0,
                activates_at_ms: key.activates_at.0,
                retires_at_ms: key.retires_at.map(|at| at.0),
            };
            diesel::insert_into(signing_keys::table).values(row).execute(conn)?;
        }
        list(conn)
    })
}

/// Puts encrypted private keys in the place of those that are stored in the clear.
///
/// # Errors
/// What `seal` gave, or when the database refuses or cannot be reached; none is changed then.
pub fn seal_all(
    conn: &mut Conn,
    now: UnixMillis,
    seal: impl Fn(&StoredKey) -> Result<Vec<u8>, DbError>,
) -> Result<(), DbError> {
    if let Conn::Sqlite(conn) = conn {
        // Or the clear key would stay readable in the free part of its page.
        conn.batch_execute("PRAGMA secure_delete = ON")?;
    }
    conn.write(|conn| {
        changes::append(conn, &Change::Keys, now)?;
        for key in list(conn)?.iter().filter(|key| !key.sealed) {
            diesel::update(signing_keys::table.find(&key.kid))
                .set((signing_keys::private_key.eq(seal(key)?), signing_keys::sealed.eq(true)))
                .execute(conn)?;
        }
        Ok(())
    })
}
