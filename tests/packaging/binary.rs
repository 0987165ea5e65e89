//! The binary in the packages.

use crate::dist::{binary, output, text};

#[test]
#[ignore = "scripts/test --packaging"]
fn the_binary_names_no_folder_of_the_machine_that_built_it() {
    let content = std::fs::read(binary()).unwrap();
    let contains = |text: &str| content.windows(text.len()).any(|window| window == text.as_bytes());
    // Where the paths are mapped to.
    assert!(contains("/cargo/registry/src/"));
    let home = std::env::var_os("HOME").expect("the folder of cargo is known");
    for folder in [env!("CARGO_MANIFEST_DIR"), &format!("{}/.", home.display())] {
        assert!(!contains(folder), "{folder}");
    }
}

#[test]
#[ignore = "scripts/test --packaging"]
fn the_binary_has_no_symbols_and_is_no_larger_than_the_target() {
    let binary = binary();
    let bytes = std::fs::metadata(&binary).unwrap().len();
    assert!(bytes <= 17_500_000, "{bytes}");
    let sections = output("readelf", &["--wide", "--sections", text(&binary)]);
    assert!(
        !sections.contains(".symtab") && !sections.contains(".debug_"),
        "{sections}"
    );
}
