//! The forward-auth policy as pure code: routes, the table compiled from them, and the normal forms
//! of path and host (docs/protocol.md#p44).
//!
//! A gateway asks `/validate` whether a request may pass. An ambiguous request is denied here,
//! never repaired.

pub mod explain;
pub mod host;
pub mod path;
pub mod route;
pub mod route_table;
#[cfg(test)]
mod samples;
