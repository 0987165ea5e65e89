//! What a connection can wait for, and how long.

use std::time::Duration;

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The first byte.
    New,
    /// The end of a head.
    Head,
    /// The handler, and the body if the handler reads it.
    Handling,
    /// The end of the response.
    Responding,
    /// The peer, to close: the response was sent before the body was read.
    Draining,
    /// The next request.
    Idle,
    /// Nothing: it is closed.
    Closed,
}

/// The body that a head announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// No body.
    Nothing,
    /// `Content-Length`.
    Length(u64),
    /// Chunks, or everything until the connection is closed.
    Unknown,
}

/// How long a connection may stay in a phase.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// `server.request_timeout`: for a head and its body, and between two successful writes of a
    /// response.
    pub request: Duration,
    /// `server.keep_alive`.
    pub idle: Duration,
}

/// Which connections are evicted first. Within a class it is the one that has been inactive for the
/// longest time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evictable {
    /// It has no request.
    Idle,
    /// It has sent part of a request, does not read a response, or was served just now and pipelines.
    Unfinished,
    /// It was accepted or served just now.
    Recent,
}
