//! Code shared by tests, benchmarks and tools. Never shipped.
//!
//! - [`program!`] and [`Server`]: the real binary, as command and as server; [`TestApp`]: a server
//!   in this process.
//! - [`http`]: the HTTP client, which can also send malformed requests; [`raw`]: connections that
//!   never wait, of which one thread drives hundreds; [`open_files`]: how many may be open.
//! - [`poll`]: waits for a condition, with a deadline and a description.
//! - [`port`]: free ports.
//! - [`postgres`], [`replica`], [`cluster`], [`redis`], [`sqlite`]: real, isolated databases.
//! - [`nginx`]: runs nginx with a configuration block from the documentation.
//! - [`parsers`]: the parsers of foreign input with the rules that hold for any input, for tests
//!   and fuzz targets.
//! - [`proxy`]: simulates network faults. [`load`]: steady load whose responses are kept.

#![allow(
    clippy::disallowed_methods,
    reason = "durations of running programs are measured with the real clock"
)]

pub mod app;
pub mod assertions;
pub mod client;
pub mod cluster;
pub mod folder;
pub mod gateway;
pub mod http;
pub mod load;
pub mod nginx;
pub mod open_files;
pub mod parsers;
pub mod poll;
pub mod port;
pub mod postgres;
pub mod program;
pub mod proxy;
pub mod raw;
pub mod redis;
pub mod replica;
pub mod sample;
pub mod scrape;
pub mod sqlite;
pub mod time;
pub mod token;

pub use app::TestApp;
pub use client::TestClient;
pub use poll::eventually;
pub use program::{Program, Server};

/// The real binary of this package, in a new folder: a [`Program`] without a database.
///
/// A macro, because Cargo sets `CARGO_BIN_EXE_mintage` only for tests and benchmarks of the
/// package.
#[macro_export]
macro_rules! program {
    () => {
        $crate::Program::at(env!("CARGO_BIN_EXE_mintage"))
    };
}
