//! The JSON documents that the admin API and the command line share: what they show, and what an operator writes.
//!
//! Times are RFC 3339 in UTC; no document holds a secret or a private key.

pub mod audit;
pub mod client;
pub mod client_fields;
pub mod key;
pub mod page;
pub mod route;
pub mod secret;
pub mod token;
