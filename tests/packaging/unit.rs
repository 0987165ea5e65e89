//! The systemd unit in the packages.

use tempfile::TempDir;

use crate::dist::{artifact, output, text};

fn unpacked() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    output("dpkg-deb", &["--extract", text(&artifact(".deb")), text(folder.path())]);
    folder
}

const UNIT: &str = "usr/lib/systemd/system/mintage.service";

#[test]
#[ignore = "scripts/test --packaging"]
fn the_unit_starts_the_binary_of_the_package_with_its_configuration() {
    let root = unpacked();
    let unit = std::fs::read_to_string(root.path().join(UNIT)).unwrap();
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(
        words,
        ["/usr/bin/mintage", "--config", "/etc/mintage/mintage.toml", "serve"]
    );
    for file in [words[0], words[2]] {
        assert!(root.path().join(file.trim_start_matches('/')).exists(), "{file}");
    }
}

#[test]
#[ignore = "scripts/test --packaging"]
fn systemd_finds_no_fault_in_the_unit_and_little_that_it_exposes() {
    let root = unpacked();
    let installed = root.path().join(UNIT);
    let here = root.path().join("mintage.service");
    let binary = format!("ExecStart={}", text(&root.path().join("usr/bin/mintage")));
    let unit = std::fs::read_to_string(&installed).unwrap();
    std::fs::write(&here, unit.replace("ExecStart=/usr/bin/mintage", &binary)).unwrap();
    let found = output("systemd-analyze", &["verify", "--man=no", text(&here)]);
    assert_eq!(found, "");
    // In tenths: of 10, which is a unit without any protection.
    output(
        "systemd-analyze",
        &["security", "--offline=true", "--threshold=15", text(&here)],
    );
}
