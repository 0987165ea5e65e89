//! Who a request comes from, and what it may: client authentication, bearer tokens, and the guard before both.

pub mod bearer;
pub mod client;
mod denial_log;
pub mod guard;

pub use denial_log::DenialLog;
