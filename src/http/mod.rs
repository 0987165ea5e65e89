//! HTTP: handlers that route messages between the actors, and read as a list of named steps.

pub mod admin;
mod auth;
mod body;
mod console;
mod error;
mod forward_auth;
mod health;
mod introspection;
mod metadata;
mod metrics;
mod middleware;
mod peer;
mod request_id;
mod resource;
mod revocation;
pub mod routes;
mod state;
mod token;

pub use auth::DenialLog;
pub use middleware::Middleware;
pub use resource::Resource;
pub use state::{HttpSettings, Shared, Worker};
