//! [`Program`]: the real binary, with a folder and an environment; [`Server`]: a `mintage serve`
//! process started there.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::TestClient;
use crate::http::{Request, Response};
use crate::poll::{eventually, until};
use crate::scrape::{Scrape, wait_for_change_feed};
use crate::{folder, sqlite};

/// How long a server may take to become ready or to exit. The first start on a database generates
/// RSA keys.
pub const SERVER_TIMEOUT: Duration = Duration::from_secs(60);

/// How many lines of the log are shown when a test fails.
const MAX_LINES_SHOWN: usize = 100;

/// Where commands and servers run: a binary, a folder and an environment. Several servers may run
/// there, concurrently or one after the other.
#[derive(Clone)]
pub struct Program {
    binary: PathBuf,
    folder: Arc<TempDir>,
    environment: Vec<(String, String)>,
    /// The number of servers started so far; numbers their logs.
    started: Arc<AtomicUsize>,
}

/// Exit code and output of a command.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// With an empty folder. Servers listen on a free port, have two workers and open metrics.
    /// Failed authentications are not limited, because most tests cause them on purpose.
    pub fn at(binary: impl Into<PathBuf>) -> Self {
        let defaults = [
            ("MINTAGE_SERVER__LISTEN", "127.0.0.1:0"),
            ("MINTAGE_SERVER__WORKERS", "2"),
            ("MINTAGE_SERVER__OPEN_METRICS", "true"),
            ("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE", "0"),
        ];
        let program = Self {
            binary: binary.into(),
            folder: Arc::new(folder::temporary()),
            environment: Vec::new(),
            started: Arc::default(),
        };
        program.with_all(&defaults)
    }

    /// With a variable in the environment.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With variables in the environment.
    pub fn with_all(self, environment: &[(&str, &str)]) -> Self {
        environment
            .iter()
            .fold(self, |program, (name, value)| program.with(name, value))
    }

    /// Without a variable, including the defaults of [`Program::at`].
    pub fn without(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    /// With the database at this URL and variables in the environment.
    pub fn on(self, url: &str, environment: &[(&str, &str)]) -> Self {
        self.with("MINTAGE_DATABASE__URL", url).with_all(environment)
    }

    /// With an SQLite database that is migrated and has its keys, because generating RSA keys is
    /// slow.
    pub fn with_database(self) -> Self {
        folder::write_private(&self.database_path(), sqlite::template());
        self
    }

    /// With the schema in the database of its environment, which may be empty.
    #[track_caller]
    pub fn migrated(self) -> Self {
        let outcome = self.run_with(&[("RUST_LOG", "warn")], &["migrate", "up"]);
        outcome.done();
        self
    }

    /// A file in the folder, which is also the working directory of all commands.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn database_path(&self) -> PathBuf {
        self.path("mintage.db")
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A command that is not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_under(&[], arguments)
    }

    fn command_under(&self, under: &[&str], arguments: &[&str]) -> Command {
        let mut command = match under {
            [] => Command::new(&self.binary),
            [program, more @ ..] => {
                let mut command = Command::new(program);
                command.args(more).arg(&self.binary);
                command
            }
        };
        let inherited = std::env::vars_os()
            .filter(|(name, _)| name.as_encoded_bytes().starts_with(b"MINTAGE_") || name == "RUST_LOG");
        for (name, _) in inherited {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env_remove("NOTIFY_SOCKET")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command and waits until it exits.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(&[], arguments)
    }

    /// Like [`Program::run`], with more variables in the environment.
    pub fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Outcome {
        let mut command = self.command(arguments);
        let output = command.envs(environment.iter().copied()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Outcome {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs a command with `--json`; it must succeed. `RUST_LOG` is `warn`, so that standard error
    /// stays empty.
    #[track_caller]
    pub fn run_json(&self, arguments: &[&str]) -> Value {
        self.run_with(&[("RUST_LOG", "warn")], &[arguments, &["--json"]].concat())
            .json()
    }

    /// Creates a client with these arguments of `client create`.
    #[track_caller]
    pub fn create_client(&self, arguments: &[&str]) -> TestClient {
        TestClient::created(&self.run_json(&[&["client", "create"], arguments].concat()))
    }

    /// Creates a client with a scope, and with HS256 because that is fast; `more` are further
    /// arguments.
    #[track_caller]
    pub fn client(&self, scope: &str, more: &[&str]) -> TestClient {
        let create = ["--name", "n", "--alg", "HS256", "--scope", scope];
        self.create_client(&[&create, more].concat())
    }

    /// Starts `serve`, under another program if one is given, without waiting.
    ///
    /// That program must replace itself with the server, or keep the server our child (`strace
    /// -D`).
    pub fn spawn(&self, under: &[&str], arguments: &[&str]) -> Server {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let (stdout, log) = (self.path(&format!("stdout.{number}")), self.path(&log_name(number)));
        let child = self
            .command_under(under, &[&["serve"], arguments].concat())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{under:?} {:?}: {error}", self.binary));
        Server {
            program: self.clone(),
            child,
            stdout,
            log,
            address: ([127, 0, 0, 1], 0).into(),
        }
    }

    /// Starts `serve` and waits until it listens. It may not be ready.
    #[track_caller]
    pub fn serve_unready(&self, arguments: &[&str]) -> Server {
        let mut server = self.spawn(&[], arguments);
        server.wait_until_it_listens().expect("the server listens");
        server
    }

    /// Starts `serve` and waits until it is ready.
    #[track_caller]
    pub fn serve(&self, arguments: &[&str]) -> Server {
        let server = self.serve_unready(arguments);
        server.wait_until_ready();
        server
    }

    /// The logs of all servers started here.
    pub fn logs(&self) -> String {
        let started = self.started.load(Ordering::Relaxed);
        (1..=started)
            .map(|number| read(&self.path(&log_name(number))))
            .collect()
    }
}

fn log_name(number: usize) -> String {
    format!("log.{number}")
}

/// The address that a server logs when it listens.
pub fn listening_on(log: &str) -> Option<SocketAddr> {
    let (_, fields) = log.split_once("server listening")?;
    // The address ends with a space as text, and with a quote as JSON.
    let (_, rest) = fields.split_once("http://")?;
    rest.split_once([' ', '"'])?.0.parse().ok()
}

impl Outcome {
    /// The command succeeded without a warning. Returns its standard output.
    #[track_caller]
    pub fn done(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        &self.stdout
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.done()).unwrap()
    }

    /// The command failed with this code and one line on standard error. Returns that line.
    #[track_caller]
    pub fn failed(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert_eq!(self.stderr.matches('\n').count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("mintage: "), "{self:?}");
        self.stderr.trim_end()
    }
}

/// A server in a separate process. Killed when dropped.
pub struct Server {
    /// The binary, folder and environment; commands for the server run there.
    pub program: Program,
    child: Child,
    stdout: PathBuf,
    log: PathBuf,
    pub address: SocketAddr,
}

impl Server {
    /// Waits until the server listens; `None` when it exits before.
    pub fn wait_until_it_listens(&mut self) -> Option<()> {
        self.address = eventually("the server listens", SERVER_TIMEOUT, || {
            // Checked first, so that everything it wrote before it exited is in the log.
            let ended = self.has_ended();
            let address = listening_on(&self.log());
            (ended || address.is_some()).then_some(address)
        })?;
        Some(())
    }

    #[track_caller]
    pub fn wait_until_ready(&self) {
        until("the server is ready", SERVER_TIMEOUT, || {
            self.send(&Request::get("/readyz")).status == 200
        });
    }

    /// Waits until the log contains `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        until(&format!("{text:?} is in the log"), SERVER_TIMEOUT, || {
            self.log().contains(text)
        });
    }

    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// Its standard error.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    #[track_caller]
    pub fn send(&self, request: &Request) -> Response {
        request.send(self.address)
    }

    /// Its origin, for a browser.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The origin of the listener of `server.admin_listen`, for a browser.
    #[track_caller]
    pub fn admin_origin(&self) -> String {
        let log = self.log();
        let (_, rest) = log
            .split_once("admin_url=http://")
            .expect("it has a listener for admin");
        format!("http://{}", rest.split_whitespace().next().unwrap())
    }

    #[track_caller]
    pub fn metrics(&self) -> Scrape {
        Scrape::of(self.address)
    }

    /// See [`wait_for_change_feed`].
    #[track_caller]
    pub fn wait_for_change_feed(&self) {
        wait_for_change_feed(self.address);
    }

    /// See [`Program::run_json`].
    #[track_caller]
    pub fn run_json(&self, arguments: &[&str]) -> Value {
        self.program.run_json(arguments)
    }

    /// See [`Program::client`].
    #[track_caller]
    pub fn client(&self, scope: &str, more: &[&str]) -> TestClient {
        self.program.client(scope, more)
    }

    /// Like [`Server::client`], with the database at another URL.
    #[track_caller]
    pub fn client_at(&self, url: &str, scope: &str, more: &[&str]) -> TestClient {
        self.client(scope, &[more, &["--database-url", url]].concat())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory of the process, in KiB.
    pub fn resident_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// How long the process has used a processor since it started, to a hundredth of a second.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The name in parentheses may contain spaces; utime and stime are the 14th and 15th field.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2);
        // The kernel reports hundredths of a second, whatever its own clock does (`USER_HZ`).
        ticks
            .map(|ticks| Duration::from_millis(10 * ticks.parse::<u64>().unwrap()))
            .sum()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args([format!("-{name}"), self.pid().to_string()]);
        assert!(kill.status().unwrap().success());
    }

    /// Sends SIGKILL and waits until the process is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the server exits. Returns its exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> Option<i32> {
        self.exit_status().code()
    }

    /// Waits until the server exits.
    #[track_caller]
    pub fn exit_status(&mut self) -> ExitStatus {
        eventually("the server exits", SERVER_TIMEOUT, || self.child.try_wait().unwrap())
    }

    /// Sends SIGTERM and waits until the server has exited with code 0.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.exit_code(), Some(0));
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(MAX_LINES_SHOWN)..];
            eprintln!("the last lines of the server's log:\n{}", last.join("\n"));
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap()).unwrap()
}
