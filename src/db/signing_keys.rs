//! The signing keys. Encryption, if configured, happens before the keys reach this module.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use serde_json::json;
use zeroize::Zeroizing;

use super::audit;
use super::authority;
use super::changes::{self, Change};
use super::conn::Conn;
use super::error::DbError;
use super::locks;
use super::schema::signing_keys;
use crate::api::audit::{Action, AuditEvent, Principal};
use crate::clock::Clock;
use crate::keys::rotation::Publication;
use crate::keys::{KeyRecord, StoredKey};
use crate::oauth::alg::Alg;
use crate::time::UnixMillis;

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
/// The database cannot be reached, or a row has an unknown algorithm.
pub fn list(conn: &mut Conn) -> Result<Vec<StoredKey>, DbError> {
    let rows: Vec<KeyRow> = signing_keys::table
        .order((signing_keys::created_at_ms, signing_keys::kid))
        .load(conn)?;
    rows.into_iter()
        .map(|row| {
            Ok(StoredKey {
                alg: algorithm(&row.kid, &row.alg)?,
                kid: row.kid,
                private: Zeroizing::new(row.private_key),
                encrypted: row.sealed,
                created_at: UnixMillis(row.created_at_ms),
                activates_at: UnixMillis(row.activates_at_ms),
                retires_at: row.retires_at_ms.map(UnixMillis),
            })
        })
        .collect()
}

/// The records of all keys, oldest first, without reading private keys.
///
/// # Errors
/// As [`list`].
pub fn records(conn: &mut Conn) -> Result<Vec<KeyRecord>, DbError> {
    type Columns = (String, String, bool, i64, i64, Option<i64>);
    let rows: Vec<Columns> = signing_keys::table
        .order((signing_keys::created_at_ms, signing_keys::kid))
        .select((
            signing_keys::kid,
            signing_keys::alg,
            signing_keys::sealed,
            signing_keys::created_at_ms,
            signing_keys::activates_at_ms,
            signing_keys::retires_at_ms,
        ))
        .load(conn)?;
    let record = |(kid, alg, encrypted, created_at, activates_at, retires_at): Columns| {
        Ok(KeyRecord {
            alg: algorithm(&kid, &alg)?,
            kid,
            encrypted,
            created_at: UnixMillis(created_at),
            activates_at: UnixMillis(activates_at),
            retires_at: retires_at.map(UnixMillis),
        })
    };
    rows.into_iter().map(record).collect()
}

fn algorithm(kid: &str, name: &str) -> Result<Alg, DbError> {
    let unknown = |_| DbError::Inconsistent(format!("signing key {kid} has an unknown alg"));
    name.parse().map_err(unknown)
}

fn insert(conn: &mut Conn, key: &StoredKey) -> Result<(), DbError> {
    let row = KeyRow {
        kid: key.kid.clone(),
        alg: key.alg.name().to_owned(),
        private_key: key.private.to_vec(),
        sealed: key.encrypted,
        created_at_ms: key.created_at.0,
        activates_at_ms: key.activates_at.0,
        retires_at_ms: key.retires_at.map(|at| at.0),
    };
    diesel::insert_into(signing_keys::table).values(row).execute(conn)?;
    Ok(())
}

/// Ensures that every algorithm has a key, by calling `generate` for each one without.
///
/// Runs in one transaction that locks first, so that only one of several starting instances
/// generates keys.
///
/// # Errors
/// The error of `generate`, or the database rejects the statement or cannot be reached.
pub fn complete(
    conn: &mut Conn,
    now: UnixMillis,
    generate: impl Fn(Alg) -> Result<StoredKey, DbError>,
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
        if let Conn::Postgres(conn) = conn {
            // Generating RSA keys takes time, during which the transaction is idle.
            conn.batch_execute("SET LOCAL idle_in_transaction_session_timeout = '1min'")?;
        }
        // The lock of the change log is used here too. On SQLite, the transaction itself is the
        // lock.
        changes::append(conn, &Change::Keys, now)?;
        for alg in missing(&list(conn)?) {
            insert(conn, &generate(alg)?)?;
        }
        list(conn)
    })
}

/// The result of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The published keys.
    pub published: Vec<KeyRecord>,
    /// The removed keys.
    pub removed: Vec<KeyRecord>,
    /// All current keys, oldest first.
    pub keys: Vec<KeyRecord>,
}

impl Rotated {
    /// A rotation without changes.
    pub fn nothing(keys: Vec<KeyRecord>) -> Self {
        Self {
            published: Vec::new(),
            removed: Vec::new(),
            keys,
        }
    }
}

/// Publishes keys of `generated` as `decide` returns, and removes expired keys.
///
/// `decide` runs under the lock of the change log, with the current rows and the current time. If
/// several instances rotate at the same moment, the second one therefore sees the key of the first.
/// A publication without a key in `generated` is left for a later rotation, because generating a
/// key may take long.
///
/// # Errors
/// The database rejects the statement or cannot be reached. [`DbError::Inconsistent`] if a new key
/// is encrypted and the stored keys are not, or the reverse: the instances have different
/// `keys.encryption_key`, and some of them could not use the key. [`DbError::NotAuthorized`] if the
/// operator may not rotate keys any more.
pub fn rotate(
    conn: &mut Conn,
    clock: &Clock,
    by: &Principal,
    mut generated: Vec<StoredKey>,
    decide: impl FnOnce(&[KeyRecord], UnixMillis) -> Vec<Publication>,
) -> Result<Rotated, DbError> {
    enable_secure_delete(conn)?;
    conn.write(|conn| {
        locks::wait_for_log(conn)?;
        let now = clock.now();
        authority::held(conn, by, now)?;
        let before = records(conn)?;
        let mut published = Vec::new();
        for publication in decide(&before, now) {
            let Some(at) = generated.iter().position(|key| key.alg == publication.alg) else {
                continue;
            };
            let mut key = generated.swap_remove(at);
            if before.iter().any(|other| other.encrypted != key.encrypted) {
                return Err(DbError::Inconsistent(
                    "only some private keys are encrypted: keys.encryption_key must be the same on all instances"
                        .into(),
                ));
            }
            retire_others(conn, publication)?;
            (key.created_at, key.activates_at) = (now, publication.activates_at);
            insert(conn, &key)?;
            published.push(KeyRecord::from(&key));
        }
        let (removed, keys): (Vec<KeyRecord>, Vec<KeyRecord>) =
            records(conn)?.into_iter().partition(|key| key.is_expired(now));
        for key in &removed {
            diesel::delete(signing_keys::table.find(&key.kid)).execute(conn)?;
        }
        if !published.is_empty() || !removed.is_empty() {
            changes::append(conn, &Change::Keys, now)?;
            audit::append(conn, by, now, &event_of(&published, &removed))?;
        }
        Ok(Rotated {
            published,
            removed,
            keys,
        })
    })
}

fn event_of(published: &[KeyRecord], removed: &[KeyRecord]) -> AuditEvent {
    let kids = |keys: &[KeyRecord]| keys.iter().map(|key| key.kid.clone()).collect::<Vec<String>>();
    let new = published
        .iter()
        .map(|key| json!({ "kid": key.kid, "alg": key.alg.name(), "activates_at": key.activates_at.to_string() }));
    AuditEvent {
        action: Action::KeyRotate,
        subject: kids(published).join(" "),
        detail: json!({ "published": new.collect::<Vec<_>>(), "removed": kids(removed) }),
    }
}

/// Schedules the removal of the other keys of the algorithm, unless they are removed earlier.
fn retire_others(conn: &mut Conn, publication: Publication) -> Result<(), DbError> {
    let end = publication.others_until.0;
    let later = signing_keys::retires_at_ms
        .is_null()
        .or(signing_keys::retires_at_ms.gt(end).assume_not_null());
    diesel::update(signing_keys::table.filter(signing_keys::alg.eq(publication.alg.name()).and(later)))
        .set(signing_keys::retires_at_ms.eq(end))
        .execute(conn)?;
    Ok(())
}

/// Overwrites deleted content. Otherwise a private key would remain readable in the free part of
/// its page.
fn enable_secure_delete(conn: &mut Conn) -> Result<(), DbError> {
    if let Conn::Sqlite(conn) = conn {
        conn.batch_execute("PRAGMA secure_delete = ON")?;
    }
    Ok(())
}

/// Encrypts the private keys that are stored unencrypted.
///
/// # Errors
/// The error of `encrypt`, or the database rejects the statement or cannot be reached. Nothing is
/// changed then.
pub fn encrypt_all(
    conn: &mut Conn,
    now: UnixMillis,
    encrypt: impl Fn(&StoredKey) -> Result<Vec<u8>, DbError>,
) -> Result<(), DbError> {
    enable_secure_delete(conn)?;
    conn.write(|conn| {
        changes::append(conn, &Change::Keys, now)?;
        for key in list(conn)?.iter().filter(|key| !key.encrypted) {
            diesel::update(signing_keys::table.find(&key.kid))
                .set((
                    signing_keys::private_key.eq(encrypt(key)?),
                    signing_keys::sealed.eq(true),
                ))
                .execute(conn)?;
        }
        Ok(())
    })
}
