//! The real binary: run as a command, or as a server with signals, exit codes and logs.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::app::{TestClient, eventually, template};
use crate::http::Request;

/// How long a server may take to become ready or to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with a database, and the environment in which commands run there.
pub struct Program {
    directory: TempDir,
    environment: Vec<(String, String)>,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// With a database that is migrated and has its keys.
    pub fn new() -> Self {
        let program = Self::on_empty_database();
        std::fs::write(program.database_path(), template()).unwrap();
        program
    }

    /// With nothing at all; servers listen on a free port.
    pub fn on_empty_database() -> Self {
        Self {
            directory: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            environment: Vec::new(),
        }
        .with("MINTAGE_SERVER__LISTEN", "127.0.0.1:0")
        .with("MINTAGE_SERVER__WORKERS", "2")
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn database_path(&self) -> PathBuf {
        self.path("mintage.db")
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A command that is still to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mintage"));
        let inherited = std::env::vars().filter(|(name, _)| name.starts_with("MINTAGE_") || name == "RUST_LOG");
        for (name, _) in inherited {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env_remove("NOTIFY_SOCKET")
            // As in `app`: what is refused here is refused on purpose.
            .env("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE", "0")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Outcome {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Makes a client with `client create`.
    #[track_caller]
    pub fn client(&self, arguments: &[&str]) -> TestClient {
        let created = self.run(&[&["client", "create", "--json"], arguments].concat()).json();
        TestClient {
            id: created["client_id"].as_str().unwrap().to_owned(),
            secret: created["client_secret"].as_str().unwrap().to_owned(),
        }
    }

    /// Runs `serve` and waits until it is ready.
    pub fn serve(&self, arguments: &[&str]) -> Serving<'_> {
        let log = |name: &str| File::create(self.path(name)).unwrap();
        let child = self
            .command(&[&["serve"], arguments].concat())
            .stdout(log("stdout.log"))
            .stderr(log("stderr.log"))
            .spawn()
            .unwrap();
        let mut serving = Serving {
            program: self,
            child,
            address: ([127, 0, 0, 1], 0).into(),
        };
        serving.address = eventually(PATIENCE, || listening_on(&serving.stderr()))
            .unwrap_or_else(|| panic!("it does not listen: {}", serving.stderr()));
        eventually(PATIENCE, || {
            (Request::get("/readyz").send(serving.address).status == 200).then_some(())
        })
        .unwrap_or_else(|| panic!("it does not become ready: {}", serving.stderr()));
        serving
    }
}

pub fn listening_on(log: &str) -> Option<SocketAddr> {
    let (_, fields) = log.split_once("server listening")?;
    // The address ends with a space as text, and with a quote as JSON.
    let (_, rest) = fields.split_once("http://")?;
    rest.split_once([' ', '"'])?.0.parse().ok()
}

impl Outcome {
    /// That it did what it was asked, without a word of complaint; its standard output.
    #[track_caller]
    pub fn done(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        &self.stdout
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.done()).unwrap()
    }

    /// That it failed with this code and one line; that line.
    #[track_caller]
    pub fn refused(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert_eq!(self.stderr.matches('\n').count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("mintage: "), "{self:?}");
        self.stderr.trim_end()
    }
}

/// A server that runs as a process of its own. Dropped, it is killed.
pub struct Serving<'a> {
    program: &'a Program,
    child: Child,
    pub address: SocketAddr,
}

impl Serving<'_> {
    pub fn stdout(&self) -> String {
        read(&self.program.path("stdout.log"))
    }

    pub fn stderr(&self) -> String {
        read(&self.program.path("stderr.log"))
    }

    /// Waits until the log has `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        eventually(PATIENCE, || self.stderr().contains(text).then_some(()))
            .unwrap_or_else(|| panic!("{text:?} is not in the log: {}", self.stderr()));
    }

    /// Sends a signal: `TERM`, `INT` or `HUP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for it to end; its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let status = eventually(PATIENCE, || self.child.try_wait().unwrap());
        status.expect("it ends").code()
    }

    /// Asks it to stop, and waits until it has.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.exit_code(), Some(0), "{}", self.stderr());
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap()).unwrap()
}
