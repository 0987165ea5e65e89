//! Token records between the workers and the `tokens` table: where they wait, and how a batch of
//! them is written.

pub mod flush;
pub mod queue;

pub use queue::NotRecorded;
