//! [`Server`]: the real binary as a process of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{Request, Response};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. Dropped, it is killed.
pub struct Server {
    child: Child,
    place: Place,
    log: PathBuf,
    pub address: SocketAddr,
}

/// Where servers and commands run: a folder and an environment. Several servers may run there, at a time or in turn.
#[derive(Clone)]
pub struct Place {
    directory: Arc<TempDir>,
    environment: Vec<(String, String)>,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A client as whoever uses it knows it.
#[derive(Clone)]
pub struct TestClient {
    pub id: String,
    pub secret: String,
}

impl Server {
    /// Ready, on this database and with these variables in its environment.
    pub fn ready(url: &str, environment: &[(&str, &str)]) -> Self {
        let server = Self::started(url, environment);
        server.wait_until_ready();
        server
    }

    /// Listening.
    pub fn started(url: &str, environment: &[(&str, &str)]) -> Self {
        let mut server = Place::new(url, environment).spawn(&[], "log");
        server.wait_until_it_listens().expect("it ended");
        server
    }

    /// Waits until it listens; `None` when it ends before.
    pub fn wait_until_it_listens(&mut self) -> Option<()> {
        let address = eventually("it listens", PATIENCE, || {
            // Asked first: what it wrote before it ended is in the log then.
            let ended = self.has_ended();
            let address = listening_on(&self.log());
            (ended || address.is_some()).then_some(address)
        });
        self.address = address?;
        Some(())
    }

    pub fn wait_until_ready(&self) {
        eventually("it is ready", PATIENCE, || {
            (Request::get("/readyz").send(self.address).status == 200).then_some(())
        });
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Runs a command on its database, or with other variables on another.
    pub fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Outcome {
        self.place.run_with(environment, arguments)
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Value {
        self.place.run(arguments)
    }

    /// As [`Place::client`].
    #[track_caller]
    pub fn client(&self, scope: &str, more: &[&str]) -> TestClient {
        self.place.client(scope, more)
    }

    /// Makes a client as [`Server::client`] does, on the database at another URL.
    #[track_caller]
    pub fn client_at(&self, url: &str, scope: &str, more: &[&str]) -> TestClient {
        self.place.client(scope, &[more, &["--database-url", url]].concat())
    }

    pub fn send(&self, request: &Request) -> Response {
        request.send(self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.pid().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// kill −9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for it to end; its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(100)..];
            eprintln!("the last lines of the log of the server:\n{}", last.join("\n"));
        }
    }
}

impl Place {
    /// For this database, with these variables in the environment.
    pub fn new(url: &str, environment: &[(&str, &str)]) -> Self {
        let defaults = [
            ("MINTAGE_SERVER__LISTEN", "127.0.0.1:0"),
            ("MINTAGE_SERVER__WORKERS", "2"),
            ("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE", "0"),
            ("MINTAGE_DATABASE__URL", url),
        ];
        let environment = defaults.iter().chain(environment);
        Self {
            directory: Arc::new(TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()),
            environment: environment
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    /// A file in the folder, in which the database is too if its URL has no path.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Begins a server, under another program if one is named, and waits for nothing. Its log goes to a file.
    ///
    /// That other program must become the server, or leave it to be our child (`strace -D`).
    pub fn spawn(&self, under: &[&str], log: &str) -> Server {
        let log = self.path(log);
        let child = self
            .command(under, &["serve"])
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{under:?}: {error}"));
        Server {
            child,
            place: self.clone(),
            log,
            address: ([127, 0, 0, 1], 0).into(),
        }
    }

    pub fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Outcome {
        let output = self
            .command(&[], arguments)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs a command that must succeed, with `--json`.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Value {
        let outcome = self.run_with(&[("RUST_LOG", "warn")], &[arguments, &["--json"]].concat());
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:?}");
        serde_json::from_str(&outcome.stdout).unwrap()
    }

    /// Makes a client with `client create`, HS256 because that is quick.
    #[track_caller]
    pub fn client(&self, scope: &str, more: &[&str]) -> TestClient {
        let create = ["client", "create", "--name", "n", "--alg", "HS256", "--scope", scope];
        let made = self.run(&[&create, more].concat());
        TestClient {
            id: made["client_id"].as_str().unwrap().to_owned(),
            secret: made["client_secret"].as_str().unwrap().to_owned(),
        }
    }

    fn command(&self, under: &[&str], arguments: &[&str]) -> Command {
        let program = [under, &[env!("CARGO_BIN_EXE_mintage")]].concat();
        let mut command = Command::new(program[0]);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MINTAGE_") || name == "RUST_LOG") {
            command.env_remove(name);
        }
        command
            .args(&program[1..])
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }
}

fn listening_on(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("server listening url=http://")?;
    rest.split_once(' ')?.0.parse().ok()
}

/// Asks again and again until there is an answer.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
