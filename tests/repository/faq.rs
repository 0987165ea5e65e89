//! docs/faq.md quotes the errors as they are in the code.

use std::fs;
use std::path::Path;

use crate::security::files;

#[test]
fn every_quoted_error_is_in_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/faq.md")).unwrap();
    let texts = document.split('"').skip(1).step_by(2);
    let quoted: Vec<&str> = texts.filter(|text| !text.contains('`') && text.contains(' ')).collect();
    assert!(quoted.len() >= 5, "{quoted:?}");
    let mut sources = Vec::new();
    files(&root.join("src"), &mut sources);
    for text in quoted {
        let is_there = sources.iter().any(|(_, source)| source.contains(text));
        assert!(
            is_there,
            "docs/faq.md quotes an error that the code does not have: {text}"
        );
    }
}
