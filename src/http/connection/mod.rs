//! The state of one connection: what it is waiting for, and since when.
//!
//! The stream of the connection (`server::connections`) and the middleware write it, the sweeper of
//! the worker reads it. All of them run on the worker's thread, so cells suffice.
//!
//! actix serves the requests of a connection one after the other, but reads ahead without a bound,
//! and has no deadline after the first head. So the stream delivers one request at a time: the head,
//! then what the handler asks of the body, and the next head only after the response was sent.

mod context;
mod phase;
mod state;

pub use context::WorkerContext;
pub use phase::{Announced, Deadlines, Evictable, Phase};
pub use state::Connection;
