//! The signing keys. Their private keys are encrypted before they reach this module; it encrypts
//! those that an earlier configuration left plain. Every reader decides here which rows it
//! believes ([`crate::keys::trust`]).

use std::collections::HashMap;

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
use crate::keys::trust::{self, Checked, Finding, UncheckedRow};
use crate::keys::{KeyEncryptionKey, KeyError, KeyRecord, StoredKey};
use crate::oauth::alg::Alg;
use crate::time::UnixMillis;

#[derive(Queryable, Insertable)]
#[diesel(table_name = signing_keys, treat_none_as_default_value = false)]
pub(super) struct KeyRow {
    pub(super) kid: String,
    alg: String,
    private_key: Vec<u8>,
    pub(super) sealed: bool,
    created_at_ms: i64,
    activates_at_ms: i64,
    retires_at_ms: Option<i64>,
    attestation: Option<Vec<u8>>,
}

impl KeyRow {
    fn unchecked(&self) -> UncheckedRow {
        UncheckedRow {
            kid: self.kid.clone(),
            alg: self.alg.clone(),
            encrypted: self.sealed,
            created_at: UnixMillis(self.created_at_ms),
            activates_at: UnixMillis(self.activates_at_ms),
            retires_at: self.retires_at_ms.map(UnixMillis),
            attestation: self.attestation.clone(),
        }
    }
}

/// The keys that are believed, and the findings about all rows.
#[derive(Debug, Default)]
pub struct StoredKeys {
    /// The keys, oldest first.
    pub keys: Vec<StoredKey>,
    /// The rows that are not believed as they are.
    pub findings: Vec<Finding>,
}

/// All keys that are believed, oldest first.
///
/// # Errors
/// The database cannot be reached, or no row is believed ([`trust::check`]).
pub fn list(conn: &mut Conn, encryption_key: Option<&KeyEncryptionKey>) -> Result<StoredKeys, DbError> {
    believed(rows(conn)?, encryption_key)
}

pub(super) fn rows(conn: &mut Conn) -> Result<Vec<KeyRow>, DbError> {
    Ok(signing_keys::table
        .order((signing_keys::created_at_ms, signing_keys::kid))
        .load(conn)?)
}

fn believed(rows: Vec<KeyRow>, encryption_key: Option<&KeyEncryptionKey>) -> Result<StoredKeys, DbError> {
    let unchecked = rows.iter().map(KeyRow::unchecked).collect();
    let checked = trust::check(unchecked, encryption_key).map_err(inconsistent)?;
    let mut private: HashMap<String, Vec<u8>> = rows.into_iter().map(|row| (row.kid, row.private_key)).collect();
    let with_private = |record: KeyRecord| StoredKey {
        private: Zeroizing::new(private.remove(&record.kid).expect("each record is that of a row")),
        kid: record.kid,
        alg: record.alg,
        encrypted: record.encrypted,
        created_at: record.created_at,
        activates_at: record.activates_at,
        retires_at: record.retires_at,
    };
    let keys = checked.believed.into_iter().map(with_private).collect();
    Ok(StoredKeys {
        keys,
        findings: checked.findings,
    })
}

/// The records of all keys, oldest first, without reading private keys.
///
/// # Errors
/// As [`list`].
pub fn records(conn: &mut Conn, encryption_key: Option<&KeyEncryptionKey>) -> Result<Checked, DbError> {
    type Columns = (String, String, bool, i64, i64, Option<i64>, Option<Vec<u8>>);
    let rows: Vec<Columns> = signing_keys::table
        .order((signing_keys::created_at_ms, signing_keys::kid))
        .select((
            signing_keys::kid,
            signing_keys::alg,
            signing_keys::sealed,
            signing_keys::created_at_ms,
            signing_keys::activates_at_ms,
            signing_keys::retires_at_ms,
            signing_keys::attestation,
        ))
        .load(conn)?;
    let unchecked = |(kid, alg, encrypted, created_at, activates_at, retires_at, attestation): Columns| UncheckedRow {
        kid,
        alg,
        encrypted,
        created_at: UnixMillis(created_at),
        activates_at: UnixMillis(activates_at),
        retires_at: retires_at.map(UnixMillis),
        attestation,
    };
    trust::check(rows.into_iter().map(unchecked).collect(), encryption_key).map_err(inconsistent)
}

fn inconsistent(error: KeyError) -> DbError {
    DbError::Inconsistent(error.to_string())
}

fn insert(conn: &mut Conn, key: &StoredKey, encryption_key: Option<&KeyEncryptionKey>) -> Result<(), DbError> {
    let row = KeyRow {
        kid: key.kid.clone(),
        alg: key.alg.name().to_owned(),
        private_key: key.private.to_vec(),
        sealed: key.encrypted,
        created_at_ms: key.created_at.0,
        activates_at_ms: key.activates_at.0,
        retires_at_ms: key.retires_at.map(|at| at.0),
        attestation: attestation(&KeyRecord::from(key), encryption_key)?,
    };
    diesel::insert_into(signing_keys::table).values(row).execute(conn)?;
    Ok(())
}

fn attestation(record: &KeyRecord, encryption_key: Option<&KeyEncryptionKey>) -> Result<Option<Vec<u8>>, DbError> {
    let attest = |key: &KeyEncryptionKey| key.attest(record).map_err(inconsistent);
    encryption_key.map(attest).transpose()
}

/// Ensures that every algorithm has a key, by calling `generate` for each one without. Before that,
/// with an encryption key that no row was written with, protects the stored keys (`protect_all`)
/// and logs them.
///
/// Runs in one transaction that locks first, so that only one of several starting instances
/// generates keys.
///
/// # Errors
/// As [`list`], or the error of `generate`. [`DbError::Inconsistent`] if a key is encrypted with
/// another key.
pub fn complete(
    conn: &mut Conn,
    now: UnixMillis,
    encryption_key: Option<&KeyEncryptionKey>,
    generate: impl Fn(Alg) -> Result<StoredKey, DbError>,
) -> Result<StoredKeys, DbError> {
    let missing = |keys: &[StoredKey]| -> Vec<Alg> {
        Alg::ALL
            .into_iter()
            .filter(|alg| !keys.iter().any(|key| key.alg == *alg))
            .collect()
    };
    let rows = rows(conn)?;
    if unprotected(&rows, encryption_key).is_none() {
        let stored = believed(rows, encryption_key)?;
        if missing(&stored.keys).is_empty() {
            return Ok(stored);
        }
    }
    enable_secure_delete(conn)?;
    let (protected, stored) = conn.write(|conn| {
        if let Conn::Postgres(conn) = conn {
            // Generating RSA keys takes time, during which the transaction is idle.
            conn.batch_execute("SET LOCAL idle_in_transaction_session_timeout = '1min'")?;
        }
        // The lock of the change log is used here too. On SQLite, the transaction is the lock.
        changes::append(conn, &Change::Keys, now)?;
        let protected = protect_all(conn, encryption_key)?;
        for alg in missing(&list(conn, encryption_key)?.keys) {
            insert(conn, &generate(alg)?, encryption_key)?;
        }
        Ok((protected, list(conn, encryption_key)?))
    })?;
    for kid in protected.encrypted {
        log::warn!(kid:%; "signing key encrypted");
    }
    for kid in protected.attested {
        log::warn!(kid:%; "signing key attested");
    }
    Ok(stored)
}

/// The encryption key, if this version wrote no row with it: either no key is encrypted, or the
/// encrypted ones are in the form of version 0.1, which does not attest.
///
/// As long as one row of this version is left, no other row is encrypted or attested. It was not
/// written by an instance with the encryption key.
fn unprotected<'a>(rows: &[KeyRow], encryption_key: Option<&'a KeyEncryptionKey>) -> Option<&'a KeyEncryptionKey> {
    let is_written_with = |row: &KeyRow, key: &KeyEncryptionKey| {
        row.sealed && (row.attestation.is_some() || key.is_of_this_version(&row.kid, &row.private_key))
    };
    encryption_key.filter(|key| !rows.is_empty() && !rows.iter().any(|row| is_written_with(row, key)))
}

/// The kids of the keys that were plain, and of those that version 0.1 had encrypted.
#[derive(Default)]
pub(super) struct Protected {
    encrypted: Vec<String>,
    pub(super) attested: Vec<String>,
}

/// Encrypts all keys and attests them. If some are encrypted, attests those alone: the others do
/// not come from an instance with the encryption key. Keys that version 0.1 encrypted keep their
/// form, so that it can still read them.
pub(super) fn protect_all(conn: &mut Conn, encryption_key: Option<&KeyEncryptionKey>) -> Result<Protected, DbError> {
    let rows = rows(conn)?;
    let mut protected = Protected::default();
    let Some(encryption_key) = unprotected(&rows, encryption_key) else {
        return Ok(protected);
    };
    let none_is_encrypted = !rows.iter().any(|row| row.sealed);
    for row in rows.iter().filter(|row| row.sealed || none_is_encrypted) {
        let private = match row.sealed {
            // Decrypted only to know that it was encrypted with this key.
            true => encryption_key
                .decrypt(&row.kid, &row.private_key)
                .map(|_| row.private_key.clone()),
            false => encryption_key.encrypt(&row.kid, &row.private_key),
        };
        let record = KeyRecord {
            encrypted: true,
            ..row.unchecked().record().map_err(inconsistent)?
        };
        diesel::update(signing_keys::table.find(&row.kid))
            .set((
                signing_keys::private_key.eq(private.map_err(inconsistent)?),
                signing_keys::sealed.eq(true),
                signing_keys::attestation.eq(attestation(&record, Some(encryption_key))?),
            ))
            .execute(conn)?;
        let kids = match row.sealed {
            true => &mut protected.attested,
            false => &mut protected.encrypted,
        };
        kids.push(row.kid.clone());
    }
    Ok(protected)
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
    encryption_key: Option<&KeyEncryptionKey>,
    decide: impl FnOnce(&[KeyRecord], UnixMillis) -> Vec<Publication>,
) -> Result<Rotated, DbError> {
    enable_secure_delete(conn)?;
    conn.write(|conn| {
        locks::wait_for_log(conn)?;
        let now = clock.now();
        authority::held(conn, by, now)?;
        let before = records(conn, encryption_key)?.believed;
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
            retire_others(conn, &before, publication, encryption_key)?;
            (key.created_at, key.activates_at) = (now, publication.activates_at);
            insert(conn, &key, encryption_key)?;
            published.push(KeyRecord::from(&key));
        }
        let believed = records(conn, encryption_key)?.believed;
        let (removed, keys): (Vec<KeyRecord>, Vec<KeyRecord>) =
            believed.into_iter().partition(|key| key.is_expired(now));
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

/// Schedules the removal of the other keys of the algorithm, unless they are removed earlier. Their
/// rows are written as they are believed.
fn retire_others(
    conn: &mut Conn,
    keys: &[KeyRecord],
    publication: Publication,
    encryption_key: Option<&KeyEncryptionKey>,
) -> Result<(), DbError> {
    let end = publication.others_until;
    let later = |key: &&KeyRecord| key.alg == publication.alg && key.retires_at.is_none_or(|at| at > end);
    for key in keys.iter().filter(later) {
        let key = KeyRecord {
            retires_at: Some(end),
            ..key.clone()
        };
        write(conn, &key, encryption_key)?;
    }
    Ok(())
}

/// Writes the record of a stored key, and attests it.
pub(super) fn write(
    conn: &mut Conn,
    key: &KeyRecord,
    encryption_key: Option<&KeyEncryptionKey>,
) -> Result<(), DbError> {
    diesel::update(signing_keys::table.find(&key.kid))
        .set((
            signing_keys::alg.eq(key.alg.name()),
            signing_keys::created_at_ms.eq(key.created_at.0),
            signing_keys::activates_at_ms.eq(key.activates_at.0),
            signing_keys::retires_at_ms.eq(key.retires_at.map(|at| at.0)),
            signing_keys::attestation.eq(attestation(key, encryption_key)?),
        ))
        .execute(conn)?;
    Ok(())
}

/// Overwrites deleted content. Otherwise a private key would remain readable in the free part of
/// its page.
pub(super) fn enable_secure_delete(conn: &mut Conn) -> Result<(), DbError> {
    if let Conn::Sqlite(conn) = conn {
        conn.batch_execute("PRAGMA secure_delete = ON")?;
    }
    Ok(())
}
