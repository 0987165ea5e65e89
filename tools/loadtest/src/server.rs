//! The server under test, started by [`testkit`]: its statistics, and its CPU time from the kernel.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::http::Request;
use testkit::poll;
use testkit::token::token_request;
use testkit::{Program, Server, TestClient};

use crate::traffic::SCOPE;

/// The time within which the records of the last tokens must be written.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The binary that cargo built next to this program.
pub fn binary() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let path = own.with_file_name("mintage");
    match path.exists() {
        true => Ok(path),
        false => Err(format!(
            "{} not found: run `cargo build --profile dist` first",
            path.display()
        )),
    }
}

/// A program on a migrated database, with production settings and one worker.
pub fn program(binary: &Path, url: &str) -> Program {
    Program::at(binary)
        .without("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE")
        .on(url, &[("MINTAGE_SERVER__WORKERS", "1")])
        .migrated()
}

/// Creates a client whose tokens are signed with this algorithm.
pub fn create_client(program: &Program, alg: &str) -> TestClient {
    let scope = format!("{SCOPE} orders:write");
    program.create_client(&["--name", "bench", "--alg", alg, "--scope", &scope])
}

/// The HTTP floor with this many workers. It is this program: its `main` must call
/// [`crate::floor::serve_if_asked`].
pub fn floor(workers: usize) -> Server {
    let own = std::env::current_exe().expect("this program has a path");
    Program::at(own).serve_unready(&[&format!("--floor={workers}")])
}

/// An operator that may read statistics.
pub struct Operator(TestClient);

impl Operator {
    /// Creates an operator.
    pub fn create(program: &Program) -> Self {
        Self(program.create_client(&["--name", "operator", "--scope", "mintage:read"]))
    }

    /// A token of the operator.
    pub fn token(&self, server: &Server) -> String {
        server
            .send(&token_request(&self.0, &[("scope", "mintage:read")]))
            .access_token()
    }
}

/// Waits until the records of all tokens are written; `token` is an operator's.
pub fn settle(server: &Server, token: &str) {
    let written = || statistics(server, token, "/admin/writer/stats", "pending") == 0.0;
    poll::until("token records are written", SETTLE_TIMEOUT, written);
}

/// SQL statements since the server's start, `BEGIN` and `COMMIT` included.
pub fn statements(server: &Server, token: &str) -> f64 {
    statistics(server, token, "/admin/pool/stats", "statements_total")
}

fn statistics(server: &Server, token: &str, path: &str, member: &str) -> f64 {
    let response = server.send(&Request::get(path).bearer(token));
    response.json()[member].as_f64().expect("a number")
}

/// User and system time of a process, from two accounts of the kernel: that of its threads is exact
/// but forgets threads that have ended; that of the process is complete but counts hundredths of a
/// second.
#[derive(Clone, Copy)]
pub struct CpuTime {
    threads_nanos: u64,
    process_nanos: u64,
}

impl CpuTime {
    /// The time that a process has used so far.
    pub fn of(process: u32) -> Self {
        // USER_HZ, which is 100 on every machine that Linux runs on today.
        const TICK_NANOS: u64 = 10_000_000;
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
        let used = tasks
            .flatten()
            .filter_map(|task| first_number(&task.path().join("schedstat")));
        let threads_nanos = used.sum();
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
        // The name, in parentheses, may hold spaces; user and system time are fields 14 and 15.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_whitespace().skip(11).take(2);
        let process_nanos = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * TICK_NANOS;
        Self {
            threads_nanos,
            process_nanos,
        }
    }

    /// Nanoseconds since `before`.
    pub fn since(self, before: Self) -> f64 {
        let threads = self.threads_nanos as f64 - before.threads_nanos as f64;
        let process = self.process_nanos as f64 - before.process_nanos as f64;
        // If they differ by more than two ticks, threads have ended in between.
        if (process - threads).abs() <= 2e7 {
            threads
        } else {
            process
        }
    }
}

/// CPU time that this thread has used, in nanoseconds.
pub fn thread_cpu_nanos() -> u64 {
    first_number(Path::new("/proc/thread-self/schedstat")).expect("Linux reports the CPU time of a thread")
}

fn first_number(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
