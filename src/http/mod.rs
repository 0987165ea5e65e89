//! HTTP: the endpoints. A handler authenticates the request, parses it, calls the layers below and formats the response.

pub mod admin;
mod auth;
mod body;
mod caller;
mod challenge;
mod console;
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
mod state;
mod token;

pub use auth::DenialLog;
pub use middleware::Middleware;
pub use resource::Resource;
pub use state::{HttpSettings, Shared, Worker};
