//! Clients that are declared as a whole: by `PUT` of the admin API, and by an import that updates.
//!
//! The caller reads the clients, decides what each becomes, and writes all of them here. Nothing is
//! locked in between, because a decision may take long: a password hash takes 30 ms. So the
//! transaction compares each client with the one that the decision was for.

use std::collections::HashMap;

use super::audit;
use super::changes;
use super::clients::{self, BATCH};
use super::conn::Conn;
use super::error::DbError;
use super::transactions::{created, event, secret_added};
use super::{authority, locks, secrets};
use crate::api::audit::{Action, AuditEvent, Principal, difference};
use crate::api::client::ClientDocument;
use crate::api::declaration::differs;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::stored_secret::StoredSecret;
use crate::time::UnixMillis;

/// A client as it becomes.
pub struct Declared {
    /// The client for which this was decided; `None`: no client had the id.
    pub before: Option<Client>,
    /// The client with its secrets: those of `before`, and perhaps more.
    pub after: Client,
}

impl Declared {
    /// Whether it changes anything.
    pub fn is_change(&self) -> bool {
        self.changes_members() || self.added_secrets().next().is_some()
    }

    fn changes_members(&self) -> bool {
        self.before.as_ref().is_none_or(|before| differs(before, &self.after))
    }

    fn added_secrets(&self) -> impl Iterator<Item = &StoredSecret> {
        let before = self.before.as_ref().map_or(&[][..], |before| &before.secrets);
        self.after
            .secrets
            .iter()
            .filter(|secret| before.iter().all(|known| known.id != secret.id))
    }

    /// One event for each change: a new client, other members, another secret.
    fn events(&self, creation: Action) -> impl Iterator<Item = AuditEvent> {
        let (id, after) = (&self.after.id, &self.after);
        let mut events = Vec::new();
        match &self.before {
            None => events.extend(event(creation, id.as_str(), created(after))),
            Some(before) => {
                if self.changes_members() {
                    let changes = difference(&ClientDocument::from(before), &ClientDocument::from(after));
                    events.extend(event(Action::ClientUpdate, id.as_str(), changes));
                }
                events.extend(self.added_secrets().filter_map(|secret| secret_added(id, secret, None)));
            }
        }
        events.into_iter()
    }
}

/// Writes clients, all or none, each change with its audit event. One without a change is compared,
/// and its operator authorized, as the others. `creation` is the action of a new client. Calls
/// `progress` with the number of clients written since its last call.
///
/// # Errors
/// [`DbError::Conflict`] if a client was created, changed or deleted in the meantime.
pub fn write(
    conn: &mut Conn,
    by: &Principal,
    now: UnixMillis,
    creation: Action,
    all: &[Declared],
    mut progress: impl FnMut(usize),
) -> Result<(), DbError> {
    let (new, known): (Vec<&Declared>, Vec<&Declared>) = all.iter().partition(|declared| declared.before.is_none());
    conn.write(|conn| {
        // New rows come before the lock of the change log, as in every other transaction; rows that
        // exist come after it.
        for part in new.chunks(BATCH) {
            let part: Vec<&Client> = part.iter().map(|declared| &declared.after).collect();
            clients::insert_many(conn, &part)?;
            progress(part.len());
        }
        locks::wait_for_log(conn)?;
        let held = authority::held(conn, by, now)?;
        for declared in &new {
            authority::require(held, &declared.after.scope)?;
        }
        for part in known.chunks(BATCH) {
            require_unchanged(conn, part)?;
            for declared in part {
                let before = declared.before.as_ref().unwrap_or(&declared.after);
                authority::require(held, &before.scope)?;
                authority::require(held, &declared.after.scope)?;
                if declared.changes_members() {
                    clients::overwrite(conn, before, &declared.after)?;
                }
                for secret in declared.added_secrets() {
                    secrets::insert(conn, &declared.after.id, secret)?;
                }
            }
            progress(part.len());
        }
        let changed: Vec<&Declared> = all.iter().filter(|declared| declared.is_change()).collect();
        for part in changed.chunks(BATCH) {
            let events: Vec<AuditEvent> = part.iter().flat_map(|declared| declared.events(creation)).collect();
            audit::append_many(conn, by, now, &events)?;
            let ids: Vec<&ClientId> = part.iter().map(|declared| &declared.after.id).collect();
            changes::append_clients(conn, &ids, now)?;
        }
        Ok(())
    })
}

/// Fails unless each client is the one that the decision was for. Secrets have no version, so they
/// are compared by their ids.
fn require_unchanged(conn: &mut Conn, part: &[&Declared]) -> Result<(), DbError> {
    let ids: Vec<&str> = part.iter().map(|declared| declared.after.id.as_str()).collect();
    let current = clients::load_many(conn, &ids)?.into_iter();
    let current: HashMap<ClientId, Client> = current.map(|client| (client.id.clone(), client)).collect();
    let ids_of = |client: &Client| -> Vec<_> { client.secrets.iter().map(|secret| secret.id.clone()).collect() };
    let is_same = |declared: &&Declared| match (&declared.before, current.get(&declared.after.id)) {
        (Some(before), Some(current)) => before.updated_at == current.updated_at && ids_of(before) == ids_of(current),
        _ => false,
    };
    match part.iter().all(is_same) {
        true => Ok(()),
        false => Err(DbError::Conflict),
    }
}
