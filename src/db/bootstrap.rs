//! The first operator, whom the configuration names because no one can run a command on the machine.
//!
//! Nothing is stored about it: a client with `mintage:admin`, even a disabled one, shows that the
//! deployment has its operators. So a secret that leaked does not bring back a right that they took
//! away, unless they delete the last such client (docs/operations.md).

use diesel::prelude::*;

use super::conn::Conn;
use super::error::DbError;
use super::schema::clients as table;
use super::{clients, transactions};
use crate::api::audit::Principal;
use crate::api::client_fields::ClientFields;
use crate::oauth::client::ClientId;
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::duty::Duty;
use crate::oauth::stored_secret::{StoredSecret, verify};
use crate::time::UnixMillis;

/// The actor's source in the audit log: the setting.
const SOURCE: &str = "bootstrap.client_id";

/// What became of the client that the configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstOperator {
    /// It was created.
    Created,
    /// A client has `mintage:admin` already.
    NotNeeded,
    /// No client has `mintage:admin`, but one has this id. It was not changed.
    IdTaken,
}

/// The result of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrapped {
    /// What became of the client.
    pub operator: FirstOperator,
    /// Whether the secret in the configuration is a valid secret of the client: everyone who can read
    /// the configuration can use it.
    pub has_secret: bool,
}

/// Creates the client with `mintage:admin` if no client has that scope.
///
/// # Errors
/// The database rejects a statement or cannot be reached.
pub fn first_operator(
    conn: &mut Conn,
    id: &ClientId,
    secret: &ClientSecret,
    now: UnixMillis,
) -> Result<Bootstrapped, DbError> {
    let operator = match create(conn, id, secret, now) {
        // Another instance has just created it.
        Err(DbError::Conflict) => create(conn, id, secret, now)?,
        created => created?,
    };
    let client = clients::find(conn, id)?;
    let has_secret = client.is_some_and(|client| verify(secret, &client.secrets, now).is_some());
    Ok(Bootstrapped { operator, has_secret })
}

fn create(conn: &mut Conn, id: &ClientId, secret: &ClientSecret, now: UnixMillis) -> Result<FirstOperator, DbError> {
    conn.write(|conn| {
        if has_operator(conn)? {
            return Ok(FirstOperator::NotNeeded);
        }
        if clients::find(conn, id)?.is_some() {
            return Ok(FirstOperator::IdTaken);
        }
        let fields = ClientFields {
            name: Some("First operator".into()),
            scope: Some(Duty::Admin.name().into()),
            ..ClientFields::default()
        };
        let client = fields.new_client(id.clone(), now);
        let mut client = client.expect("the members are constants, and well formed");
        client.secrets.push(StoredSecret::new(secret, now));
        transactions::create_client(conn, &Principal::server(SOURCE), &client)?;
        Ok(FirstOperator::Created)
    })
}

/// Whether a client, enabled or not, has `mintage:admin`.
fn has_operator(conn: &mut Conn) -> Result<bool, DbError> {
    let admin = Duty::Admin.name();
    let similar: Vec<String> = table::table
        .filter(table::scope.like(format!("%{admin}%")))
        .select(table::scope)
        .load(conn)?;
    Ok(similar.iter().any(|scope| scope.split(' ').any(|token| token == admin)))
}
