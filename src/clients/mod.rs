//! Loading clients from peers or the database, and verifying secrets stored as password hashes.

pub mod loader;
pub mod password_verifier;
pub mod peer_cache;
