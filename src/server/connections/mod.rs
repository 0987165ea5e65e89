//! Bounds of connections: every state of a connection ends by a deadline, and what a connection
//! makes the server hold is limited.

mod limits;
mod registry;
mod scan;
mod stream;
#[cfg(test)]
mod tests;

pub use limits::{Limits, raise_file_limit};
pub use registry::{CONNECTION_BUFFERS, MAX_HELD, WorkerConnections};
pub use stream::GuardedStream;
