//! The change feed: the actor that polls the change log, and the state to which it applies changes.

mod actor;
mod apply;

pub use actor::{ChangeFeed, PollNow};
pub use apply::LocalState;
