//! Clients, loaded with their secrets and parsed once.

use std::collections::HashSet;
use std::sync::Arc;

use diesel::prelude::*;

use super::changes::{self, Change};
use super::conn::Conn;
use super::error::DbError;
use super::schema::{clients, tokens};
use super::{client_status, labels, locks, secrets};
use crate::oauth::client::{AuthMethod, Client, ClientId};
use crate::oauth::custom_claims::CustomClaims;
use crate::oauth::duty::RESERVED_PREFIX;
use crate::oauth::scope::Scope;
use crate::oauth::stored_secret::StoredSecret;
use crate::oauth::token_form::TokenOptions;
use crate::time::UnixMillis;

/// Clients per statement. With sixteen values each, this is less than half of the limits of SQLite
/// and PostgreSQL.
pub const BATCH: usize = 500;

#[derive(Queryable, Insertable, AsChangeset)]
#[diesel(table_name = clients, treat_none_as_default_value = false, treat_none_as_null = true)]
struct ClientRow {
    client_id: String,
    name: String,
    enabled: bool,
    scope: String,
    default_scope: Option<String>,
    audiences: String,
    serves: String,
    auth_methods: String,
    ttl_seconds: Option<i64>,
    alg: Option<String>,
    created_at_ms: i64,
    updated_at_ms: i64,
    default_audience: Option<String>,
    claims: Option<String>,
    scope_claim: Option<String>,
    typ: Option<String>,
}

/// A client, or `None` if none has this id.
///
/// # Errors
/// The database cannot be reached, or the row is malformed.
pub fn find(conn: &mut Conn, id: &ClientId) -> Result<Option<Client>, DbError> {
    let found = load_many(conn, &[id.as_str()])?;
    Ok(with_labels(conn, found)?.pop())
}

/// A client as the caches hold it, without labels, or `None` if none has this id. It must not be
/// written back.
///
/// # Errors
/// As [`find`].
pub fn load(conn: &mut Conn, id: &ClientId) -> Result<Option<Client>, DbError> {
    Ok(load_many(conn, &[id.as_str()])?.pop())
}

/// Those of the named clients that exist, as [`load`].
///
/// # Errors
/// As [`find`].
pub fn load_many(conn: &mut Conn, ids: &[&str]) -> Result<Vec<Client>, DbError> {
    let rows: Vec<ClientRow> = match ids {
        [id] => clients::table.filter(clients::client_id.eq(*id)).load(conn)?,
        _ => {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            clients::table.filter(clients::client_id.eq_any(ids)).load(conn)?
        }
    };
    with_secrets(conn, rows)
}

/// At most `limit` clients after the id `after`, ordered by id.
///
/// # Errors
/// As [`find`].
pub fn list(conn: &mut Conn, after: Option<&str>, limit: i64) -> Result<Vec<Client>, DbError> {
    let rows: Vec<ClientRow> = clients::table
        .filter(clients::client_id.gt(after.unwrap_or("")))
        .order(clients::client_id)
        .limit(limit)
        .load(conn)?;
    let found = with_secrets(conn, rows)?;
    with_labels(conn, found)
}

/// The ids of at most `limit` clients that were issued a token most recently, most recent first.
///
/// Reads only the newest token records, which are adjacent because ids increase with time. So the
/// cost does not grow with the table.
///
/// # Errors
/// The database cannot be reached.
pub fn recently_used(conn: &mut Conn, limit: usize) -> Result<Vec<String>, DbError> {
    const RECORDS: i64 = 10_000;
    let used: Vec<String> = tokens::table
        .order(tokens::jti.desc())
        .limit(RECORDS)
        .select(tokens::client_id)
        .load(conn)?;
    let mut seen = HashSet::new();
    Ok(used
        .into_iter()
        .filter(|id| seen.insert(id.clone()))
        .take(limit)
        .collect())
}

/// Adds a client with its secrets.
///
/// # Errors
/// [`DbError::Conflict`] if the id is taken.
pub fn insert(conn: &mut Conn, client: &Client) -> Result<(), DbError> {
    conn.write(|conn| {
        // The row of a new client comes before the lock of the change log, because an import, which
        // writes many, takes the lock last. Otherwise the two could deadlock.
        diesel::insert_into(clients::table)
            .values(ClientRow::from(client))
            .execute(conn)?;
        labels::write_new(conn, &[client])?;
        for secret in &client.secrets {
            secrets::insert(conn, &client.id, secret)?;
        }
        changes::append(conn, &Change::Client(client.id.clone()), client.created_at)
    })
}

/// Those of the given ids that exist.
///
/// # Errors
/// The database cannot be reached.
pub fn taken(conn: &mut Conn, ids: &[&ClientId]) -> Result<HashSet<String>, DbError> {
    let mut taken = HashSet::new();
    for part in ids.chunks(BATCH) {
        let part: Vec<&str> = part.iter().map(|id| id.as_str()).collect();
        let found: Vec<String> = clients::table
            .filter(clients::client_id.eq_any(part))
            .select(clients::client_id)
            .load(conn)?;
        taken.extend(found);
    }
    Ok(taken)
}

/// Adds clients with their secrets within a transaction. The caller must append to the change log.
///
/// # Errors
/// [`DbError::Conflict`] if an id is taken.
pub(super) fn insert_many(conn: &mut Conn, all: &[&Client]) -> Result<(), DbError> {
    let rows: Vec<ClientRow> = all.iter().map(|client| ClientRow::from(*client)).collect();
    let insert = diesel::insert_into(clients::table).values(rows);
    match conn {
        Conn::Sqlite(conn) => insert.execute(conn)?,
        Conn::Postgres(conn) => insert.execute(conn)?,
    };
    labels::write_new(conn, all)?;
    secrets::insert_many(conn, all)
}

/// Adds a client, or replaces the client with its id together with all of that client's secrets.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub fn replace(conn: &mut Conn, client: &Client) -> Result<(), DbError> {
    conn.write(|conn| {
        let row = ClientRow::from(client);
        // A new row before the lock, as in `insert`; an existing one after it, as in every other
        // change.
        let insert = diesel::insert_into(clients::table).values(ClientRow::from(client));
        match conn {
            Conn::Sqlite(conn) => insert.on_conflict_do_nothing().execute(conn)?,
            Conn::Postgres(conn) => insert.on_conflict_do_nothing().execute(conn)?,
        };
        locks::wait_for_log(conn)?;
        let updated = diesel::update(clients::table.filter(clients::client_id.eq(client.id.as_str())))
            .set(&row)
            .execute(conn)?;
        if updated == 0 {
            diesel::insert_into(clients::table).values(row).execute(conn)?;
        }
        labels::write(conn, &client.id, &client.labels)?;
        secrets::delete_all(conn, &client.id)?;
        for secret in &client.secrets {
            secrets::insert(conn, &client.id, secret)?;
        }
        changes::append(conn, &Change::Client(client.id.clone()), client.updated_at)
    })
}

/// The result of changing a client.
#[derive(Debug)]
pub enum Changed<E> {
    /// The client was changed.
    Done {
        /// The client before the change.
        before: Box<Client>,
        /// The client after the change.
        after: Box<Client>,
    },
    /// No client has this id.
    Missing,
    /// The change does not apply to the current client.
    Rejected(E),
}

/// Changes a client to the result of `change`, which receives the current client. The secrets stay
/// as they are.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub fn change<E>(
    conn: &mut Conn,
    id: &ClientId,
    now: UnixMillis,
    change: impl FnOnce(&Client) -> Result<Client, E>,
) -> Result<Changed<E>, DbError> {
    conn.write(|conn| {
        // First, because the lock of the change log also keeps other writers from changing the
        // client.
        changes::append(conn, &Change::Client(id.clone()), now)?;
        let Some(before) = find(conn, id)? else {
            return Ok(Changed::Missing);
        };
        let after = match change(&before) {
            Ok(after) => after,
            Err(rejection) => return Ok(Changed::Rejected(rejection)),
        };
        overwrite(conn, &before, &after)?;
        Ok(Changed::Done {
            before: Box::new(before),
            after: Box::new(after),
        })
    })
}

/// Writes the members of a client that exists, within a transaction that also appends to the change
/// log. The secrets stay as they are.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub(super) fn overwrite(conn: &mut Conn, before: &Client, after: &Client) -> Result<(), DbError> {
    diesel::update(clients::table.filter(clients::client_id.eq(after.id.as_str())))
        .set(ClientRow::from(after))
        .execute(conn)?;
    if after.labels != before.labels {
        labels::write(conn, &after.id, &after.labels)?;
    }
    Ok(())
}

/// Deletes a client and its secrets. Returns `false` if no client has this id.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub fn delete(conn: &mut Conn, id: &ClientId, now: UnixMillis) -> Result<bool, DbError> {
    conn.write(|conn| {
        // Locked first, as in every change of a client. Otherwise two writers could deadlock.
        locks::wait_for_log(conn)?;
        secrets::delete_all(conn, id)?;
        let deleted = diesel::delete(clients::table.filter(clients::client_id.eq(id.as_str()))).execute(conn)?;
        if deleted == 1 {
            // Revokes the client's tokens. They must stay revoked even if another client gets its
            // id.
            client_status::set_not_before(conn, Some(id), now)?;
        }
        Ok(deleted == 1)
    })
}

/// Those of the named clients that exist, ordered by id.
///
/// # Errors
/// As [`find`].
pub fn with_ids(conn: &mut Conn, ids: &[String]) -> Result<Vec<Client>, DbError> {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut found = load_many(conn, &ids)?;
    found.sort_by(|a, b| a.id.cmp(&b.id));
    with_labels(conn, found)
}

fn with_labels(conn: &mut Conn, mut found: Vec<Client>) -> Result<Vec<Client>, DbError> {
    labels::read(conn, &mut found)?;
    Ok(found)
}

fn with_secrets(conn: &mut Conn, rows: Vec<ClientRow>) -> Result<Vec<Client>, DbError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = rows.iter().map(|row| row.client_id.as_str()).collect();
    let mut secrets: std::collections::HashMap<String, Vec<StoredSecret>> = std::collections::HashMap::new();
    for (id, secret) in secrets::of_clients(conn, &ids)? {
        secrets.entry(id).or_default().push(secret);
    }
    rows.into_iter()
        .map(|row| {
            let secrets = secrets.remove(&row.client_id).unwrap_or_default();
            row.into_client(secrets)
        })
        .collect()
}

impl From<&Client> for ClientRow {
    fn from(client: &Client) -> Self {
        let automatic_default = client.scope.without_prefix(RESERVED_PREFIX);
        let methods: Vec<&str> = client.auth_methods.iter().map(|method| method.name()).collect();
        Self {
            client_id: client.id.as_str().to_owned(),
            name: client.name.clone(),
            enabled: client.enabled,
            scope: client.scope.as_str().to_owned(),
            default_scope: (client.default_scope != automatic_default).then(|| client.default_scope.to_string()),
            audiences: client.audiences.join(" "),
            serves: client.introspection_audiences.join(" "),
            auth_methods: methods.join(" "),
            ttl_seconds: client.ttl_seconds,
            alg: client.alg.map(|alg| alg.name().to_owned()),
            created_at_ms: client.created_at.0,
            updated_at_ms: client.updated_at.0,
            default_audience: client.token.default_audience.as_ref().map(|text| text.to_string()),
            claims: client.token.claims.as_ref().map(CustomClaims::object),
            scope_claim: client.token.scope_claim.map(|claim| claim.name().to_owned()),
            typ: client.token.typ.map(|typ| typ.name().to_owned()),
        }
    }
}

impl ClientRow {
    fn into_client(self, secrets: Vec<StoredSecret>) -> Result<Client, DbError> {
        let malformed =
            |column: &str| DbError::Inconsistent(format!("client {:?} has a malformed {column}", self.client_id));
        let scope = scope_of(&self.scope).ok_or_else(|| malformed("scope"))?;
        let default_scope = match &self.default_scope {
            // An earlier version let reserved scopes be a default.
            Some(text) => {
                let scope = scope_of(text).ok_or_else(|| malformed("default_scope"))?;
                scope.without_prefix(RESERVED_PREFIX)
            }
            None => scope.without_prefix(RESERVED_PREFIX),
        };
        let auth_methods: Result<Vec<AuthMethod>, String> = words(&self.auth_methods).map(str::parse).collect();
        let alg = self
            .alg
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(|_| malformed("alg"))?;
        let claims = self.claims.as_deref().map(CustomClaims::parse).transpose();
        let scope_claim = self.scope_claim.as_deref().map(str::parse).transpose();
        let typ = self.typ.as_deref().map(str::parse).transpose();
        let token = TokenOptions {
            claims: claims.map_err(|_| malformed("claims"))?.flatten(),
            scope_claim: scope_claim.map_err(|_| malformed("scope_claim"))?,
            typ: typ.map_err(|_| malformed("typ"))?,
            default_audience: self.default_audience.as_deref().map(Arc::from),
        };
        Ok(Client {
            id: ClientId::parse(&self.client_id).ok_or_else(|| malformed("client_id"))?,
            enabled: self.enabled,
            scope,
            default_scope,
            audiences: words(&self.audiences).map(Arc::from).collect(),
            introspection_audiences: words(&self.serves).map(Arc::from).collect(),
            auth_methods: auth_methods.map_err(|_| malformed("auth_methods"))?,
            ttl_seconds: self.ttl_seconds,
            alg,
            token,
            labels: Default::default(),
            secrets,
            created_at: UnixMillis(self.created_at_ms),
            updated_at: UnixMillis(self.updated_at_ms),
            name: self.name,
        })
    }
}

fn scope_of(text: &str) -> Option<Scope> {
    if text.is_empty() {
        return Some(Scope::empty());
    }
    Scope::parse(text).ok()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}
