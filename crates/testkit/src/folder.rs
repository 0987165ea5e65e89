//! Temporary folders, on the disk of the build and not in `/tmp`, which may be memory.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Writes a file that only its owner can read, as Mintage does.
pub fn write_private(path: &Path, content: &[u8]) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).unwrap().write_all(content).unwrap();
}

/// A new folder that is removed when it is dropped.
pub fn temporary() -> TempDir {
    let parent = parent();
    std::fs::create_dir_all(&parent).expect("the target folder can be written");
    TempDir::new_in(parent).expect("the target folder can be written")
}

/// `target/tmp`, like `CARGO_TARGET_TMPDIR`, which Cargo sets only while it compiles tests and
/// benchmarks.
fn parent() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    // Cargo marks its target folder with this file.
    let is_target = |folder: &&Path| folder.join("CACHEDIR.TAG").exists();
    match program.ancestors().find(is_target) {
        Some(target) => target.join("tmp"),
        None => std::env::temp_dir(),
    }
}
