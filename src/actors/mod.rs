//! The actors: what must not be done while a request waits, and what must be done by one at a time.
//!
//! Callers hold typed handles; a dead mailbox is turned into an error there, once.

pub mod batch_writer;
pub mod change_feed;
pub mod client_cache;
pub mod janitor;
pub mod key_rotator;
pub mod revocation_sweeper;
pub mod secret_usage;
