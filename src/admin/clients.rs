//! Clients: list, find, create, update, delete.

use super::error::failed;
use super::secrets::hash_or_generate;
use super::{Administration, OperationError};
use crate::api::audit::Principal;
use crate::api::client_fields::ClientFields;
use crate::api::client_search::ClientSearch;
use crate::api::declaration::Declaration;
use crate::db::client_search::{self, Found, WALK};
use crate::db::clients::{self, Changed};
use crate::db::transactions::{self, Deleted};
use crate::db::{Conn, DbError};
use crate::oauth::client::{Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::stored_secret::StoredSecret;

/// A new client and its first secret, which cannot be read again.
pub struct CreatedClient {
    /// The client, with the hash of the secret.
    pub client: Client,
    /// The secret; `None` for one that was given.
    pub secret: Option<ClientSecret>,
}

impl Administration {
    /// At most `limit` clients that match, in the order of their ids: those after `after`, or the
    /// first ones.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_clients(
        &self,
        wanted: ClientSearch,
        after: Option<ClientId>,
        limit: usize,
    ) -> Result<Found, OperationError> {
        let list = move |conn: &mut Conn| client_search::search(conn, &wanted, after.as_ref(), limit, WALK);
        self.db.read(list).await.map_err(failed)
    }

    /// The client with this id.
    ///
    /// # Errors
    /// [`OperationError::ClientNotFound`], or when the database fails.
    pub async fn find_client(&self, id: ClientId) -> Result<Client, OperationError> {
        let found = self.db.read(move |conn| clients::find(conn, &id)).await;
        found.map_err(failed)?.ok_or(OperationError::ClientNotFound)
    }

    /// Creates a client with the given secret, or generates its first one.
    ///
    /// # Errors
    /// [`OperationError::MalformedClient`], [`OperationError::ClientExists`], or when the database
    /// fails.
    pub async fn create_client(&self, by: Principal, new: &Declaration) -> Result<CreatedClient, OperationError> {
        let now = self.clock.now();
        let client = new.fields.new_id().and_then(|id| new.applied_to(None, id, now));
        let mut client = client.map_err(OperationError::MalformedClient)?;
        let (hash, secret) = hash_or_generate(&new.secret)?;
        client.secrets.push(StoredSecret::with_hash(hash, now));
        let row = client.clone();
        let created = self
            .db
            .run(move |conn| transactions::create_client(conn, &by, &row))
            .await;
        created.map_err(|error| match error {
            DbError::Conflict => OperationError::ClientExists,
            other => failed(other),
        })?;
        // The client is committed and this is the only time that its secret can be shown, so the
        // operation succeeds even if it cannot be applied yet.
        if self.apply_client(&client.id).await.is_err() {
            log::warn!(client:% = client.id; "client not in effect yet");
        }
        Ok(CreatedClient { client, secret })
    }

    /// Updates the members of a client that `fields` gives, if `is_expected` accepts its current
    /// version.
    ///
    /// # Errors
    /// [`OperationError::ClientNotFound`], [`OperationError::VersionMismatch`],
    /// [`OperationError::MalformedClient`], or when the database fails.
    pub async fn update_client(
        &self,
        by: Principal,
        id: ClientId,
        fields: ClientFields,
        is_expected: impl FnOnce(&Client) -> bool + Send + 'static,
    ) -> Result<Client, OperationError> {
        let now = self.clock.now();
        let update = move |client: &Client| match is_expected(client) {
            true => fields.applied_to(client, now).map_err(OperationError::MalformedClient),
            false => Err(OperationError::VersionMismatch),
        };
        let subject = id.clone();
        let work = move |conn: &mut Conn| transactions::change_client(conn, &by, &subject, now, update);
        let client = match self.db.run(work).await.map_err(failed)? {
            Changed::Done { after, .. } => after,
            Changed::Missing => return Err(OperationError::ClientNotFound),
            Changed::Rejected(error) => return Err(error),
        };
        self.apply_client(&id).await?;
        Ok(*client)
    }

    /// Deletes a client and its secrets, if `is_expected` accepts its current version. Its tokens
    /// become inactive for good.
    ///
    /// # Errors
    /// [`OperationError::ClientNotFound`], [`OperationError::VersionMismatch`], or when the
    /// database fails.
    pub async fn delete_client(
        &self,
        by: Principal,
        id: ClientId,
        is_expected: impl FnOnce(&Client) -> bool + Send + 'static,
    ) -> Result<(), OperationError> {
        let (subject, now) = (id.clone(), self.clock.now());
        let work = move |conn: &mut Conn| transactions::delete_client_if(conn, &by, &subject, now, is_expected);
        match self.db.run(work).await.map_err(failed)? {
            Deleted::Done => self.apply_client(&id).await,
            Deleted::Missing => Err(OperationError::ClientNotFound),
            Deleted::Rejected => Err(OperationError::VersionMismatch),
        }
    }

    /// Applies a committed change of a client to every worker.
    ///
    /// Replicas come first, or a cache could load the client again from one that lacks the change.
    /// A cache forgets the client even if the database fails meanwhile.
    pub(super) async fn apply_client(&self, id: &ClientId) -> Result<(), OperationError> {
        let caught_up = self.db.catch_up().await;
        let reloaded = self.revocations.reload_statuses(vec![id.clone()]).await;
        self.caches.invalidate(id).await;
        caught_up.and(reloaded).map_err(failed)
    }
}
