//! The model: what many instances ask of one PostgreSQL, computed from what was measured of one. Pure computation; the
//! random numbers of what is simulated are the same in every run.
//!
//! Rates are a second, times are seconds, sizes are bytes, unless the name says otherwise.

#![allow(dead_code, reason = "the benchmark and the tests each use their part")]

pub mod cache;
pub mod cluster;
pub mod connections;
pub mod feed;
pub mod inputs;
pub mod popularity;
pub mod random;
pub mod records;
pub mod secret_uses;
pub mod simulated;

/// Seconds of a day.
pub const DAY: f64 = 86_400.0;
