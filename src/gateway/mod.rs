//! The forward-auth policy, pure: routes, the table compiled from them, and the normal forms of path and host that it
//! decides about.
//!
//! A gateway asks `/validate` whether a request may pass. What could be read in two ways is denied here, never repaired.

pub mod explain;
pub mod host;
pub mod path;
pub mod route;
pub mod route_table;
