//! The binary: parses the command line and turns what came of it into an exit code.

#![warn(clippy::unwrap_used)]

use std::process::ExitCode;

/// Without huge pages, which took twice the memory; `docs/benchmarks.md` has the comparison.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mintage::cli::run(std::env::args_os())
}
