//! The writer of token records: the actor, its handle, and the recorder of each worker.

mod actor;
mod handle;

pub use actor::{BatchWriter, LastFlush, WriterStats};
pub use handle::{BatchWriterHandle, ExitSignal, Recorder};
