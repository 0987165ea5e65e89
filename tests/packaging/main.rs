//! What `scripts/package`, `scripts/package-image` and `scripts/package-chart` build, installed and read
//! by the programs that it is for: packages, the container image, the Helm chart. There is neither a
//! Docker engine nor a cluster.
//!
//! `scripts/test --packaging` builds it, installs these programs and runs these tests; without it they
//! are ignored, because they need root and some minutes.

mod binary;
mod chart;
mod compose;
mod deb;
mod dist;
mod image;
mod manifest;
mod pod;
mod podman;
mod python;
mod rpm;
mod sbom;
mod sums;
mod unit;

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

/// The binary that the image contains: that of the packages, unless `MINTAGE_BINARY` names another, to
/// work on these tests without an optimised build.
fn binary() -> PathBuf {
    let named = std::env::var_os("MINTAGE_BINARY").map(PathBuf::from);
    named.unwrap_or_else(dist::binary)
}
