//! [`Tampering`]: strace makes system calls of a running server fail, or kills the server at one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::{Server, eventually};

use super::site::Site;

/// A running strace that injects faults until it is ended or dropped.
pub struct Tampering {
    strace: Child,
    trace: PathBuf,
}

impl Tampering {
    /// Begins to inject faults, in the syntax of strace's `inject=…`.
    ///
    /// strace counts calls (`when=N`) per thread, from now on. Without `--seccomp-bpf`, which would
    /// drop injected signals.
    pub fn begin(site: &Site, server: &Server, inject: &str) -> Self {
        Self::begin_with(site, server, inject, &[])
    }

    /// As [`Tampering::begin`], but only for calls on one file.
    pub fn begin_on(site: &Site, server: &Server, inject: &str, file: &Path) -> Self {
        Self::begin_with(site, server, inject, &["-P", file.to_str().unwrap()])
    }

    fn begin_with(site: &Site, server: &Server, inject: &str, more: &[&str]) -> Self {
        let trace = site.path("trace");
        let messages = site.path("strace");
        let calls = inject.split(':').next().unwrap();
        let strace = Command::new("strace")
            .args(["-f", "-p", &server.pid().to_string(), "-o"])
            .arg(&trace)
            .args(["-e", &format!("trace={calls}"), "-e", &format!("inject={inject}")])
            .args(more)
            .stdin(Stdio::null())
            .stderr(File::create(&messages).unwrap())
            .spawn()
            .expect("strace is installed: apt-get install strace");
        let mut tampering = Self { strace, trace };
        eventually("strace is attached to the server", Duration::from_secs(10), || {
            let text = std::fs::read_to_string(&messages).unwrap();
            // strace stays attached as long as it prints nothing else.
            let ended = tampering.strace.try_wait().unwrap().is_some();
            assert!(!ended || text.contains("attached"), "strace ended: {text}");
            (text.contains("attached") || ended).then_some(())
        });
        tampering
    }

    /// The trace so far, one system call per line.
    pub fn trace(&self) -> String {
        std::fs::read_to_string(&self.trace).unwrap()
    }

    /// Waits until strace has ended, as it does with its server: then the trace is complete.
    pub fn wait(&mut self) {
        eventually("strace ends with its server", Duration::from_secs(10), || {
            self.strace.try_wait().unwrap()
        });
    }

    /// Detaches, so that the server continues normally.
    pub fn end(mut self) {
        let sent = Command::new("kill").arg(self.strace.id().to_string()).status();
        assert!(sent.unwrap().success());
        self.strace.wait().unwrap();
    }
}

impl Drop for Tampering {
    fn drop(&mut self) {
        // strace may have ended, with its server or before.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}
