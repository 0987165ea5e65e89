//! `mintage.example.toml` documents every configuration key with its default.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mintage::config::{Config, Sources};
use toml::{Table, Value};

const EXAMPLE: &str = include_str!("../../mintage.example.toml");

/// The paths of all keys of a table, written like `database.pool.max_size`.
fn keys_of(table: &Table, path: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (name, value) in table {
        let path = format!("{path}{name}");
        match value {
            Value::Table(section) => keys.extend(keys_of(section, &format!("{path}."))),
            _ => {
                keys.insert(path);
            }
        }
    }
    keys
}

#[test]
fn the_example_loads_and_equals_the_defaults() {
    let sources = Sources {
        file: Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("mintage.example.toml")),
        ..Sources::default()
    };
    let example = sources.load().unwrap();
    assert_eq!(example.differences(&Config::default()), Vec::<String>::new());
}

#[test]
fn the_example_names_every_key() {
    let all = Table::try_from(Config::default()).unwrap();
    let named: Table = EXAMPLE.parse().unwrap();
    assert_eq!(keys_of(&named, ""), keys_of(&all, ""));
}

#[test]
fn the_example_explains_every_key() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    for pair in lines.windows(2) {
        let is_key = !pair[1].starts_with('#') && pair[1].contains(" = ");
        assert!(!is_key || pair[0].starts_with("# "), "no comment above: {}", pair[1]);
    }
}
