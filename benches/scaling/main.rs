//! `cargo bench --bench scaling`: a hundred instances and a million clients, computed from what was measured of one; the
//! tables and plots of `docs/scaling.md`.
//!
//! `-- --no-write` only prints, `-- --measure` measures the costs that no other benchmark gives, on a true PostgreSQL, and
//! prints them; what the model takes for granted are the constants in `model/inputs.rs`.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[allow(dead_code, reason = "the other benchmarks use more of it")]
#[path = "../load/fill.rs"]
mod fill;
use testkit::postgres;
#[path = "../report/mod.rs"]
mod report;

mod measure;
mod model;
mod redis;
mod tables;

use report::Report;

const USAGE: &str = "cargo bench --bench scaling -- [--measure] [--no-write] [--to=docs]";

fn main() {
    let mut to = Some("docs".into());
    for argument in std::env::args().skip(1) {
        match argument.split_once('=').unwrap_or((&argument, "")) {
            // cargo says so.
            ("--bench", "") => {}
            ("--measure", "") => return measure::run(),
            ("--no-write", "") => to = None,
            ("--to", folder) => to = Some(std::path::PathBuf::from(folder)),
            _ => {
                eprintln!("{argument} is not understood\n{USAGE}");
                std::process::exit(2);
            }
        }
    }
    tables::write(&Report::new(to.as_deref(), "scaling.md", "scaling"));
}
