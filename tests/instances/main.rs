//! Three real instances on one real PostgreSQL: changes on one instance reach the others, jobs that
//! must run once run once, and restarts and failovers cause no errors.
//!
//! `cargo test --test instances propagation -- --nocapture` prints how long changes take.

#![allow(
    clippy::disallowed_methods,
    reason = "how long a running program takes is measured with the real clock"
)]

mod authority;
mod failover;
mod one_time;
mod out_of_order;
mod propagation;
mod rolling;
mod single_runner;
mod trio;
