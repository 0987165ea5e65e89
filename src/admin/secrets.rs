//! Secrets of a client: add, revoke. They are listed with [`Administration::find_client`].

use super::error::failed;
use super::{Administration, OperationError};
use crate::api::audit::Principal;
use crate::api::declaration::GivenSecret;
use crate::db::secrets::Added;
use crate::db::{Conn, transactions};
use crate::oauth::client::ClientId;
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::secret_hash::SecretHash;
use crate::oauth::stored_secret::StoredSecret;
use crate::time::UnixMillis;

/// How long secrets are valid, in seconds from now.
#[derive(Clone, Copy, Debug, Default)]
pub struct SecretLifetimes {
    /// The new secret; `None`: until it is revoked.
    pub new: Option<i64>,
    /// The other secrets of the client, except those that expire earlier; `None`: as before.
    pub others: Option<i64>,
}

/// A new secret, which cannot be read again.
pub struct AddedSecret {
    /// Its id, its hash and its times.
    pub stored: StoredSecret,
    /// The secret; `None` for one that was given.
    pub secret: Option<ClientSecret>,
}

impl Administration {
    /// Gives a client another secret: the given one, or a generated one.
    ///
    /// # Errors
    /// [`OperationError::ClientNotFound`], [`OperationError::TooManySecrets`],
    /// [`OperationError::SecretExists`], [`OperationError::MalformedClient`] for a given secret that
    /// could be guessed, or when the database fails.
    pub async fn add_secret(
        &self,
        by: Principal,
        id: ClientId,
        given: &GivenSecret,
        lifetimes: SecretLifetimes,
    ) -> Result<AddedSecret, OperationError> {
        let now = self.clock.now();
        let after = |seconds: i64| UnixMillis(now.0 + seconds * 1000);
        let (hash, secret) = hash_or_generate(given)?;
        let mut stored = StoredSecret::with_hash(hash, now);
        stored.expires_at = lifetimes.new.map(after);
        let (subject, row, others_end) = (id.clone(), stored.clone(), lifetimes.others.map(after));
        let work = move |conn: &mut Conn| transactions::add_secret(conn, &by, &subject, &row, others_end);
        match self.db.run(work).await.map_err(failed)? {
            Added::Done => {}
            Added::NoClient => return Err(OperationError::ClientNotFound),
            Added::TooMany => return Err(OperationError::TooManySecrets),
            Added::Known => return Err(OperationError::SecretExists),
        }
        // As for a new client: the secret can be shown only now.
        if self.apply_client(&id).await.is_err() {
            log::warn!(client:% = id; "secret not in effect yet");
        }
        Ok(AddedSecret { stored, secret })
    }

    /// Revokes a secret of a client.
    ///
    /// # Errors
    /// [`OperationError::SecretNotFound`], also without such a client, or when the database fails.
    pub async fn revoke_secret(&self, by: Principal, id: ClientId, secret_id: String) -> Result<(), OperationError> {
        let (subject, now) = (id.clone(), self.clock.now());
        let work = move |conn: &mut Conn| transactions::revoke_secret(conn, &by, &subject, &secret_id, now);
        match self.db.run(work).await.map_err(failed)? {
            true => self.apply_client(&id).await,
            false => Err(OperationError::SecretNotFound),
        }
    }
}

/// The hash of the given secret, or of a generated one, which is returned too.
pub(super) fn hash_or_generate(given: &GivenSecret) -> Result<(SecretHash, Option<ClientSecret>), OperationError> {
    if let Some(hash) = given.hash().map_err(OperationError::MalformedClient)? {
        return Ok((hash, None));
    }
    let secret = ClientSecret::generate();
    Ok((SecretHash::of(&secret), Some(secret)))
}
