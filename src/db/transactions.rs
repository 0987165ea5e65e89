//! What operators do, by the admin API and the command line alike: each is a change and the line of the audit trail that
//! tells of it, in one transaction.
//!
//! Each function fails as its namesake without an audit line does: when the database refuses or cannot be reached, and
//! then nothing is done.

use std::collections::HashSet;

use serde_json::json;

use super::audit::{self, audited};
use super::changes::{self, Change};
use super::clients::{self, Changed};
use super::conn::Conn;
use super::error::DbError;
use super::secrets::{self, Added};
use super::{client_status, revocations, routes};
use crate::api::audit::{Action, AuditEvent, Principal, difference};
use crate::api::client::ClientDocument;
use crate::api::route::RouteDocument;
use crate::gateway::route::Route;
use crate::oauth::activity::InvalidatedToken;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::stored_secret::StoredSecret;
use crate::time::UnixMillis;

/// Makes a client.
///
/// # Errors
/// [`DbError::Conflict`] when the id is taken.
pub fn create_client(conn: &mut Conn, by: &Principal, client: &Client) -> Result<(), DbError> {
    audited(conn, by, client.created_at, |conn| {
        clients::insert(conn, client)?;
        Ok(((), event(Action::ClientCreate, client.id.as_str(), created(client))))
    })
}

/// Makes a client, or puts it in the place of the one that has its id.
///
/// # Errors
/// See the module.
pub fn replace_client(conn: &mut Conn, by: &Principal, client: &Client) -> Result<(), DbError> {
    audited(conn, by, client.updated_at, |conn| {
        clients::replace(conn, client)?;
        Ok(((), event(Action::ClientCreate, client.id.as_str(), created(client))))
    })
}

/// How an import ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    /// Whether the clients are there, all but those that are `taken`.
    pub done: bool,
    /// Ids that were there before.
    pub taken: HashSet<String>,
}

/// Makes many clients, whose secrets come from another server: all of them, or none. Where an id is taken, none is made,
/// unless `past_taken`. Tells `progress` how many more are written.
///
/// # Errors
/// [`DbError::Conflict`] when an id was taken meanwhile.
pub fn import_clients(
    conn: &mut Conn,
    by: &Principal,
    all: &[Client],
    now: UnixMillis,
    past_taken: bool,
    mut progress: impl FnMut(usize),
) -> Result<Imported, DbError> {
    conn.write(|conn| {
        let ids: Vec<&ClientId> = all.iter().map(|client| &client.id).collect();
        let taken = clients::taken(conn, &ids)?;
        if !taken.is_empty() && !past_taken {
            return Ok(Imported { done: false, taken });
        }
        let new: Vec<&Client> = all
            .iter()
            .filter(|client| !taken.contains(client.id.as_str()))
            .collect();
        for part in new.chunks(clients::MANY) {
            clients::insert_many(conn, part)?;
            let events: Vec<AuditEvent> = part.iter().filter_map(|client| imported(client)).collect();
            audit::append_many(conn, by, now, &events)?;
            progress(part.len());
        }
        // Last, because its lock keeps everybody else from writing to the change log.
        for part in new.chunks(clients::MANY) {
            let ids: Vec<&ClientId> = part.iter().map(|client| &client.id).collect();
            changes::append_clients(conn, &ids, now)?;
        }
        Ok(Imported { done: true, taken })
    })
}

fn imported(client: &Client) -> Option<AuditEvent> {
    event(Action::ClientImport, client.id.as_str(), created(client))
}

fn created(client: &Client) -> serde_json::Value {
    let secret_ids: Vec<&str> = client.secrets.iter().map(|secret| secret.id.as_str()).collect();
    json!({ "client": ClientDocument::from(client), "secret_ids": secret_ids })
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
    audited(conn, by, now, |conn| {
        let changed = clients::change(conn, id, now, change)?;
        let told = match &changed {
            Changed::Done { before, after } => {
                let (before, after) = (ClientDocument::from(&**before), ClientDocument::from(&**after));
                event(Action::ClientUpdate, id.as_str(), difference(&before, &after))
            }
            _ => None,
        };
        Ok((changed, told))
    })
}

/// How an attempt to delete a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Done,
    /// There is no such client.
    Missing,
    /// It is not as it must be.
    Refused,
}

/// Deletes a client with its secrets, if it is as `suits` wants it.
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
    conn.write(|conn| {
        // First, because its lock also keeps another writer from changing the client meanwhile.
        changes::append(conn, &Change::Client(id.clone()), now)?;
        match clients::find(conn, id)? {
            None => Ok(Deleted::Missing),
            Some(client) if !suits(&client) => Ok(Deleted::Refused),
            Some(_) => delete_client(conn, by, id, now).map(|_| Deleted::Done),
        }
    })
}

/// Deletes a client with its secrets; `false` when there is none.
///
/// # Errors
/// See the module.
pub fn delete_client(conn: &mut Conn, by: &Principal, id: &ClientId, now: UnixMillis) -> Result<bool, DbError> {
    audited(conn, by, now, |conn| {
        let deleted = clients::delete(conn, id, now)?;
        Ok((deleted, event_if(deleted, Action::ClientDelete, id.as_str(), json!({}))))
    })
}

/// Takes back all that was issued to a client until now; answers from which moment on tokens count, `None` when there is
/// no such client.
///
/// # Errors
/// See the module.
pub fn revoke_client_tokens(
    conn: &mut Conn,
    by: &Principal,
    id: &ClientId,
    now: UnixMillis,
) -> Result<Option<UnixMillis>, DbError> {
    audited(conn, by, now, |conn| {
        if clients::find(conn, id)?.is_none() {
            return Ok((None, None));
        }
        let not_before = client_status::revoke_until(conn, Some(id), now)?;
        let detail = json!({ "not_before": not_before.to_string() });
        Ok((Some(not_before), event(Action::ClientRevokeTokens, id.as_str(), detail)))
    })
}

/// Gives a client one more secret; with `others_end`, those that it has end then.
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
    audited(conn, by, secret.created_at, |conn| {
        let added = secrets::add(conn, id, secret, others_end)?;
        let time = |moment: Option<UnixMillis>| moment.map(|moment| moment.to_string());
        let detail = json!({
            "secret_id": secret.id,
            "expires_at": time(secret.expires_at),
            "others_expire_at": time(others_end),
        });
        Ok((
            added,
            event_if(added == Added::Done, Action::SecretAdd, id.as_str(), detail),
        ))
    })
}

/// Takes a secret away; `false` when the client has none of this id.
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
    audited(conn, by, now, |conn| {
        let revoked = secrets::revoke(conn, id, secret_id, now)?;
        let detail = json!({ "secret_id": secret_id });
        Ok((revoked, event_if(revoked, Action::SecretRevoke, id.as_str(), detail)))
    })
}

/// Adds a route.
///
/// # Errors
/// [`DbError::Conflict`] when there is one for the same method, host and path.
pub fn add_route(conn: &mut Conn, by: &Principal, route: &Route) -> Result<(), DbError> {
    audited(conn, by, route.created_at, |conn| {
        routes::insert(conn, route)?;
        Ok((
            (),
            event(Action::RouteAdd, &route.id, json!(RouteDocument::from(route))),
        ))
    })
}

/// Removes a route; `false` when there is none.
///
/// # Errors
/// See the module.
pub fn remove_route(conn: &mut Conn, by: &Principal, id: &str, now: UnixMillis) -> Result<bool, DbError> {
    audited(conn, by, now, |conn| {
        let removed = routes::delete(conn, id, now)?;
        Ok((removed, event_if(removed, Action::RouteRemove, id, json!({}))))
    })
}

/// Takes a token back.
///
/// # Errors
/// See the module.
pub fn revoke_token(conn: &mut Conn, by: &Principal, token: InvalidatedToken, now: UnixMillis) -> Result<(), DbError> {
    audited(conn, by, now, |conn| {
        revocations::revoke(conn, token, now)?;
        let detail = json!({ "expires_at": UnixMillis(token.expires_at * 1000).to_string() });
        Ok(((), event(Action::TokenRevoke, &token.jti.to_string(), detail)))
    })
}

fn event(action: Action, subject: &str, detail: serde_json::Value) -> Option<AuditEvent> {
    Some(AuditEvent {
        action,
        subject: subject.to_owned(),
        detail,
    })
}

fn event_if(done: bool, action: Action, subject: &str, detail: serde_json::Value) -> Option<AuditEvent> {
    event(action, subject, detail).filter(|_| done)
}
