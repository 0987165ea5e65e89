//! A failed authentication as all instances count it: which buckets it falls into, and how fast they drain.

use std::time::Duration;

/// Which bucket: what has failed, and how fast it drains, because a bucket of another limit is another bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedBucket {
    /// The network, and the client id if it is one of a pair.
    pub of: Vec<u8>,
    /// Failures a minute.
    pub per_minute: i64,
}

/// A failure to be added to a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The bucket.
    pub bucket: SharedBucket,
    /// The time in which it drains away.
    pub each: Duration,
    /// The time in which a full bucket drains.
    pub whole: Duration,
}
