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
