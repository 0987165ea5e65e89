//! Faults, made on purpose: each test checks a promise with records of its own, kept outside the process under test.

#![allow(
    clippy::disallowed_methods,
    reason = "how long a running program takes is measured with the true clock"
)]

mod asking;
#[allow(dead_code, reason = "the tests of several instances move it elsewhere")]
mod cluster;
mod feed;
mod instances;
mod lost_commit;
mod outage;
mod pool;
#[path = "../postgres/mod.rs"]
#[allow(dead_code, reason = "only where its programs are")]
mod postgres;
mod proxy;
mod records;
mod scene;
mod server;
mod slow_clients;
mod sqlite;
mod start;

#[path = "../api/http.rs"]
#[allow(dead_code, reason = "the tests of the endpoints ask for more")]
mod http;

/// Where `http` looks for it.
mod app {
    pub use crate::server::TestClient;
}
