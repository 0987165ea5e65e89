//! The signing keys as rows. Private keys are encrypted by the time they come here, if they are at all.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use serde_json::json;
use zeroize::Zeroizing;

use super::audit;
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
/// When the database cannot be reached, or a row names no algorithm of ours.
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

/// What is known of all keys, oldest first; private keys are not even read.
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
        if let Conn::Postgres(conn) = conn {
            // RSA keys take their time, and nothing is asked of the database meanwhile.
            conn.batch_execute("SET LOCAL idle_in_transaction_session_timeout = '1min'")?;
        }
        // The change log's lock serves here too; on SQLite the transaction itself is the lock.
        changes::append(conn, &Change::Keys, now)?;
        for alg in missing(&list(conn)?) {
            insert(conn, &make(alg)?)?;
        }
        list(conn)
    })
}

/// What a rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The new keys.
    pub published: Vec<KeyRecord>,
    /// The keys that are gone.
    pub removed: Vec<KeyRecord>,
    /// All keys as they are now, oldest first.
    pub keys: Vec<KeyRecord>,
}

impl Rotated {
    /// That there was nothing to do.
    pub fn nothing(keys: Vec<KeyRecord>) -> Self {
        Self {
            published: Vec::new(),
            removed: Vec::new(),
            keys,
        }
    }
}

/// Publishes keys out of `made` as `decide` says, and removes those that are over.
///
/// `decide` is asked under the lock of the change log, with the rows and the time as they are then: of several instances
/// that decide at the same moment, the second finds the key that the first has made. A publication for which there is no
/// key in `made` is left for another time, because making one may take long.
///
/// # Errors
/// When the database refuses or cannot be reached, or when a new key is encrypted and those that are there are not, or
/// the other way round: somebody's `keys.encryption_key` is another one, and would make the keys useless for the others.
pub fn rotate(
    conn: &mut Conn,
    clock: &Clock,
    by: &Principal,
    mut made: Vec<StoredKey>,
    decide: impl FnOnce(&[KeyRecord], UnixMillis) -> Vec<Publication>,
) -> Result<Rotated, DbError> {
    wipe_what_is_deleted(conn)?;
    conn.write(|conn| {
        locks::wait_for_log(conn)?;
        let now = clock.now();
        let before = records(conn)?;
        let mut published = Vec::new();
        for publication in decide(&before, now) {
            let Some(at) = made.iter().position(|key| key.alg == publication.alg) else {
                continue;
            };
            let mut key = made.swap_remove(at);
            if before.iter().any(|other| other.encrypted != key.encrypted) {
                return Err(DbError::Inconsistent(
                    "private keys are encrypted in part only: keys.encryption_key is not the same everywhere".into(),
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

/// The other keys of the algorithm go at the moment that is named, or earlier if that was settled before.
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

/// Or a private key would stay readable in the free part of its page.
fn wipe_what_is_deleted(conn: &mut Conn) -> Result<(), DbError> {
    if let Conn::Sqlite(conn) = conn {
        conn.batch_execute("PRAGMA secure_delete = ON")?;
    }
    Ok(())
}

/// Puts encrypted private keys in the place of those that are stored in the clear.
///
/// # Errors
/// What `encrypt` gave, or when the database refuses or cannot be reached; none is changed then.
pub fn encrypt_all(
    conn: &mut Conn,
    now: UnixMillis,
    encrypt: impl Fn(&StoredKey) -> Result<Vec<u8>, DbError>,
) -> Result<(), DbError> {
    wipe_what_is_deleted(conn)?;
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
