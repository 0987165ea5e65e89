//! docs/security.md guarantees nothing without a test: each one that a table names exists.

use std::fs;
use std::path::{Path, PathBuf};

/// The files of Rust below a folder, with their texts.
pub fn files(folder: &Path, into: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push((path.clone(), fs::read_to_string(path).unwrap()));
        }
    }
}

#[test]
fn every_guarantee_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut sources = Vec::new();
    for folder in ["tests", "src", "fuzz"] {
        files(&root.join(folder), &mut sources);
    }
    let exists = |name: &str| match name.contains('/') {
        true => root.join(name).exists(),
        false => sources.iter().any(|(path, text)| {
            text.contains(&format!("fn {name}(")) || path.file_stem().is_some_and(|stem| stem == name)
        }),
    };
    let (mut guarantees, mut in_table) = (0, false);
    for line in document.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        in_table = line.starts_with('|') && (in_table || cells.last() == Some(&"test"));
        if !in_table || cells.last() == Some(&"test") || line.starts_with("| ---") {
            continue;
        }
        let names: Vec<&str> = cells.last().unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test is named: {line}");
        for name in names {
            assert!(exists(name), "{name} does not exist: {line}");
        }
        guarantees += 1;
    }
    assert!(guarantees > 20, "only {guarantees} guarantees were found");
}
