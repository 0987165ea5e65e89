//! The OAuth 2.0 protocol as pure code: no actix, no diesel and no clock reads.
//!
//! Every rule of RFC 6749, RFC 8707 and RFC 9068 that Mintage follows is a function of its
//! arguments, the time among them, so each is tested without a server. The only other input is the
//! operating system's randomness, where a secret or an id is generated.

pub mod activity;
pub mod alg;
pub mod basic;
pub mod bounds;
pub mod claims;
pub mod client;
pub mod client_secret;
pub mod custom_claims;
pub mod denial;
pub mod duty;
pub mod error;
pub mod form;
pub mod given_secret;
pub mod grant;
pub mod imported_secret;
pub mod introspection;
mod json;
pub mod labels;
pub mod metadata;
pub mod origin;
pub mod password_hash;
pub mod request;
pub mod resource;
pub mod response;
pub mod scope;
pub mod secret_hash;
pub mod stored_secret;
pub mod token_form;
pub mod token_id;
