//! The error of everything that may be unavailable: "no answer now", which never means "no".

use std::fmt;

/// The answer is not available now: the store cannot be reached, or the task that has the answer
/// has stopped.
///
/// This never means absence, which is `Ok(None)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unavailable")
    }
}

impl std::error::Error for Unavailable {}
