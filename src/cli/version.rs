//! `mintage version`: the version of Mintage and, with `--verbose`, of the compiler and of the C
//! libraries in the program.

use std::sync::LazyLock;

use super::{Failure, print};
use crate::db;

/// The version, with the commit if the build names it in the variable `BUILD_COMMIT`.
pub static VERSION: LazyLock<String> = LazyLock::new(|| with_commit(option_env!("BUILD_COMMIT")));

fn with_commit(commit: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match commit.filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{version} ({commit})"),
        None => version.to_owned(),
    }
}

#[derive(clap::Args)]
pub struct Arguments {
    /// Also print the versions of the compiler and of the C libraries
    #[arg(long)]
    verbose: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let own = format!("mintage {}", *VERSION);
    print(&match arguments.verbose {
        true => format!("{own}\n{}", libraries()),
        false => own,
    });
    Ok(())
}

/// OpenSSL and SQLite tell their versions themselves. Those of the others are known to the build; they
/// are compiled in, so there is no other one.
fn libraries() -> String {
    let openssl = openssl::version::version().trim_start_matches("OpenSSL ");
    let origin = match env!("BUILD_OPENSSL_IS_COMPILED") {
        "true" => "compiled in",
        _ => "of the system",
    };
    let aws_lc = std::str::from_utf8(aws_lc_sys::AWSLC_VERSION_NUMBER_STRING).unwrap_or_default();
    let sqlite = db::sqlite_version();
    [
        format!("rustc   {}", env!("BUILD_RUSTC")),
        format!("OpenSSL {openssl}, {origin}"),
        format!("AWS-LC  {}", aws_lc.trim_end_matches('\0')),
        format!("SQLite  {}", sqlite.as_deref().unwrap_or("unknown")),
        format!("libpq   {}", env!("BUILD_LIBPQ")),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_has_the_commit_if_the_build_names_one() {
        let of_package = env!("CARGO_PKG_VERSION");
        assert_eq!((&*with_commit(None), &*with_commit(Some(""))), (of_package, of_package));
        assert_eq!(with_commit(Some("0123abc")), format!("{of_package} (0123abc)"));
        // What names it.
        for text in [include_str!("../../justfile"), include_str!("../../ops/Dockerfile")] {
            assert!(text.contains("BUILD_COMMIT"), "{text}");
        }
    }
}
