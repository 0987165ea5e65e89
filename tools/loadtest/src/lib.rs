//! Load for a Mintage server: `benches/` and the sections of `main.rs` are written with it.
//!
//! - [`server`] starts the release binary in a process of its own and reads its CPU time from the kernel; [`floor`] is the bare
//!   HTTP handler that its figures stand beside.
//! - [`traffic`] makes requests, [`connection`] sends one and reads its answer.
//! - [`closed`] finds the capacity, [`open`] the latency at a rate; both end in an [`outcome`].
//! - [`fill`] writes rows that requests could not make in reasonable time.
//!
//! It depends on `mintage` for the stored form of a secret alone: what is measured is the program, not the library.

#![allow(clippy::disallowed_methods, reason = "a load generator measures time")]

pub mod closed;
mod connection;
pub mod fill;
pub mod floor;
pub mod open;
pub mod outcome;
pub mod server;
pub mod traffic;

/// The middle one, of at least one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
