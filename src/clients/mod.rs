//! How a client and its secret are found: from a peer or the database, and by a password hash where there is no digest.

pub mod loader;
pub mod password_verifier;
pub mod peer_cache;
