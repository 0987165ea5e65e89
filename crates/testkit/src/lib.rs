//! What the tests, the benchmarks and the tools share, once. Never shipped.
//!
//! - [`program!`] and [`Server`]: the real binary, as commands and as servers; [`TestApp`]: a server in this process.
//! - [`http`]: the one HTTP client, which also sends what a well-behaved library would refuse to send.
//! - [`poll`]: waiting for something, with a deadline and a description.
//! - [`postgres`], [`replica`], [`cluster`], [`redis`], [`sqlite`]: real databases of a test's own.
//! - [`nginx`]: a gateway with a block of a document.
//! - [`parsers`]: the parsers of foreign input with their rules, for the fuzz targets.
//! - [`proxy`]: connections that behave like bad networks. [`load`]: steady load whose responses are kept.

#![allow(
    clippy::disallowed_methods,
    reason = "how long a running program takes is measured with the real clock"
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
pub mod parsers;
pub mod poll;
pub mod postgres;
pub mod program;
pub mod proxy;
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

/// The real binary of this package, in a folder of its own: a [`Program`] without a database.
///
/// A macro, because only a test or a benchmark of the package knows where its binary is.
#[macro_export]
macro_rules! program {
    () => {
        $crate::Program::at(env!("CARGO_BIN_EXE_mintage"))
    };
}
