//! Token records on their way to the table: where they wait, and how a batch of them is written.

pub mod flush;
pub mod queue;

pub use queue::NotRecorded;
