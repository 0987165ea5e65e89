//! Counts instructions with valgrind's callgrind.
//!
//! Instructions are counted per thread and only while a window is open. Startup, the BatchWriter,
//! the ChangeFeed and other periodic work run on other threads or outside the window. Valgrind
//! reports the same CPU on every x86-64 machine with AVX2, so libraries select the same code there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::http::Connection;
use testkit::program::listening_on;
use testkit::{Program, Server, eventually};

/// How long a server may take to become ready under callgrind.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// A server under callgrind, killed on drop.
pub struct Counted {
    pub server: Server,
    folder: tempfile::TempDir,
}

impl Counted {
    /// Starts `serve` under callgrind and waits until its log contains `ready_sign`.
    pub fn start(program: &Program, arguments: &[&str], ready_sign: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let valgrind = valgrind(folder.path());
        let under = [&valgrind[..], &["--separate-threads=yes".to_owned()]].concat();
        let under: Vec<&str> = under.iter().map(String::as_str).collect();
        let mut server = program.spawn(&under, arguments);
        server.address = eventually("the server is ready", READY_TIMEOUT, || {
            assert!(!server.has_ended(), "the server ended");
            let log = server.log();
            listening_on(&log).filter(|_| log.contains(ready_sign))
        });
        Self { server, folder }
    }

    /// Instructions of the busiest thread per request: the difference between 2n and n requests,
    /// divided by n.
    pub fn each(&self, request: &[u8], n: u64) -> Result<f64, String> {
        let mut connection = Connection::open(self.server.address);
        // The first requests parse keys, grow buffers and fill caches.
        drive(&mut connection, request, 300);
        let once = self.window(|| drive(&mut connection, request, n))?;
        let twice = self.window(|| drive(&mut connection, request, 2 * n))?;
        Ok((twice - once) / n as f64)
    }

    /// Instructions of the busiest thread during `work`.
    fn window(&self, work: impl FnOnce()) -> Result<f64, String> {
        self.control("--zero")?;
        work();
        self.control("--dump")?;
        let mut busiest = 0f64;
        for path in self.dumps() {
            busiest = busiest.max(total_of(&path));
            std::fs::remove_file(path).expect("the dump is ours");
        }
        if busiest > 0.0 {
            return Ok(busiest);
        }
        Err("callgrind_control produced no counts".into())
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
            .args([what, &self.server.pid().to_string()])
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

/// Instructions inside one function of this program, which is started again with `argument`.
pub fn inside(function: &str, argument: &str) -> Result<f64, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [valgrind, flags @ ..] = valgrind(folder.path());
    let ended = Command::new(&valgrind)
        .args(flags)
        .arg(format!("--toggle-collect=*{function}*"))
        .arg(std::env::current_exe().expect("this program"))
        .arg(argument)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{valgrind} cannot be run: {error}"))?;
    if !ended.status.success() {
        return Err(format!("{argument} failed: {}", String::from_utf8_lossy(&ended.stderr)));
    }
    Ok(total_of(&folder.path().join("counts")))
}

/// The program and its flags; it writes into `folder`.
fn valgrind(folder: &Path) -> [String; 3] {
    let counts = format!("--callgrind-out-file={}", folder.join("counts").display());
    ["valgrind".to_owned(), "--tool=callgrind".to_owned(), counts]
}

/// The value of `totals: NUMBER` in a dump.
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

/// Uses one connection in a closed loop: each request is one turn of the server's event loop in
/// every run.
fn drive(connection: &mut Connection, request: &[u8], times: u64) {
    for _ in 0..times {
        ask(connection, request);
    }
}

/// The body of the response, which must have status 200.
pub fn ask(connection: &mut Connection, request: &[u8]) -> String {
    connection.write(request);
    let response = connection.read_response(false).expect("the server responds");
    assert_eq!(response.status, 200, "{}", response.text());
    response.text()
}
