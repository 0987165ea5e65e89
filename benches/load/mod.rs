//! The load of the HTTP benchmarks: the true server in a process of its own, and this process, which drives it.
//!
//! Latencies come from an open loop ([`open`]), capacity from a closed one ([`closed`]); the server's CPU time is read
//! from the kernel before and after. [`cell`] puts these together: what is compared takes turns, over several rounds.

#![allow(dead_code, reason = "each benchmark uses its part")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

pub mod cell;
pub mod closed;
pub mod connection;
pub mod fill;
pub mod flags;
pub mod floor;
pub mod open;
pub mod outcome;
#[path = "../report/mod.rs"]
pub mod report;
pub mod server;
pub mod traffic;

#[allow(unused_imports, reason = "as above")]
pub use report::{plot, table};

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
