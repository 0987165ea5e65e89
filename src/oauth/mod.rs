//! The protocol, pure: no actix, no diesel, no I/O and no clock reads.
//!
//! Everything here is a function of its arguments, so every rule of RFC 6749, RFC 8707 and RFC 9068 that
//! Mintage follows can be tested without a server. Time and randomness come in as parameters.

pub mod alg;
pub mod basic;
pub mod claims;
pub mod client;
pub mod client_document;
pub mod error;
pub mod form;
pub mod grant;
pub mod metadata;
pub mod request;
pub mod resource;
pub mod response;
pub mod scope;
pub mod secret;
pub mod time;
pub mod token_id;
