//! What `scripts/package` builds, installed and read by the programs that it is for.
//!
//! `scripts/test --packaging` builds it, installs these programs and runs these tests; without it they
//! are ignored, because they need root and some minutes.

mod binary;
mod deb;
mod dist;
mod rpm;
mod sbom;
mod sums;
mod unit;
