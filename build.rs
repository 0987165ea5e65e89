//! Names for `mintage version --verbose` what only the build knows: the compiler, the version of libpq,
//! and whether OpenSSL was compiled.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=Cargo.lock");
    println!("cargo:rustc-env=BUILD_RUSTC={}", compiler().unwrap_or_default());
    println!("cargo:rustc-env=BUILD_LIBPQ={}", libpq().unwrap_or_default());
    // The folder of an OpenSSL that openssl-sys has compiled; the system's has another one.
    let root = env::var_os("DEP_OPENSSL_ROOT").unwrap_or_default();
    let is_compiled = Path::new(&root)
        .components()
        .any(|part| part.as_os_str() == "openssl-build");
    println!("cargo:rustc-env=BUILD_OPENSSL_IS_COMPILED={is_compiled}");
}

/// `rustc 1.95.0 (f2d3ce0bd 2026-03-21)`: the number.
fn compiler() -> Option<String> {
    let output = Command::new(env::var_os("RUSTC")?).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split(' ').nth(1)?.trim().to_owned())
}

/// The crate that compiles libpq has its version behind its own: `0.3.14+libpq-18.6`.
fn libpq() -> Option<String> {
    let lock = std::fs::read_to_string("Cargo.lock").ok()?;
    let (_, package) = lock.split_once("name = \"pq-src\"\n")?;
    let (_, version) = package.lines().next()?.split_once("+libpq-")?;
    Some(version.trim_end_matches('"').to_owned())
}
