//! A failed authentication as instances share it: the buckets that it belongs to, and their drain
//! rates.

use std::time::Duration;

/// Identifies a bucket. The rate is part of the identity: with another limit, it is another bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedBucket {
    /// The network, followed by the client id if the bucket is for a pair.
    pub of: Vec<u8>,
    /// The limit in failures per minute.
    pub per_minute: i64,
}

/// A failure to be added to a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The bucket.
    pub bucket: SharedBucket,
    /// Time in which this failure drains.
    pub each: Duration,
    /// Time in which a full bucket drains.
    pub whole: Duration,
}
