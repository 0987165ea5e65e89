//! What users install: the container image, the Helm chart and the manifest, without a Docker engine
//! and without a cluster.
//!
//! `scripts/test --packaging` installs the programs, sets `MINTAGE_PACKAGING` to the folder of the
//! others, and runs the tests of this binary, which needs root. They test a compiled binary:
//! `MINTAGE_BINARY`, or else `target/dist/mintage`.

mod chart;
mod compose;
mod image;
mod manifest;
mod pod;
mod podman;
mod python;

use std::path::{Path, PathBuf};

/// A file of this repository.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A file of the folder in which `scripts/test --packaging` installs what is no Debian package.
fn installed(name: &str) -> PathBuf {
    let folder = std::env::var_os("MINTAGE_PACKAGING").expect("scripts/test --packaging sets MINTAGE_PACKAGING");
    Path::new(&folder).join(name)
}

/// The compiled binary.
fn binary() -> PathBuf {
    let named = std::env::var_os("MINTAGE_BINARY").map(PathBuf::from);
    let binary = named.unwrap_or_else(|| source("target/dist/mintage"));
    assert!(
        binary.exists(),
        "{} does not exist: run `cargo build --locked --profile dist`, or name a binary in MINTAGE_BINARY",
        binary.display()
    );
    binary
}
