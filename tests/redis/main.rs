//! Several instances on one PostgreSQL, with a true Redis: what it makes quicker, and that it can do nothing else.
//!
//! "Cold" are instances that load no clients before they are ready, so that each one is a miss.

#![allow(
    clippy::disallowed_methods,
    reason = "how long running programs take is measured with the true clock"
)]

mod announcements;
mod clients;
mod failures;
mod faults;
#[path = "../postgres/mod.rs"]
#[allow(dead_code, reason = "only what makes a database")]
mod postgres;
mod proxy;
#[path = "../redis_server/mod.rs"]
mod redis_server;
#[path = "../faults/server.rs"]
#[allow(dead_code, reason = "tests of faults do more to a server")]
mod server;
mod site;

#[path = "../api/http.rs"]
#[allow(dead_code, reason = "the tests of the endpoints ask for more")]
mod http;

/// Where `http` looks for it.
mod app {
    pub use crate::server::TestClient;
}
