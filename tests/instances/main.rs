//! Three true instances on one true PostgreSQL: what one changes the others know, one does what one must do, and restarts
//! and failovers that nobody notices.
//!
//! `cargo test --test instances propagation -- --nocapture` prints how long changes take to be known.

#![allow(
    clippy::disallowed_methods,
    reason = "how long a running program takes is measured with the true clock"
)]

mod failover;
mod late;
mod once;
mod propagation;
mod rolling;
mod single;
mod trio;

#[path = "../faults/asking.rs"]
#[allow(dead_code, reason = "the tests of faults ask for more")]
mod asking;
#[path = "../faults/cluster.rs"]
#[allow(dead_code, reason = "the tests of faults do more to it")]
mod cluster;
#[path = "../api/http.rs"]
#[allow(dead_code, reason = "the tests of the endpoints ask for more")]
mod http;
#[path = "../postgres/mod.rs"]
#[allow(dead_code, reason = "only where its programs are")]
mod postgres;
#[path = "../faults/proxy.rs"]
#[allow(dead_code, reason = "the tests of faults do more to connections")]
mod proxy;
#[path = "../sample/mod.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod sample;
#[path = "../faults/server.rs"]
#[allow(dead_code, reason = "the tests of faults do more to it")]
mod server;

/// Where `http` looks for it.
mod app {
    pub use crate::server::TestClient;
}
