//! Load for a Mintage server, for `benches/` and the sections of `main.rs`.
//!
//! - [`server`] starts the binary in its own process and reads its CPU time from the
//!   kernel; [`floor`] is the bare HTTP handler with which its figures are compared.
//! - [`traffic`] creates requests, `connection` sends one and reads its response.
//! - [`closed`] finds the capacity, [`open`] the latency at a rate; both return an [`outcome`].
//! - [`fill`] writes rows that requests could not create in reasonable time.
//!
//! It depends on `mintage` only for the stored form of a secret: the program is measured, not the
//! library.

#![allow(clippy::disallowed_methods, reason = "a load generator measures time")]

pub mod closed;
mod connection;
pub mod fill;
pub mod floor;
pub mod open;
pub mod outcome;
pub mod server;
pub mod traffic;

/// The median of at least one value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
