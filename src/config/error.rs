//! [`ConfigError`]: why a configuration cannot be used.

use std::fmt;

/// The configuration cannot be used. The text is one line that states what to change, without any
/// value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}
