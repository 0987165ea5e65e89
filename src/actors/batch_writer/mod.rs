//! The writer of token records: the actor, its handle, and the recorder of each worker.

mod actor;
mod handle;
mod messages;

pub use actor::BatchWriter;
pub use handle::{BatchWriterHandle, ExitSignal, Recorder};
pub use messages::{LastFlush, WriterStats};
