//! [`Tampering`]: system calls of a running server that fail, or kill it, because strace makes them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::{Server, eventually};

use super::site::Site;

/// strace, tampering with a server until it is told to let go, or dropped.
pub struct Tampering {
    strace: Child,
    trace: PathBuf,
}

impl Tampering {
    /// Begins it, as strace's `inject=…` says: which calls, and what becomes of them.
    ///
    /// strace counts (`when=N`) for each thread by itself, and begins to count here. Without `--seccomp-bpf`, which would
    /// drop injected signals.
    pub fn begin(site: &Site, server: &Server, inject: &str) -> Self {
        Self::begin_with(site, server, inject, &[])
    }

    /// As [`Tampering::begin`], but only with calls that are about one file.
    pub fn begin_on(site: &Site, server: &Server, inject: &str, file: &Path) -> Self {
        Self::begin_with(site, server, inject, &["-P", file.to_str().unwrap()])
    }

    fn begin_with(site: &Site, server: &Server, inject: &str, more: &[&str]) -> Self {
        let trace = site.path("trace");
        let said = site.path("strace");
        let calls = inject.split(':').next().unwrap();
        let strace = Command::new("strace")
            .args(["-f", "-p", &server.pid().to_string(), "-o"])
            .arg(&trace)
            .args(["-e", &format!("trace={calls}"), "-e", &format!("inject={inject}")])
            .args(more)
            .stdin(Stdio::null())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .expect("strace is there: apt-get install strace");
        let mut tampering = Self { strace, trace };
        eventually("strace holds the server", Duration::from_secs(10), || {
            let said = std::fs::read_to_string(&said).unwrap();
            // So it does while nothing else is said but that.
            let ended = tampering.strace.try_wait().unwrap().is_some();
            assert!(!ended || said.contains("attached"), "strace ended: {said}");
            (said.contains("attached") || ended).then_some(())
        });
        tampering
    }

    /// What it traced so far, one system call a line.
    pub fn trace(&self) -> String {
        std::fs::read_to_string(&self.trace).unwrap()
    }

    /// Lets the server go on as if nothing had been.
    pub fn end(mut self) {
        let sent = Command::new("kill").arg(self.strace.id().to_string()).status();
        assert!(sent.unwrap().success());
        self.strace.wait().unwrap();
    }
}

impl Drop for Tampering {
    fn drop(&mut self) {
        // It may have ended, with its server or before.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}
