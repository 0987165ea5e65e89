//! Counts of connections. They change when a connection opens or closes, not with each request, so
//! all workers share them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use strum::{EnumCount, IntoStaticStr, VariantArray};

/// Why the server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Ending {
    /// A head did not arrive in time.
    HeadTimeout,
    /// A head was too large.
    HeadTooLarge,
    /// The response was sent before the body was read.
    BodyNotRead,
    /// The peer did not read the response.
    ResponseNotRead,
    /// No further request came.
    Idle,
    /// Too many connections were open.
    Evicted,
    /// Connections held too much memory.
    Memory,
}

/// Counts of connections, over all workers.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    /// Open connections.
    pub open: AtomicUsize,
    /// Open connections that wait for a request.
    pub idle: AtomicUsize,
    /// The maximum of open connections.
    pub max: AtomicUsize,
    /// Bytes that connections hold beyond their first buffers.
    pub held: AtomicUsize,
    /// Connections that were closed at once, because their address had its share.
    pub rejected: AtomicU64,
    ended: [AtomicU64; Ending::COUNT],
}

impl ConnectionCounts {
    /// Counts a connection that the server ended.
    pub fn ended(&self, why: Ending) {
        self.ended[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many connections the server ended for this reason.
    pub fn ended_for(&self, why: Ending) -> u64 {
        self.ended[why as usize].load(Ordering::Relaxed)
    }

    /// The reasons and how many connections were ended for each.
    pub fn endings(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Ending::VARIANTS.iter().map(|why| (why.into(), self.ended_for(*why)))
    }
}
