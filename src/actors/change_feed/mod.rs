//! The change feed: the actor that polls the change log, and what it applies the changes to.

mod actor;
mod apply;

pub use actor::{ChangeFeed, PollNow};
pub use apply::LocalState;
