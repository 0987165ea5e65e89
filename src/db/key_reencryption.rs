//! Replaces the encryption key of the stored keys.

use diesel::prelude::*;
use serde_json::json;

use super::audit;
use super::authority;
use super::changes::{self, Change};
use super::conn::Conn;
use super::error::DbError;
use super::locks;
use super::schema;
use super::signing_keys::{self, StoredKeys};
use crate::api::audit::{Action, AuditEvent, Principal};
use crate::clock::Clock;
use crate::keys::trust::Reason;
use crate::keys::{KeyEncryptionKey, KeyRecord};

/// The result of a replacement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReEncrypted {
    /// The keys that are encrypted with the new encryption key now.
    pub kids: Vec<String>,
    /// Those of them that version 0.1 encrypted, and that no start had attested: the times of their
    /// rows were believed.
    pub attested: Vec<String>,
    /// The keys that were rejected with the old encryption key. Their rows are left as they are.
    pub rejected: Vec<String>,
}

/// Decrypts all keys that are believed with `old`, and encrypts and attests them with `new`. Does
/// nothing if that has been done already.
///
/// # Errors
/// The database rejects the statement or cannot be reached. [`DbError::Inconsistent`] if no key is
/// believed with `old`, or one of those cannot be decrypted: then nothing is changed.
pub fn re_encrypt(
    conn: &mut Conn,
    clock: &Clock,
    by: &Principal,
    old: &KeyEncryptionKey,
    new: &KeyEncryptionKey,
) -> Result<ReEncrypted, DbError> {
    signing_keys::enable_secure_delete(conn)?;
    conn.write(|conn| {
        locks::wait_for_log(conn)?;
        let now = clock.now();
        authority::held(conn, by, now)?;
        let (attested, stored) = match believed_with(conn, old) {
            Err(DbError::Inconsistent(_)) if is_done(conn, new)? => return Ok(ReEncrypted::default()),
            believed => believed?,
        };
        if stored.keys.is_empty() {
            return Ok(ReEncrypted::default());
        }
        for key in &stored.keys {
            let private = old.decrypt(&key.kid, &key.private).map_err(|_| {
                DbError::Inconsistent(format!("key {} was altered: restore its row, or delete it", key.kid))
            })?;
            let encrypted = new.encrypt(&key.kid, &private);
            let encrypted = encrypted.map_err(|error| DbError::Query(error.to_string()))?;
            diesel::update(schema::signing_keys::table.find(&key.kid))
                .set(schema::signing_keys::private_key.eq(encrypted))
                .execute(conn)?;
            signing_keys::write(conn, &KeyRecord::from(key), Some(new))?;
        }
        let rejected = stored
            .findings
            .into_iter()
            .filter(|finding| finding.reason != Reason::Altered);
        let done = ReEncrypted {
            kids: stored.keys.into_iter().map(|key| key.kid).collect(),
            attested,
            rejected: rejected.map(|finding| finding.kid).collect(),
        };
        changes::append(conn, &Change::Keys, now)?;
        audit::append(conn, by, now, &event_of(&done))?;
        Ok(done)
    })
}

/// The keys that are believed with the old encryption key, and those that version 0.1 encrypted
/// with it: these are attested now, and named first.
fn believed_with(conn: &mut Conn, old: &KeyEncryptionKey) -> Result<(Vec<String>, StoredKeys), DbError> {
    // If none is encrypted, the error says so.
    if !signing_keys::rows(conn)?.iter().any(|row| row.sealed) {
        return Ok((Vec::new(), signing_keys::list(conn, Some(old))?));
    }
    signing_keys::protect_all(conn, Some(old))
        .and_then(|protected| Ok((protected.attested, signing_keys::list(conn, Some(old))?)))
        .map_err(|error| match error {
            DbError::Inconsistent(_) => DbError::Inconsistent(
                "the stored keys were not encrypted with the old key, or have lost their attestations".into(),
            ),
            error => error,
        })
}

/// Whether keys are believed with the new encryption key.
fn is_done(conn: &mut Conn, new: &KeyEncryptionKey) -> Result<bool, DbError> {
    match signing_keys::records(conn, Some(new)) {
        Err(DbError::Inconsistent(_)) => Ok(false),
        checked => Ok(!checked?.believed.is_empty()),
    }
}

fn event_of(done: &ReEncrypted) -> AuditEvent {
    AuditEvent {
        action: Action::KeyReEncrypt,
        subject: done.kids.join(" "),
        detail: json!({ "attested": done.attested, "rejected": done.rejected }),
    }
}
