//! The limit of open files of this process, for tests with thousands of connections.

use std::process::Command;
use std::sync::Mutex;

use mintage::mutex::lock;

/// Raises the limit for this process and the servers that it starts: a connection has an end in
/// each.
///
/// The limit of a running process cannot be raised without unsafe code; `prlimit` (util-linux) does
/// it from outside.
pub fn raise(files: usize) {
    // One test after the other: otherwise the lower of two limits could be set last.
    static LIMIT: Mutex<()> = Mutex::new(());
    let _guard = lock(&LIMIT);
    if soft_limit("self") >= files {
        return;
    }
    let status = Command::new("prlimit")
        .args([&format!("--pid={}", std::process::id()), &format!("--nofile={files}:")])
        .status()
        .unwrap();
    assert!(status.success(), "{files} open files are not allowed: see `ulimit -Hn`");
}

/// The soft limit of a process, by its id or `self`.
pub fn soft_limit(process: &str) -> usize {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let mut lines = limits.lines();
    let limit = lines.find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let soft = limit.split_whitespace().next().unwrap();
    if soft == "unlimited" {
        return usize::MAX;
    }
    soft.parse().unwrap()
}
