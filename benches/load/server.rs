//! A server under test: a process of its own, what it says of itself, and what the kernel says of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::traffic::{BODY, token_request};

/// How long anything may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server under test; killed when dropped.
pub struct Server {
    process: Child,
    /// Where it listens.
    pub address: String,
    /// From its start to its being ready.
    pub ready_after: Duration,
    /// What it writes goes here and not into a pipe, or this process would have to read it meanwhile.
    _log: tempfile::NamedTempFile,
}

impl Server {
    /// The true server on this database, on a port of its own, with one worker unless `settings` (of the environment)
    /// say otherwise.
    pub fn mintage(url: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary());
        command
            .args(["--database-url", url, "serve"])
            .env("MINTAGE_SERVER__LISTEN", "127.0.0.1:0")
            .env("MINTAGE_SERVER__WORKERS", "1")
            .env_remove("RUST_LOG")
            .envs(settings.iter().copied());
        Self::start(&mut command, true)
    }

    /// The floor, which is this program.
    pub fn floor(workers: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        Self::start(command.arg(format!("--floor={workers}")), false)
    }

    /// Starts `command` and waits until its standard error holds `http://ADDRESS` and `/readyz` (if it has one) answers
    /// 200.
    fn start(command: &mut Command, has_readyz: bool) -> Self {
        let began = Instant::now();
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let process = command
            .stderr(log.reopen().expect("the file is there"))
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut server = Self {
            process,
            address: String::new(),
            ready_after: Duration::ZERO,
            _log: log,
        };
        server.address = server.wait_until(|server| server.said_address());
        if has_readyz {
            server.wait_until(|server| server.is_ready().then_some(()));
        }
        server.ready_after = began.elapsed();
        server
    }

    fn wait_until<T>(&mut self, found: impl Fn(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(value) = found(self) {
                return value;
            }
            let ended = self.process.try_wait().expect("it is our child");
            assert!(ended.is_none(), "the server ended: {}", self.said());
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("the server did not become ready: {}", self.said());
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self._log.path()).unwrap_or_default()
    }

    fn said_address(&self) -> Option<String> {
        let said = self.said();
        let (_, rest) = said.split_once("http://")?;
        let (address, _) = rest.split_once([' ', '\n'])?;
        Some(address.to_owned())
    }

    fn is_ready(&self) -> bool {
        let answer = self.ask("GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".as_bytes());
        answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// One request on a connection of its own, which its head closes.
    fn ask(&self, request: &[u8]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Gets a token; `body` is its form.
    pub fn token(&self, client: &(String, String), body: &str) -> String {
        let request = token_request(&client.0, &client.1, body);
        let request = String::from_utf8(request).expect("requests are text");
        let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let answer = self.ask(request.as_bytes()).expect("the server answers");
        let (_, rest) = answer
            .split_once("\"access_token\":\"")
            .unwrap_or_else(|| panic!("no token: {answer}"));
        rest.split('"').next().expect("it ends").to_owned()
    }

    /// A token with the scope that the benchmarks' requests ask for.
    pub fn usual_token(&self, client: &(String, String)) -> String {
        self.token(client, BODY)
    }

    /// What an operator's endpoint says.
    pub fn document(&self, path: &str, token: &str) -> serde_json::Value {
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
        let answer = self.ask(head.as_bytes()).expect("the server answers");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }

    /// Waits until the records of all tokens are written.
    pub fn settle(&self, token: &str) {
        let began = Instant::now();
        while self.document("/admin/writer/stats", token)["pending"] != 0 {
            assert!(began.elapsed() < PATIENCE, "token records are not written");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has counted since its start.
    pub fn counts(&self, token: &str) -> Counts {
        let pool = self.document("/admin/pool/stats", token);
        let cache = self.document("/admin/cache/stats", token);
        let number = |value: &serde_json::Value| value.as_f64().expect("a number");
        Counts {
            statements: number(&pool["statements_total"]),
            wait_seconds: number(&pool["wait_seconds_total"]),
            hits: number(&cache["hits"]),
            misses: number(&cache["misses"]),
            loads: number(&cache["loads"]),
        }
    }

    /// CPU time that it has used.
    pub fn cpu(&self) -> CpuTime {
        CpuTime::of(self.process.id())
    }

    /// Its resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kilobytes.expect("Linux tells the resident set") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the server counts, of what the benchmarks look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// SQL statements sent.
    pub statements: f64,
    /// Time spent waiting for a connection.
    pub wait_seconds: f64,
    /// Lookups of clients that memory answered.
    pub hits: f64,
    /// Lookups of clients that it did not.
    pub misses: f64,
    /// Loads of clients.
    pub loads: f64,
}

impl std::ops::Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            statements: self.statements - before.statements,
            wait_seconds: self.wait_seconds - before.wait_seconds,
            hits: self.hits - before.hits,
            misses: self.misses - before.misses,
            loads: self.loads - before.loads,
        }
    }
}

impl Counts {
    /// The share of lookups that memory answered.
    pub fn hit_rate(&self) -> f64 {
        self.hits / (self.hits + self.misses).max(1.0)
    }
}

/// CPU time of a process, from both of the kernel's accounts: that of its threads is exact and forgets threads that
/// ended, that of the process forgets nothing and counts in hundredths of a second.
#[derive(Clone, Copy)]
pub struct CpuTime {
    threads_nanos: u64,
    process_nanos: u64,
}

impl CpuTime {
    fn of(process: u32) -> Self {
        // USER_HZ, which is 100 on every machine that Linux runs on today.
        const TICK_NANOS: u64 = 10_000_000;
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
        let first_number = |text: String| text.split_whitespace().next()?.parse::<u64>().ok();
        let used = tasks.flatten().filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            first_number(text)
        });
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
        let exact = self.threads_nanos as f64 - before.threads_nanos as f64;
        let whole = self.process_nanos as f64 - before.process_nanos as f64;
        // Apart by more than two ticks: threads have ended in between.
        if (whole - exact).abs() <= 2e7 { exact } else { whole }
    }
}

/// The server's program.
pub fn binary() -> &'static Path {
    env!("CARGO_BIN_EXE_mintage").as_ref()
}

/// Runs a command of the command line and gives what it printed.
pub fn command(url: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(binary())
        .args(["--database-url", url])
        .args(arguments)
        .output()
        .expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Makes a client; answers its id and secret.
pub fn make_client(url: &str, scope: &str, more: &[&str]) -> (String, String) {
    let create = ["client", "create", "--json", "--name", "bench", "--scope", scope];
    let printed = command(url, &[&create[..], more].concat());
    let made: serde_json::Value = serde_json::from_slice(&printed).expect("JSON");
    let text = |member: &str| made[member].as_str().expect("a string").to_owned();
    (text("client_id"), text("client_secret"))
}

/// The form of a request for an operator's token.
pub const OPERATOR_BODY: &str = "grant_type=client_credentials&scope=mintage%3Aread";

/// Makes a client that may look at the statistics.
pub fn make_operator(url: &str) -> (String, String) {
    make_client(url, "mintage:read", &[])
}
