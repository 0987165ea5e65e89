//! Counts instructions with valgrind's callgrind.
//!
//! A server is counted thread by thread and only while a window is open: its start, the writer of records, the change
//! feed and whatever else goes on by the clock is on other threads or outside. What valgrind shows of a CPU is the same
//! on every x86-64 machine with AVX2, so the code that libraries choose by what the CPU can do is the same, too.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server under callgrind; killed when dropped.
pub struct Counted {
    process: Child,
    folder: tempfile::TempDir,
    pub address: String,
}

impl Counted {
    /// Starts `command` under callgrind and waits until its log holds `ready_sign`.
    pub fn start(command: &Command, ready_sign: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut valgrind = valgrind(folder.path());
        valgrind.arg("--separate-threads=yes").arg(command.get_program());
        valgrind.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => valgrind.env(name, value),
                None => valgrind.env_remove(name),
            };
        }
        let process = spawn(&mut valgrind, folder.path())?;
        let mut counted = Self {
            process,
            folder,
            address: String::new(),
        };
        let log = wait_for(&mut counted.process, counted.folder.path(), ready_sign)?;
        counted.address = address_in(&log).ok_or("the server does not say where it listens")?;
        Ok(counted)
    }

    /// Instructions of the busiest thread for each request: what 2n requests take more than n, divided by n.
    pub fn each(&self, request: &[u8], n: u64) -> Result<f64, String> {
        let mut connection = Connection::open(&self.address);
        // Whatever is made at the first time: keys parsed, buffers grown, caches filled.
        connection.drive(request, 300);
        let once = self.window(|| connection.drive(request, n))?;
        let twice = self.window(|| connection.drive(request, 2 * n))?;
        Ok((twice - once) / n as f64)
    }

    /// Instructions of the busiest thread while `work` is done.
    fn window(&self, work: impl FnOnce()) -> Result<f64, String> {
        self.control("--zero")?;
        work();
        self.control("--dump")?;
        let mut most = 0f64;
        for path in self.dumps() {
            most = most.max(total_of(&path));
            std::fs::remove_file(path).expect("the dump is ours");
        }
        if most > 0.0 {
            return Ok(most);
        }
        Err("callgrind_control brought no counts".into())
    }

    fn dumps(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder is ours");
        let paths = entries.flatten().map(|entry| entry.path());
        // `counts.NUMBER-THREAD`
        paths
            .filter(|path| path.extension().is_some_and(|end| end.to_string_lossy().contains('-')))
            .collect()
    }

    fn control(&self, what: &str) -> Result<(), String> {
        let control = Command::new("callgrind_control")
            .args([what, &self.process.id().to_string()])
            .output();
        match control {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!(
                "callgrind_control {what}: {}",
                String::from_utf8_lossy(&output.stderr)
            )),
            Err(error) => Err(format!("callgrind_control cannot be run: {error}")),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Instructions inside of one function of this program, which is run anew with `argument`.
pub fn inside(function: &str, argument: &str) -> Result<f64, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = valgrind(folder.path());
    let program = std::env::current_exe().expect("this program");
    command
        .arg(format!("--toggle-collect=*{function}*"))
        .arg(program)
        .arg(argument);
    let mut process = spawn(&mut command, folder.path())?;
    let ended = process.wait().map_err(|error| error.to_string())?;
    if !ended.success() {
        return Err(format!("{argument} failed: {}", log_in(folder.path())));
    }
    Ok(total_of(&folder.path().join("counts")))
}

/// Runs a server natively until its log holds `ready_sign`: what it makes once is made then.
pub fn run_until(command: &mut Command, ready_sign: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut process = spawn(command, folder.path())?;
    let ready = wait_for(&mut process, folder.path(), ready_sign).map(drop);
    let _ = process.kill();
    let _ = process.wait();
    ready
}

fn valgrind(folder: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", folder.join("counts").display()));
    command
}

fn spawn(command: &mut Command, folder: &Path) -> Result<Child, String> {
    let log = std::fs::File::create(folder.join("log")).expect("the folder is ours");
    let spawned = command.stdout(Stdio::null()).stderr(log).stdin(Stdio::null()).spawn();
    spawned.map_err(|error| format!("{} cannot be run: {error}", command.get_program().display()))
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn wait_for(process: &mut Child, folder: &Path, sign: &str) -> Result<String, String> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let log = log_in(folder);
        if log.contains(sign) {
            return Ok(log);
        }
        if process.try_wait().is_ok_and(|ended| ended.is_some()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(format!("the server did not become ready: {}", log_in(folder)))
}

fn log_in(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

fn address_in(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("server listening url=http://")?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// `totals: NUMBER` of a dump.
fn total_of(dump: &Path) -> f64 {
    let text = String::from_utf8_lossy(&std::fs::read(dump).unwrap_or_default()).into_owned();
    let total = text.lines().rev().find_map(|line| {
        let (name, number) = line.split_once(": ")?;
        ["totals", "summary"]
            .contains(&name)
            .then(|| number.trim().parse().ok())?
    });
    total.unwrap_or(0.0)
}

/// One connection in a closed loop: each request is one turn of the server's event loop, in every run.
pub struct Connection(TcpStream);

impl Connection {
    pub fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        Self(stream)
    }

    fn drive(&mut self, request: &[u8], times: u64) {
        for _ in 0..times {
            self.ask(request);
        }
    }

    /// The body of the answer, which must be 200.
    pub fn ask(&mut self, request: &[u8]) -> String {
        self.0.write_all(request).expect("the request is sent");
        let mut answer = String::new();
        let mut piece = [0; 4096];
        loop {
            let read = self.0.read(&mut piece).expect("the answer is read");
            assert!(read > 0, "the server closed the connection");
            answer.push_str(std::str::from_utf8(&piece[..read]).expect("answers are text"));
            let Some((head, body)) = answer.split_once("\r\n\r\n") else {
                continue;
            };
            assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
            let length = head.to_ascii_lowercase();
            let (_, length) = length.split_once("content-length: ").expect("answers have a length");
            let length: usize = length
                .lines()
                .next()
                .and_then(|digits| digits.parse().ok())
                .expect("a number");
            if body.len() == length {
                return body.to_owned();
            }
        }
    }
}
