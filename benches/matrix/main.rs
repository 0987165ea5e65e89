//! `cargo bench --bench matrix`: the true server in each configuration, driven from this process; the tables and plots of
//! `docs/benchmarks.md`.
//!
//! `-- --only=before-after`, `backends`, `scenario`, `pool`, `durability` or `instances` runs one section, `-- --quick` shows
//! in a few minutes that everything runs.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

#[path = "../load/mod.rs"]
mod load;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/postgres/mod.rs"]
mod postgres;

mod backends;
mod before_after;
mod costs;
mod durability;
mod instances;
mod pool;
mod scenario;
mod store;
mod verdicts;

use load::flags::Flags;
use load::report::Report;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let floor = std::env::args().find_map(|argument| argument.strip_prefix("--floor=")?.parse().ok());
    if let Some(workers) = floor {
        return load::floor::serve(workers);
    }
    let flags = Flags::read(std::env::args().skip(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let busy = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    eprintln!("{cores} cores; load before: {}", busy.trim_end());
    let report = Report::new(flags.to.as_deref(), "benchmarks.md", "matrix");
    before_after::run(&flags, &report);
    backends::run(&flags, &report);
    scenario::run(&flags, &report);
    pool::run(&flags, &report);
    durability::run(&flags, &report);
    instances::run(&flags, &report);
    flags.complain_if_nothing_ran();
}
