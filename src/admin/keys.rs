//! Signing keys: list, rotate.

use super::error::failed;
use super::{Administration, OperationError};
use crate::api::audit::Principal;
use crate::keys::KeyRecord;
use crate::keys::rotation::Activation;
use crate::keys::trust::Checked;
use crate::oauth::alg::Alg;

/// What a rotation published.
pub struct RotatedKeys {
    /// The new keys, at least one.
    pub published: Vec<KeyRecord>,
    /// All keys after the rotation, oldest first.
    pub all: Vec<KeyRecord>,
}

impl Administration {
    /// All signing keys without their private parts, oldest first, and those that are not believed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_keys(&self) -> Result<Checked, OperationError> {
        self.rotation.list().await.map_err(failed)
    }

    /// Publishes a new key for each of these algorithms, except where one is published and not
    /// active yet; with [`Activation::Immediate`], for all of them. In effect means: the new keys
    /// are in the JWKS of this instance.
    ///
    /// # Errors
    /// [`OperationError::NextKeyExists`] if no key was to be published, or when the database fails.
    pub async fn rotate_keys(
        &self,
        by: Principal,
        algs: Vec<Alg>,
        activation: Activation,
    ) -> Result<RotatedKeys, OperationError> {
        let rotated = self.rotation.rotate(by, algs, activation).await.map_err(failed)?;
        match rotated.published.is_empty() {
            true => Err(OperationError::NextKeyExists),
            false => Ok(RotatedKeys {
                published: rotated.published,
                all: rotated.keys,
            }),
        }
    }
}
