//! The binary: runs the command line and returns its exit code.

#![warn(clippy::unwrap_used)]

use std::process::ExitCode;

/// Configured without huge pages, which would double the resident memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mintage::process::install_panic_hook();
    if let Err(error) = mintage::process::forbid_core_dumps() {
        eprintln!("mintage: a crash may leave a core dump, which contains keys: {error}");
    }
    mintage::cli::run(std::env::args_os())
}
