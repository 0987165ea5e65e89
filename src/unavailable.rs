//! "No answer now", which is never "no": the error of everything that may be out of reach.

use std::fmt;

/// The answer cannot be had now: the store is out of reach, or the task that has the answer is
/// gone.
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
