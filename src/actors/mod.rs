//! The actors: work that no request may wait for, and work that must be serialized.
//!
//! Callers hold typed handles. A handle maps a dead mailbox to an error, in one place.

pub mod audit_notes;
pub mod batch_writer;
pub mod change_feed;
pub mod client_cache;
pub mod janitor;
pub mod key_rotator;
pub mod revocation_sweeper;
pub mod secret_usage;
