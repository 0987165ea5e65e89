//! The `rust-version` of Cargo.toml is correct: no package of the lock file requires a later
//! version, and at least one requires exactly this version.

use std::process::Command;

use serde_json::Value;

/// `1.89` and `1.89.0` are the same version.
fn version(text: &str) -> [u32; 3] {
    let mut parts = text
        .split('.')
        .map(|part| part.parse().expect("versions of Rust are numbers"));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

/// Runs a program. Returns its standard output.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_rust_version_equals_what_the_lock_file_requires() {
    let cargo = env!("CARGO");
    let versions = run(cargo, &["-vV"]);
    let host = versions.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // Packages for other platforms may not be downloaded.
    let arguments = [
        "metadata",
        "--offline",
        "--locked",
        "--format-version=1",
        "--filter-platform",
        host,
    ];
    let metadata: Value = serde_json::from_str(&run(cargo, &arguments)).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let of_package = |package: &Value| {
        let required = version(package["rust_version"].as_str()?);
        Some((required, package["id"].as_str().unwrap().to_owned()))
    };
    // Packages of this workspace have no source.
    let (ours, foreign): (Vec<&Value>, _) = packages.iter().partition(|package| package["source"].is_null());
    let required: Option<([u32; 3], String)> = foreign.into_iter().filter_map(of_package).max();
    let (required, package) = required.expect("some package states its rust-version");
    for package_of_ours in ours {
        let Some((stated, id)) = of_package(package_of_ours) else {
            continue;
        };
        assert_eq!(
            stated, required,
            "the rust-version of {id} must be the one of {package}"
        );
    }
}
