//! [`Server`]: the real binary as a process of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{Request, Response};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. Dropped, it is killed.
pub struct Server {
    child: Child,
    directory: TempDir,
    environment: Vec<(String, String)>,
    pub address: SocketAddr,
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
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let defaults = [
            ("MINTAGE_SERVER__LISTEN", "127.0.0.1:0"),
            ("MINTAGE_SERVER__WORKERS", "2"),
            ("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE", "0"),
            ("MINTAGE_DATABASE__URL", url),
        ];
        let environment: Vec<(String, String)> = defaults
            .iter()
            .chain(environment)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let child = command(&directory, &environment, &["serve"])
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self {
            child,
            directory,
            environment,
            address: ([127, 0, 0, 1], 0).into(),
        };
        server.address = eventually("it listens", PATIENCE, || {
            assert!(!server.has_ended(), "it ended");
            let log = server.log();
            let (_, rest) = log.split_once("listening on http://")?;
            rest.split_once(' ')?.0.parse().ok()
        });
        server
    }

    pub fn wait_until_ready(&self) {
        eventually("it is ready", PATIENCE, || {
            (Request::get("/readyz").send(self.address).status == 200).then_some(())
        });
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Runs a command on its database, or with other variables on another.
    pub fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Outcome {
        let output = command(&self.directory, &self.environment, arguments)
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

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Value {
        let outcome = self.run_with(&[], &[arguments, &["--json"]].concat());
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:?}");
        serde_json::from_str(&outcome.stdout).unwrap()
    }

    /// Makes a client with `client create`, HS256 because that is quick.
    #[track_caller]
    pub fn client(&self, scope: &str, more: &[&str]) -> TestClient {
        self.client_at("", scope, more)
    }

    /// Makes a client as [`Server::client`] does, on the database at another URL.
    #[track_caller]
    pub fn client_at(&self, url: &str, scope: &str, more: &[&str]) -> TestClient {
        let mut all = vec!["client", "create", "--name", "n", "--alg", "HS256", "--scope", scope];
        all.extend(more);
        if !url.is_empty() {
            all.extend(["--database-url", url]);
        }
        let made = self.run(&all);
        TestClient {
            id: made["client_id"].as_str().unwrap().to_owned(),
            secret: made["client_secret"].as_str().unwrap().to_owned(),
        }
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
            eprintln!("the log of the server:\n{}", self.log());
        }
    }
}

fn command(directory: &TempDir, environment: &[(String, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mintage"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MINTAGE_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(directory.path())
        .stdin(Stdio::null());
    command
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
