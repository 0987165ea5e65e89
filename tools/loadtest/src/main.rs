//! `cargo run --profile dist -p loadtest -- SECTION`: the shipped binary of Mintage under load, in
//! tables.
//!
//! Each section is one file in `sections/`; `docs/benchmarks.md` quotes and explains their tables.

mod sections;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use loadtest::{floor, server};
use sections::database::Backend;
use sections::measure::Plan;
use sections::{backends, before_after, durability, instances};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Drives target/dist/mintage, which `cargo build --profile dist` builds, and prints tables.
#[derive(Parser)]
#[command(name = "loadtest")]
struct Arguments {
    #[command(subcommand)]
    section: Section,
    /// Rounds per case
    #[arg(long, global = true, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds per round, once in a closed and once in an open loop
    #[arg(long, global = true, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Persistent connections to the server
    #[arg(long, global = true, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Databases; without a PostgreSQL on this machine, only SQLite
    #[arg(long, global = true, value_delimiter = ',', default_value = "sqlite,postgres")]
    databases: Vec<Backend>,
}

#[derive(Subcommand)]
enum Section {
    /// Each signature algorithm on each database, by number of workers
    Backends {
        #[arg(long, value_delimiter = ',', default_value = "1,2")]
        workers: Vec<usize>,
    },
    /// Responses before and after the record is on the disk; large tables
    Durability {
        /// Rows of the large tables; 0 skips them
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
    },
    /// One, two and three instances on one PostgreSQL
    Instances,
    /// Batches, cache and pool, each switched off by its setting
    BeforeAfter,
}

fn main() -> ExitCode {
    if floor::serve_if_asked() {
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    let binary = match server::binary() {
        Ok(binary) => binary,
        Err(error) => {
            eprintln!("loadtest: {error}");
            return ExitCode::FAILURE;
        }
    };
    let plan = Plan {
        rounds: arguments.rounds,
        seconds: arguments.seconds,
        connections: arguments.connections as usize,
    };
    let databases = arguments.databases;
    match arguments.section {
        Section::Backends { workers } => backends::run(&binary, plan, &databases, &workers),
        Section::Durability { rows } => durability::run(&binary, plan, &databases, rows),
        Section::Instances => instances::run(&binary, plan),
        Section::BeforeAfter => before_after::run(&binary, plan, &databases),
    }
    ExitCode::SUCCESS
}
