//! Bounds of connections: every state of a connection ends by a deadline, and what a connection
//! makes the server hold is limited.

mod registry;
mod scan;
mod stream;

pub use registry::WorkerConnections;
pub use stream::GuardedStream;
