//! The man pages in `ops/man` are those of the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/man");
/// If set, the pages are written instead of compared.
const UPDATE: &str = "UPDATE_MAN_PAGES";

/// The pages of a command and of those below it.
fn generate(command: &clap::Command, pages: &mut BTreeMap<String, String>) {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        generate(below, pages);
    }
    let page = clap_mangen::Man::new(command.clone())
        .source("Mintage")
        .manual("Mintage");
    let mut text = Vec::new();
    page.render(&mut text).unwrap();
    pages.insert(page.get_filename(), String::from_utf8(text).unwrap());
}

/// The pages in a folder, by the name of their file.
fn pages(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let page = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        (name.to_owned(), std::fs::read_to_string(path).unwrap())
    };
    entries.map(|entry| page(&entry.unwrap().path())).collect()
}

#[test]
fn q67_the_man_pages_are_those_of_the_command_line() {
    let mut command = mintage::cli::command().disable_help_subcommand(true);
    command.build();
    let mut generated = BTreeMap::new();
    generate(&command, &mut generated);
    assert!(
        generated.contains_key("mintage-client-create.1"),
        "{:?}",
        generated.keys()
    );
    if std::env::var_os(UPDATE).is_some() {
        let _ = std::fs::remove_dir_all(FOLDER);
        std::fs::create_dir(FOLDER).unwrap();
        for (name, page) in &generated {
            std::fs::write(Path::new(FOLDER).join(name), page).unwrap();
        }
        return;
    }
    let committed = pages(Path::new(FOLDER));
    let names = generated.keys().chain(committed.keys());
    let different: BTreeSet<&String> = names
        .filter(|name| generated.get(*name) != committed.get(*name))
        .collect();
    assert!(
        different.is_empty(),
        "{different:?} differ: run `{UPDATE}=1 cargo test --test repository q67` and commit ops/man"
    );
}
