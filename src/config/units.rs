//! Values with a unit, and secret values: durations (`"250ms"`), sizes (`"16KiB"`) and confidential
//! text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A duration, written as `250ms`, `5s`, `15m`, `1h` or `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(pub std::time::Duration);

impl Duration {
    /// From whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// From whole milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// In whole seconds, rounded down.
    pub fn as_seconds(self) -> i64 {
        i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX)
    }

    /// In whole milliseconds, rounded down.
    pub fn as_millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|_| "must be a duration such as \"250ms\", \"5s\", \"15m\", \"1h\" or \"90d\"".into())
    }
}

impl TryFrom<String> for Duration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
        match units
            .into_iter()
            .find(|(size, _)| millis > 0 && millis.is_multiple_of(*size))
        {
            Some((size, unit)) => write!(f, "{}{unit}", millis / size),
            None => write!(f, "{millis}ms"),
        }
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> String {
        duration.to_string()
    }
}

/// A number of bytes, written as `512B`, `16KiB` or `1MiB`.
///
/// Not the crate bytesize: it also accepts `16`, `16KB` and `1.5MiB`, which may mean something else
/// than intended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub usize);

const SIZE_UNITS: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = SIZE_UNITS.into_iter().find_map(|(unit, size)| {
            let number = text.strip_suffix(unit)?.trim_end();
            number.parse::<usize>().ok()?.checked_mul(size)
        });
        parsed
            .map(Self)
            .ok_or_else(|| "must be a size such as \"32KiB\" or \"1MiB\"".into())
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> String {
        let (unit, factor) = SIZE_UNITS
            .into_iter()
            .find(|(_, factor)| size.0 > 0 && size.0.is_multiple_of(*factor))
            .unwrap_or(("B", 1));
        format!("{}{unit}", size.0 / factor)
    }
}

/// A confidential text. It is neither printed nor serialized by `config show`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// The secret text. This is the only access to it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether no secret is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for SecretValue {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl Serialize for SecretValue {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { "***" })
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_and_sizes_are_written_as_they_were_parsed() {
        for text in ["250ms", "5s", "15m", "1h", "90d", "0ms", "1500ms"] {
            assert_eq!(String::from(Duration::try_from(text.to_owned()).unwrap()), text);
        }
        for text in ["0B", "512B", "16KiB", "3MiB", "1GiB"] {
            assert_eq!(String::from(ByteSize::try_from(text.to_owned()).unwrap()), text);
        }
    }

    #[test]
    fn a_value_without_a_unit_is_rejected() {
        for bad in ["", "5", "5x", "-1s", "s"] {
            assert!(Duration::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        for bad in ["", "16", "16KB", "-1B", "99999999999999999999GiB", "99999999999999GiB"] {
            assert!(ByteSize::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_duration_in_milliseconds_round_trips(millis in 0u64..1 << 43) {
            let duration = Duration::millis(millis);
            prop_assert_eq!(Duration::try_from(duration.to_string()), Ok(duration));
        }
    }
}
