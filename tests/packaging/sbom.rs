//! The software bill of materials.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::dist::{artifact, binary, cyclonedx_python, output, text};

fn bill() -> Value {
    serde_json::from_slice(&std::fs::read(artifact(".cdx.json")).unwrap()).unwrap()
}

fn components(bill: &Value) -> &Vec<Value> {
    bill["components"].as_array().unwrap()
}

/// The version of a library in C, from its component; its CPE and purl name the same.
fn version_of(bill: &Value, library: &str) -> String {
    // A crate may have the name of its library.
    let of_library = |component: &&Value| component["name"] == library && component["cpe"].is_string();
    let component = components(bill).iter().find(of_library);
    let component = component.unwrap_or_else(|| panic!("{library} is not listed"));
    let version = component["version"].as_str().unwrap().to_owned();
    let cpe: Vec<&str> = component["cpe"].as_str().unwrap().split(':').collect();
    assert_eq!((cpe.len(), cpe[5]), (13, &*version), "{component}");
    assert!(
        component["purl"].as_str().unwrap().contains(&format!("@{version}")),
        "{component}"
    );
    version
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q64_the_bill_lists_exactly_the_crates_of_cargo_tree() {
    let tree = output(
        env!("CARGO"),
        &[
            "tree",
            "--locked",
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
            "--package",
            "mintage",
            "--edges",
            "normal",
            "--prefix",
            "none",
        ],
    );
    let crates = tree.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some(format!("pkg:cargo/{name}@{}", version.replace('+', "%2B")))
    });
    let expected: BTreeSet<String> = crates.filter(|purl| !purl.starts_with("pkg:cargo/mintage@")).collect();
    let bill = bill();
    let purls = components(&bill)
        .iter()
        .map(|component| component["purl"].as_str().unwrap());
    let listed: BTreeSet<String> = purls
        .filter(|purl| purl.starts_with("pkg:cargo/"))
        .map(str::to_owned)
        .collect();
    assert!(expected.len() > 100, "{expected:?}");
    assert_eq!(listed, expected);
    for component in components(&bill) {
        let is_crate = component["purl"].as_str().unwrap().starts_with("pkg:cargo/");
        assert_eq!(component["hashes"].is_array(), is_crate, "{component}");
        assert!(component["licenses"].is_array(), "{component}");
    }
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q64_the_bill_lists_the_c_libraries_with_their_versions() {
    let (bill, binary) = (bill(), std::fs::read(binary()).unwrap());
    let contains = |text: &str| binary.windows(text.len()).any(|window| window == text.as_bytes());
    let sqlite = version_of(&bill, "sqlite");
    assert!(contains(&sqlite), "SQLite {sqlite}");
    // AWS-LC and mimalloc state theirs in functions that nothing calls, and libpq in a number.
    for (library, crate_of_it) in [
        ("aws-lc", "aws-lc-sys"),
        ("libpq", "pq-sys"),
        ("mimalloc", "libmimalloc-sys"),
    ] {
        let version = version_of(&bill, library);
        let dependencies = bill["dependencies"].as_array().unwrap();
        let of_crate = |entry: &&Value| {
            entry["ref"]
                .as_str()
                .unwrap()
                .starts_with(&format!("pkg:cargo/{crate_of_it}@"))
        };
        let needs = &dependencies.iter().find(of_crate).unwrap()["dependsOn"];
        let purl = format!("pkg:generic/{library}@{version}");
        assert!(needs.as_array().unwrap().contains(&Value::from(purl)), "{needs}");
    }
    let openssl = version_of(&bill, "openssl");
    let installed = output("openssl", &["version"]);
    assert!(
        installed.starts_with(&format!("OpenSSL {openssl} ")),
        "{openssl}: {installed}"
    );
}

#[test]
#[ignore = "scripts/test --packaging"]
fn the_bill_fits_the_schema_of_cyclonedx() {
    let program = "import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(str(error) if error else 0)";
    output(
        text(&cyclonedx_python()),
        &["-c", program, text(&artifact(".cdx.json"))],
    );
}
