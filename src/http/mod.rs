//! HTTP: the endpoints. A handler authenticates the request, parses it, calls the layers below and
//! formats the response.

mod access_log;
pub mod admin;
mod audit_log;
mod auth;
mod authorization;
mod body;
mod caller;
mod challenge;
pub mod connection;
mod console;
mod cors;
mod error;
mod forward_auth;
mod health;
mod introspection;
mod metadata;
mod metrics;
mod middleware;
mod resource;
mod revocation;
pub mod routes;
mod start_page;
mod state;
mod token;

/// Parsers of headers and queries that are public for the fuzz targets only.
#[doc(hidden)]
pub mod parsers {
    pub use super::admin::page::{decode as decode_cursor, encode as encode_cursor};
    pub use super::admin::version::{Precondition, parse as parse_if_match};
    pub use super::auth::bearer::parse as parse_bearer;
}

pub use auth::DenialLog;
pub use caller::ForwardedFor;
pub use cors::Origins;
pub use middleware::Middleware;
pub use resource::Resource;
pub use state::{HttpSettings, Shared, Worker};
