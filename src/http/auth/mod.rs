//! Authentication and authorization: client credentials, bearer tokens, and the guard that limits
//! and logs failures.

pub mod attempt;
pub mod bearer;
pub mod client;
mod denial_log;
pub mod guard;
pub mod introspector;
pub mod operator;

pub use denial_log::DenialLog;
