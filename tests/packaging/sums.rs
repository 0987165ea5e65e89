//! `SHA256SUMS` and its signature.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::dist::{folder, text};

/// Whether `ssh-keygen` accepts the signature of this list, as docs/operations.md says it.
fn is_signed(sums: &Path) -> bool {
    let dist = folder();
    let status = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-I", "mintage", "-n", "file"])
        .args(["-f", text(&dist.join("allowed_signers"))])
        .args(["-s", text(&dist.join("SHA256SUMS.sig"))])
        .stdin(std::fs::File::open(sums).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("scripts/test --packaging installs ssh-keygen").success()
}

/// Whether the files in `folder` are those of the list.
fn agree(folder: &Path) -> bool {
    let output = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(folder)
        .output()
        .unwrap();
    output.status.success()
}

fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.insert(path);
        }
    }
}

/// The same file with one bit of one byte changed.
fn change_one_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q68_the_signature_fits_the_list_and_no_other() {
    let copy = tempfile::tempdir().unwrap();
    let changed = copy.path().join("SHA256SUMS");
    std::fs::copy(folder().join("SHA256SUMS"), &changed).unwrap();
    assert!(is_signed(&changed));
    change_one_byte(&changed);
    assert!(!is_signed(&changed));
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q68_the_list_fits_the_artifacts_and_no_others() {
    let copy = tempfile::tempdir().unwrap();
    let all = text(&folder()).to_owned() + "/.";
    crate::dist::output("cp", &["-r", &all, text(copy.path())]);
    assert!(agree(copy.path()));
    let deb = crate::dist::artifact(".deb");
    change_one_byte(&copy.path().join(deb.file_name().unwrap()));
    assert!(!agree(copy.path()));
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q68_every_artifact_is_listed() {
    let dist = folder();
    let mut found = BTreeSet::new();
    files(&dist, &mut found);
    let unlisted = ["SHA256SUMS", "SHA256SUMS.sig", "allowed_signers"];
    let artifacts: BTreeSet<&str> = found
        .iter()
        .map(|path| text(path.strip_prefix(&dist).unwrap()))
        .filter(|path| !unlisted.contains(path))
        .collect();
    let sums = std::fs::read_to_string(dist.join("SHA256SUMS")).unwrap();
    let listed: BTreeSet<&str> = sums.lines().map(|line| line.split_once("  ").unwrap().1).collect();
    assert_eq!(listed, artifacts);
    for kind in [".deb", ".rpm", ".tar.gz", ".cdx.json", "/mintage"] {
        assert!(listed.iter().any(|path| path.ends_with(kind)), "{kind}: {listed:?}");
    }
}
