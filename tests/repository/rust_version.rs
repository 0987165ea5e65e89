//! The `rust-version` of Cargo.toml is true: no package of the lock file needs a later one, and one needs exactly this.

use std::process::Command;

use serde_json::Value;

/// `1.89` and `1.89.0` are the same version.
fn version(text: &str) -> [u32; 3] {
    let mut parts = text
        .split('.')
        .map(|part| part.parse().expect("versions of Rust are numbers"));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

/// What cargo prints, where all packages are downloaded already.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_rust_version_is_what_the_lock_file_needs() {
    let cargo = env!("CARGO");
    let versions = run(cargo, &["-vV"]);
    let host = versions.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // Packages of other platforms are not there.
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
        let needed = version(package["rust_version"].as_str()?);
        Some((needed, package["id"].as_str().unwrap().to_owned()))
    };
    // Ours have no source.
    let (ours, foreign): (Vec<&Value>, _) = packages.iter().partition(|package| package["source"].is_null());
    let needed: Option<([u32; 3], String)> = foreign.into_iter().filter_map(of_package).max();
    let (needed, package) = needed.expect("some package says what it needs");
    for package_of_ours in ours {
        let Some((said, id)) = of_package(package_of_ours) else {
            continue;
        };
        assert_eq!(said, needed, "{id} should say what {package} needs");
    }
}
