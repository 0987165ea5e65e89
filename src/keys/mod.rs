//! Signing keys: generated here, stored in the database, published as a JWKS (RFC 7517).
//!
//! A [`KeyRing`] is an immutable snapshot of all keys. Each worker keeps a [`Signer`] for each
//! algorithm and a verifier for each key, parsed once, because parsing a key costs as much as using
//! it.

mod encryption;
mod key;
mod record;
mod ring;
pub mod rotation;
mod signer;
mod store;
pub mod trust;
mod verifier;

pub use encryption::KeyEncryptionKey;
pub use key::{SigningKey, StoredKey};
pub use record::KeyRecord;
pub use ring::KeyRing;
pub use signer::{NotSigned, Signer};
pub use store::{KeyStore, KeysUnusable, WorkerKeys};
pub use verifier::{RejectedToken, Verifier};

use std::fmt;

/// A key cannot be generated, parsed or used. The text contains nothing of the key material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(pub String);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}
