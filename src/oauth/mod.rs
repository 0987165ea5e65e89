//! The protocol, pure: no actix, no diesel, no clock reads, and no input but the operating system's randomness
//! where a secret or an id is made.
//!
//! Every rule of RFC 6749, RFC 8707 and RFC 9068 that Mintage follows is a function of its arguments, the time
//! among them, and so can be tested without a server.

pub mod activity;
pub mod alg;
pub mod audit;
pub mod basic;
pub mod claims;
pub mod client;
pub mod client_document;
pub mod client_fields;
pub mod denial;
pub mod encoding;
pub mod error;
pub mod form;
pub mod grant;
pub mod host;
pub mod introspection;
mod json;
pub mod metadata;
pub mod path;
pub mod plain_secret;
pub mod request;
pub mod resource;
pub mod response;
pub mod route;
pub mod route_document;
pub mod route_table;
pub mod scope;
pub mod secret;
pub mod secret_document;
pub mod slow_hash;
pub mod time;
pub mod token_document;
pub mod token_id;
