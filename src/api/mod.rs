//! The JSON documents that the admin API and the command line share.
//!
//! Times are RFC 3339 in UTC. No document contains a secret or a private key.

pub mod audit;
pub mod authority;
pub mod client;
pub mod client_fields;
pub mod client_search;
pub mod declaration;
pub mod denial;
pub mod key;
pub mod operator;
pub mod page;
pub mod route;
pub mod secret;
pub mod token;
