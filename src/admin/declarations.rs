//! Clients that are declared: `POST` creates one, `PUT` creates it or changes it to what is
//! declared.

use super::error::failed;
use super::{Administration, MAX_SECRETS, OperationError};
use crate::api::audit::{Action, Principal};
use crate::api::declaration::{Declaration, find_secret};
use crate::db::declarations::{self, Declared};
use crate::db::{Conn, DbError, clients};
use crate::oauth::client::{Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::secret_hash::SecretHash;
use crate::oauth::stored_secret::StoredSecret;
use crate::time::UnixMillis;

/// How often a declaration is decided again because the client has changed in the meantime.
const MAX_ATTEMPTS: usize = 4;

/// A new client, or one that exists.
pub enum DeclaredClient {
    /// The client is new.
    Created(Box<super::CreatedClient>),
    /// The client existed, and is now as declared. Perhaps it was before.
    Existing(Box<Client>),
}

impl Administration {
    /// Creates the client with this id, or changes it to what is declared, if `suits` accepts the
    /// current one. Without a difference, nothing is written, but what another request wrote is in
    /// effect before this returns.
    ///
    /// # Errors
    /// That of `suits`, [`OperationError::MalformedClient`], [`OperationError::TooManySecrets`],
    /// [`OperationError::SecretExpired`], or when the database fails.
    pub async fn declare_client(
        &self,
        by: Principal,
        id: ClientId,
        declaration: &Declaration,
        suits: impl Fn(Option<&Client>) -> Result<(), OperationError>,
    ) -> Result<DeclaredClient, OperationError> {
        let given = declaration.secret.hash().map_err(OperationError::MalformedClient)?;
        for _ in 0..MAX_ATTEMPTS {
            let now = self.clock.now();
            let subject = id.clone();
            // Of the primary, because the transaction compares with it.
            let found = self.db.run(move |conn| clients::find(conn, &subject)).await;
            let before = found.map_err(failed)?;
            suits(before.as_ref())?;
            let after = declaration.applied_to(before.as_ref(), id.clone(), now);
            let mut after = after.map_err(OperationError::MalformedClient)?;
            let generated = match add_secret(&mut after, before.is_none(), given.clone(), now) {
                Ok(generated) => generated,
                Err(error) => {
                    // Only an operator that may change the client learns about its secrets.
                    let Some(after) = before.clone() else { return Err(error) };
                    match self.write(by.clone(), Declared { before, after }, now).await? {
                        Some(_) => return Err(error),
                        None => continue,
                    }
                }
            };
            let Some(declared) = self.write(by.clone(), Declared { before, after }, now).await? else {
                continue;
            };
            return Ok(match declared.before {
                Some(_) => DeclaredClient::Existing(Box::new(declared.after)),
                None => DeclaredClient::Created(Box::new(super::CreatedClient {
                    client: declared.after,
                    secret: generated,
                })),
            });
        }
        Err(OperationError::Unavailable)
    }

    /// `None` if the client has changed in the meantime.
    async fn write(
        &self,
        by: Principal,
        declared: Declared,
        now: UnixMillis,
    ) -> Result<Option<Declared>, OperationError> {
        let work = move |conn: &mut Conn| {
            let all = std::slice::from_ref(&declared);
            match declarations::write(conn, &by, now, Action::ClientCreate, all, |_| {}) {
                Ok(()) => Ok(Some(declared)),
                Err(DbError::Conflict) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let Some(declared) = self.db.run(work).await.map_err(failed)? else {
            return Ok(None);
        };
        let applied = self.apply_client(&declared.after.id).await;
        match declared.before {
            Some(_) => applied?,
            // As for `create_client`: the secret can be shown only now.
            None if applied.is_err() => log::warn!(client:% = declared.after.id; "client not in effect yet"),
            None => {}
        }
        Ok(Some(declared))
    }
}

/// Adds the given secret, unless the client has it, or a generated one to a new client, which is
/// returned.
fn add_secret(
    client: &mut Client,
    is_new: bool,
    given: Option<SecretHash>,
    now: UnixMillis,
) -> Result<Option<ClientSecret>, OperationError> {
    let (hash, generated) = match given {
        Some(hash) => (hash, None),
        None if is_new => {
            let secret = ClientSecret::generate();
            (SecretHash::of(&secret), Some(secret))
        }
        None => return Ok(None),
    };
    match find_secret(client, &hash) {
        Some(known) if known.is_valid(now) => return Ok(None),
        // It was replaced: to declare it again must not bring it back.
        Some(_) => return Err(OperationError::SecretExpired),
        None => {}
    }
    if client.secrets.len() as i64 >= MAX_SECRETS {
        return Err(OperationError::TooManySecrets);
    }
    client.secrets.push(StoredSecret::with_hash(hash, now));
    Ok(generated)
}
