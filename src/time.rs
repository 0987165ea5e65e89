//! Points in time, as integers whose unit is in the type's name.

use std::fmt;

/// Milliseconds since the Unix epoch.
///
/// The protocol uses whole seconds (RFC 7519 §2, "NumericDate"). Mintage keeps milliseconds,
/// because a token id contains the millisecond of issue and a not-before must be finer than a
/// second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Whole seconds, rounded down, as in `iat` and `exp`.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The start of a second.
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds from `earlier` to `self`. Negative if the clock was set back in between.
    pub fn since(self, earlier: UnixMillis) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// RFC 3339 in UTC, to the millisecond, as in responses and logs.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            // Outside the years -9999 to 9999.
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}
