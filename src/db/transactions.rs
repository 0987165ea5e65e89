//! The actions of operators, for the admin API and the command line: each writes a change and its
//! audit event in one transaction.
//!
//! Each function returns the errors of the function without audit that it calls: the database
//! rejects the statement or cannot be reached. If the operator is not or no longer authorized, it
//! is [`DbError::NotAuthorized`]. Nothing is changed then.

use std::collections::HashSet;

use serde_json::json;

use super::audit::{self, audited};
use super::changes::{self, Change};
use super::clients::{self, Changed};
use super::conn::Conn;
use super::error::DbError;
use super::secrets::{self, Added};
use super::{authority, client_status, revocations, routes};
use crate::api::audit::{Action, AuditEvent, Principal, difference};
use crate::api::client::ClientDocument;
use crate::api::route::RouteDocument;
use crate::gateway::route::Route;
use crate::oauth::activity::InvalidatedToken;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::stored_secret::StoredSecret;
use crate::time::UnixMillis;

/// Creates a client.
///
/// # Errors
/// [`DbError::Conflict`] if the id is taken.
pub fn create_client(conn: &mut Conn, by: &Principal, client: &Client) -> Result<(), DbError> {
    conn.write(|conn| {
        // Before the operator is read under the lock of the change log, which comes after the row
        // of a new client.
        clients::insert(conn, client)?;
        let held = authority::held(conn, by, client.created_at)?;
        authority::require(held, &client.scope)?;
        let event = event(Action::ClientCreate, client.id.as_str(), created(client));
        event.map_or(Ok(()), |event| audit::append(conn, by, client.created_at, &event))
    })
}

/// Creates a client, or replaces the one with its id. For the command line: the lock of the change
/// log must not be held yet.
///
/// # Errors
/// See the module.
pub fn replace_client(conn: &mut Conn, by: &Principal, client: &Client) -> Result<(), DbError> {
    audited(conn, by, client.updated_at, |conn, _| {
        let before = clients::find(conn, &client.id)?;
        clients::replace(conn, client)?;
        let (action, detail) = match before {
            Some(before) => {
                let mut changes = difference(&ClientDocument::from(&before), &ClientDocument::from(client));
                changes["secret_ids"] = json!({ "before": secret_ids(&before), "after": secret_ids(client) });
                (Action::ClientUpdate, changes)
            }
            None => (Action::ClientCreate, created(client)),
        };
        Ok(((), event(action, client.id.as_str(), detail)))
    })
}

/// The result of an import.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    /// Whether the clients were imported, except those that are `taken`.
    pub done: bool,
    /// The ids that existed before.
    pub taken: HashSet<String>,
}

/// Imports clients: all or none. If an id exists, none is imported, unless `skip_taken` is set.
/// Calls `progress` with the number of clients written since its last call.
///
/// # Errors
/// [`DbError::Conflict`] if an id was taken in the meantime.
pub fn import_clients(
    conn: &mut Conn,
    by: &Principal,
    all: &[Client],
    now: UnixMillis,
    skip_taken: bool,
    mut progress: impl FnMut(usize),
) -> Result<Imported, DbError> {
    conn.write(|conn| {
        let ids: Vec<&ClientId> = all.iter().map(|client| &client.id).collect();
        let taken = clients::taken(conn, &ids)?;
        if !taken.is_empty() && !skip_taken {
            return Ok(Imported { done: false, taken });
        }
        let new: Vec<&Client> = all
            .iter()
            .filter(|client| !taken.contains(client.id.as_str()))
            .collect();
        for part in new.chunks(clients::BATCH) {
            clients::insert_many(conn, part)?;
            progress(part.len());
        }
        // Last, because the lock of the change log and of the audit log blocks every other writer.
        for part in new.chunks(clients::BATCH) {
            let events: Vec<AuditEvent> = part.iter().filter_map(|client| imported(client)).collect();
            audit::append_many(conn, by, now, &events)?;
            let ids: Vec<&ClientId> = part.iter().map(|client| &client.id).collect();
            changes::append_clients(conn, &ids, now)?;
        }
        Ok(Imported { done: true, taken })
    })
}

fn imported(client: &Client) -> Option<AuditEvent> {
    event(Action::ClientImport, client.id.as_str(), created(client))
}

pub(super) fn created(client: &Client) -> serde_json::Value {
    json!({ "client": ClientDocument::from(client), "secret_ids": secret_ids(client) })
}

fn secret_ids(client: &Client) -> Vec<&str> {
    client.secrets.iter().map(|secret| &*secret.id).collect()
}

/// Changes a client.
///
/// # Errors
/// See the module.
pub fn change_client<E>(
    conn: &mut Conn,
    by: &Principal,
    id: &ClientId,
    now: UnixMillis,
    change: impl FnOnce(&Client) -> Result<Client, E>,
) -> Result<Changed<E>, DbError> {
    audited(conn, by, now, |conn, held| {
        let changed = clients::change(conn, id, now, change)?;
        let event = match &changed {
            Changed::Done { before, after } => {
                authority::require(held, &before.scope)?;
                authority::require(held, &after.scope)?;
                let (before, after) = (ClientDocument::from(&**before), ClientDocument::from(&**after));
                event(Action::ClientUpdate, id.as_str(), difference(&before, &after))
            }
            _ => None,
        };
        Ok((changed, event))
    })
}

/// The result of deleting a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The client was deleted.
    Done,
    /// No client has this id.
    Missing,
    /// The precondition is not met.
    Rejected,
}

/// Deletes a client with its secrets if it meets the precondition `suits`.
///
/// # Errors
/// See the module.
pub fn delete_client_if(
    conn: &mut Conn,
    by: &Principal,
    id: &ClientId,
    now: UnixMillis,
    suits: impl FnOnce(&Client) -> bool,
) -> Result<Deleted, DbError> {
    audited(conn, by, now, |conn, held| {
        // First, because the lock of the change log also keeps other writers from changing the
        // client.
        changes::append(conn, &Change::Client(id.clone()), now)?;
        let deleted = match clients::find(conn, id)? {
            None => Deleted::Missing,
            Some(client) if !suits(&client) => Deleted::Rejected,
            Some(client) => {
                authority::require(held, &client.scope)?;
                clients::delete(conn, id, now)?;
                Deleted::Done
            }
        };
        let event = event_if(deleted == Deleted::Done, Action::ClientDelete, id.as_str(), json!({}));
        Ok((deleted, event))
    })
}

/// Deletes a client with its secrets. Returns `false` if no client has this id.
///
/// # Errors
/// See the module.
pub fn delete_client(conn: &mut Conn, by: &Principal, id: &ClientId, now: UnixMillis) -> Result<bool, DbError> {
    audited(conn, by, now, |conn, held| {
        authority::require_for(conn, held, id)?;
        let deleted = clients::delete(conn, id, now)?;
        Ok((deleted, event_if(deleted, Action::ClientDelete, id.as_str(), json!({}))))
    })
}

/// Revokes every token issued to a client until now. Returns the new not-before, or `None` if no
/// client has this id.
///
/// # Errors
/// See the module.
pub fn revoke_client_tokens(
    conn: &mut Conn,
    by: &Principal,
    id: &ClientId,
    now: UnixMillis,
) -> Result<Option<UnixMillis>, DbError> {
    // To take away is not to grant, so the scope of the client does not matter.
    audited(conn, by, now, |conn, _| {
        if clients::find(conn, id)?.is_none() {
            return Ok((None, None));
        }
        let not_before = client_status::revoke_until(conn, Some(id), now)?;
        let detail = json!({ "not_before": not_before.to_string() });
        Ok((Some(not_before), event(Action::ClientRevokeTokens, id.as_str(), detail)))
    })
}

/// Adds a secret to a client. With `others_end`, its other secrets expire then.
///
/// # Errors
/// See the module.
pub fn add_secret(
    conn: &mut Conn,
    by: &Principal,
    id: &ClientId,
    secret: &StoredSecret,
    others_end: Option<UnixMillis>,
) -> Result<Added, DbError> {
    audited(conn, by, secret.created_at, |conn, held| {
        authority::require_for(conn, held, id)?;
        let added = secrets::add(conn, id, secret, others_end)?;
        let event = secret_added(id, secret, others_end).filter(|_| added == Added::Done);
        Ok((added, event))
    })
}

pub(super) fn secret_added(id: &ClientId, secret: &StoredSecret, others_end: Option<UnixMillis>) -> Option<AuditEvent> {
    let time = |moment: Option<UnixMillis>| moment.map(|moment| moment.to_string());
    let detail = json!({
        "secret_id": &*secret.id,
        "expires_at": time(secret.expires_at),
        "others_expire_at": time(others_end),
    });
    event(Action::SecretAdd, id.as_str(), detail)
}

/// Deletes a secret. Returns `false` if the client has none with this id.
///
/// # Errors
/// See the module.
pub fn revoke_secret(
    conn: &mut Conn,
    by: &Principal,
    id: &ClientId,
    secret_id: &str,
    now: UnixMillis,
) -> Result<bool, DbError> {
    audited(conn, by, now, |conn, held| {
        authority::require_for(conn, held, id)?;
        let revoked = secrets::revoke(conn, id, secret_id, now)?;
        let detail = json!({ "secret_id": secret_id });
        Ok((revoked, event_if(revoked, Action::SecretRevoke, id.as_str(), detail)))
    })
}

/// Adds a route.
///
/// # Errors
/// [`DbError::Conflict`] if a route for the same method, host and path exists.
pub fn add_route(conn: &mut Conn, by: &Principal, route: &Route) -> Result<(), DbError> {
    audited(conn, by, route.created_at, |conn, _| {
        routes::insert(conn, route)?;
        Ok((
            (),
            event(Action::RouteAdd, &route.id, json!(RouteDocument::from(route))),
        ))
    })
}

/// Removes a route. Returns `false` if none has this id.
///
/// # Errors
/// See the module.
pub fn remove_route(conn: &mut Conn, by: &Principal, id: &str, now: UnixMillis) -> Result<bool, DbError> {
    audited(conn, by, now, |conn, _| {
        let removed = routes::delete(conn, id, now)?;
        Ok((removed, event_if(removed, Action::RouteRemove, id, json!({}))))
    })
}

/// Revokes a token.
///
/// # Errors
/// See the module.
pub fn revoke_token(conn: &mut Conn, by: &Principal, token: InvalidatedToken, now: UnixMillis) -> Result<(), DbError> {
    conn.write(|conn| {
        // Before the operator is read under the lock of the change log, because the revocation
        // takes the lock after it has locked the row. A client that revokes the token at the same
        // time does so in this order too; otherwise the two could deadlock.
        let is_new = revocations::add(conn, token, now)?;
        authority::held_before(conn, by, now, is_new.then_some(token.jti))?;
        let detail = json!({ "expires_at": UnixMillis(token.expires_at * 1000).to_string() });
        let event = event(Action::TokenRevoke, &token.jti.to_string(), detail);
        event.map_or(Ok(()), |event| audit::append(conn, by, now, &event))
    })
}

pub(super) fn event(action: Action, subject: &str, detail: serde_json::Value) -> Option<AuditEvent> {
    Some(AuditEvent {
        action,
        subject: subject.to_owned(),
        detail,
    })
}

fn event_if(done: bool, action: Action, subject: &str, detail: serde_json::Value) -> Option<AuditEvent> {
    event(action, subject, detail).filter(|_| done)
}
