//! The actors: what must not be done while a request waits, and what must be done by one at a time.
//!
//! Callers hold typed handles; a dead mailbox is turned into an error there, once.

pub mod batch_writer;
mod bookmark;
pub mod change_feed;
pub mod client_cache;
pub mod client_caches;
pub mod janitor;
pub mod key_rotator;
mod lanes;
pub mod revocation_cache;
pub mod route_store;
pub mod secret_uses;
pub mod seen_changes;
pub mod shared_clients;
pub mod slow_secrets;
