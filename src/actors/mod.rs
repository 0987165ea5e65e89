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

use std::fmt;

/// The answer cannot be had now: the store is out of reach, or whoever has the answer is gone.
///
/// It is never "no": absence is `Ok(None)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unavailable")
    }
}

impl std::error::Error for Unavailable {}
