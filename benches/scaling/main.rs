//! `cargo bench --bench scaling`: a hundred instances and a million clients, computed from what was measured of one; the
//! tables and plots of `docs/scaling.md`.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[allow(dead_code, reason = "the other benchmarks use more of it")]
#[path = "../load/fill.rs"]
mod fill;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/postgres/mod.rs"]
mod postgres;
#[path = "../report/mod.rs"]
mod report;

mod measure;
mod redis;

fn main() {
    measure::run();
}
