//! The map of `src/lib.rs`, checked: arrows between rooms run down only, and each room keeps to its own crates.
//!
//! It reads the sources as text. Comments and strings are taken out first; what is left is searched for paths.

use std::path::{Path, PathBuf};

/// A room, the rooms that it may use, and the crates that it must not name.
struct Room {
    name: &'static str,
    may_use: &'static [&'static str],
    must_not_name: &'static [&'static str],
}

/// The crates that know the database.
const DATABASE: [&str; 4] = ["diesel", "diesel_migrations", "r2d2", "libsqlite3_sys"];

/// The crate that knows Redis, as code names it; as a word alone it is a section of the configuration.
const REDIS: &str = "redis::";

/// What a room without I/O does without, besides the database: no actors, no runtime, no clock.
const OUTSIDE: &[&str] = &[
    "actix",
    "actix_web",
    "tokio",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
];

/// From the top of the house to its ground floor.
const ROOMS: [Room; 18] = [
    room("main", &["cli"], &[]),
    room(
        "cli",
        &[
            "app", "startup", "logging", "shutdown", "systemd", "db", "keys", "config", "clock", "metrics", "oauth",
        ],
        &[],
    ),
    room(
        "app",
        &[
            "startup", "http", "actors", "siblings", "db", "keys", "shutdown", "systemd", "listener", "breaker",
            "config", "clock", "metrics", "oauth",
        ],
        &[],
    ),
    room(
        "startup",
        &["actors", "siblings", "db", "keys", "config", "clock", "oauth"],
        &["actix_web"],
    ),
    room(
        "http",
        &[
            "actors", "siblings", "keys", "breaker", "config", "clock", "metrics", "oauth",
        ],
        &[],
    ),
    room(
        "actors",
        &[
            "siblings", "db", "keys", "breaker", "config", "clock", "metrics", "oauth",
        ],
        &["actix_web"],
    ),
    room("siblings", &["breaker", "oauth"], &["actix", "actix_web"]),
    room(
        "db",
        &["keys", "breaker", "config", "clock", "metrics", "oauth"],
        &["actix", "actix_web"],
    ),
    room(
        "logging",
        &["config", "clock", "oauth"],
        &["actix", "actix_web", "tokio"],
    ),
    room("shutdown", &[], &["actix"]),
    room("systemd", &[], &["actix", "actix_web", "tokio"]),
    room("listener", &[], &["actix", "actix_web", "tokio"]),
    room("keys", &["oauth"], OUTSIDE),
    room("config", &["oauth"], &["actix", "actix_web", "tokio"]),
    // The one that asks the machine for the time.
    room("clock", &["oauth"], &["actix", "actix_web", "tokio"]),
    room("metrics", &["oauth"], OUTSIDE),
    room("breaker", &[], OUTSIDE),
    room("oauth", &[], OUTSIDE),
];

/// The parts of `http` that ask the database themselves, or hand it on.
const HTTP_WITH_DB: [&str; 3] = ["http/admin/", "http/health.rs", "http/state.rs"];

const fn room(name: &'static str, may_use: &'static [&'static str], must_not_name: &'static [&'static str]) -> Room {
    Room {
        name,
        may_use,
        must_not_name,
    }
}

#[test]
fn arrows_run_down_only() {
    let wrong: Vec<String> = sources()
        .iter()
        .flat_map(|(path, text)| forbidden(path, text))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_map_itself_runs_down_only() {
    for (floor, room) in ROOMS.iter().enumerate() {
        for used in room.may_use {
            let below = ROOMS.iter().position(|room| room.name == *used);
            assert!(below.is_some_and(|below| below > floor), "{} → {used}", room.name);
        }
    }
}

#[test]
fn every_module_says_what_it_is() {
    for (path, text) in sources() {
        let mut lines = text.lines().skip_while(|line| line.starts_with("#!["));
        assert!(
            lines.next().is_some_and(|line| line.starts_with("//! ")),
            "{path} has no //!"
        );
    }
}

#[test]
fn nothing_unwraps_outside_of_tests() {
    for (path, text) in sources() {
        let code = without_tests(&code_of(&text));
        for call in [".unwrap()", ".unwrap_err()", "unwrap_unchecked("] {
            assert!(!code.contains(call), "{path} calls {call}");
        }
    }
}

/// What the checks above would say of sources that are not there.
#[test]
fn an_arrow_that_runs_up_is_found_however_it_is_written() {
    for (path, source) in [
        ("db/pool.rs", "use crate::actors::lanes;"),
        ("db/pool.rs", "use crate::{config, http};"),
        (
            "db/pool.rs",
            "use crate::{\n    config::{self, Pool},\n    http::state::Worker,\n};",
        ),
        ("db/pool.rs", "use super::super::http;"),
        ("db/pool.rs", "fn f() -> crate::http::state::Worker { todo!() }"),
        ("db/mod.rs", "use super::http;"),
        ("clock.rs", "use super::db::Db;"),
        ("keys/ring.rs", "use crate::db::Db;"),
        ("keys/ring.rs", "use crate :: db :: Db;"),
        ("oauth/grant.rs", "use crate::clock::Clock;"),
        ("breaker.rs", "use crate::oauth::time::UnixMillis;"),
        ("http/token.rs", "use crate::db::tokens;"),
        ("actors/lanes.rs", "use crate::http::Shared;"),
        ("startup.rs", "use crate::app::App;"),
        ("main.rs", "use mintage::db::Db;"),
        ("oauth/grant.rs", "let now = std::time::SystemTime::now();"),
        ("oauth/grant.rs", "use tokio::time;"),
        ("http/admin/pool.rs", "use diesel::prelude::*;"),
        ("actors/lanes.rs", "#[derive(diesel::Queryable)] struct Row;"),
        ("siblings/link.rs", "use crate::db::Db;"),
        ("actors/lanes.rs", "use redis::Client;"),
        ("app.rs", "let client = redis :: Client::open(config.redis.url);"),
        ("new_room.rs", ""),
    ] {
        assert_eq!(forbidden(path, source).len(), 1, "{path}: {source}");
    }
}

#[test]
fn an_arrow_that_runs_down_is_let_through() {
    for (path, source) in [
        ("db/pool.rs", "use crate::config::{self, Pool};\nuse super::conn;"),
        (
            "http/admin/pool.rs",
            "use crate::db::Db;\nuse super::super::error::ApiError;",
        ),
        ("http/state.rs", "use crate::{db::Db, oauth::scope::Scope};"),
        (
            "oauth/grant.rs",
            "//! Not crate::db.\n/* nor crate::http */ const A: &str = \"crate::cli\";",
        ),
        (
            "oauth/grant.rs",
            "const A: &str = r#\"\"crate::cli\"#; const B: char = '\"'; // crate::app",
        ),
        ("main.rs", "use mintage::cli;"),
        ("siblings/link.rs", "use redis::Client;"),
        ("app.rs", "Siblings::at(&config.redis.url)"),
        ("lib.rs", "pub mod db;"),
    ] {
        assert_eq!(forbidden(path, source), Vec::<String>::new(), "{path}: {source}");
    }
}

#[test]
fn code_in_tests_is_told_from_the_rest() {
    let source = "fn f() { \"#[cfg(test)]\"; }\n#[cfg(test)]\nmod tests { fn g() { x.unwrap(); } }\nfn h() {}";
    let code = without_tests(&code_of(source));
    assert!(code.contains("fn f") && code.contains("fn h") && !code.contains("unwrap"));
}

/// Every arrow and every crate in a file that the map does not allow.
fn forbidden(path: &str, text: &str) -> Vec<String> {
    if path == "lib.rs" {
        return Vec::new();
    }
    let name = path.split(['/', '.']).next().unwrap_or_default();
    let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
        return vec![format!("{path}: the room {name:?} is not on the map")];
    };
    let code = code_of(text);
    let may_use_db = HTTP_WITH_DB.iter().any(|part| path.starts_with(part));
    let mut wrong = Vec::new();
    for used in rooms_named(path, &code) {
        let allowed = used == room.name || room.may_use.contains(&used.as_str()) || used == "db" && may_use_db;
        if !allowed {
            wrong.push(format!("{path}: {name} → {used}"));
        }
    }
    // A test may need some instant to count from.
    let code = without_tests(&code);
    let database: &[&str] = if name == "db" { &[] } else { &DATABASE };
    for named in database.iter().chain(room.must_not_name) {
        if names(&code, named) {
            wrong.push(format!("{path}: {name} must not name {named}"));
        }
    }
    if name != "siblings" && code.contains(REDIS) {
        wrong.push(format!("{path}: {name} must not name redis"));
    }
    wrong
}

/// The rooms that a file names: by `crate::`, by the library's name, or by enough `super::` to leave its own.
fn rooms_named(path: &str, code: &str) -> Vec<String> {
    let depth = path
        .trim_end_matches("mod.rs")
        .trim_end_matches(".rs")
        .trim_end_matches('/')
        .split('/')
        .count();
    let way_up = "super::".repeat(depth);
    let mut rooms = Vec::new();
    for root in ["crate::", "mintage::", &way_up] {
        for (at, _) in code.match_indices(root) {
            let inside_a_word = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let mut found = first_words(&code[at + root.len()..]);
            // One `super::` too few and the word is one of the file's own.
            found.retain(|word| root != way_up || ROOMS.iter().any(|room| room.name == word));
            if !inside_a_word {
                rooms.extend(found);
            }
        }
    }
    rooms.sort();
    rooms.dedup();
    rooms
}

/// `a` of `a::b`, and `a` and `c` of `{a::{b, d}, c}`.
fn first_words(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![word(path)];
    };
    let (mut words, mut level, mut begin) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => level += 1,
            '}' | ',' if level == 0 => {
                words.push(word(group[begin..at].trim_start()));
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => level -= 1,
            _ => {}
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Whether `name` stands in the code as a whole word.
fn names(code: &str, name: &str) -> bool {
    let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .any(|(at, _)| !code[..at].ends_with(part_of_a_word) && !code[at + name.len()..].starts_with(part_of_a_word))
}

/// The source without comments and without what stands in strings, and without spaces around `::`.
fn code_of(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest, &code) {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = hashes + 2;
            rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len())
        } else if c == '"' {
            string_length(rest, '"')
        } else if c == '\'' && is_char(rest) {
            string_length(rest, '\'')
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        rest = &rest[skipped..];
    }
    let words: Vec<&str> = code.split("::").collect();
    words
        .iter()
        .map(|word| word.trim_matches(' '))
        .collect::<Vec<_>>()
        .join("::")
}

/// The number of `#` of a raw string that begins here.
fn raw_string(rest: &str, before: &str) -> Option<usize> {
    let inside_a_word = before.ends_with(|c: char| c.is_alphanumeric() && c != 'b' || c == '_');
    let hashes = rest.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    (!inside_a_word && rest[1 + hashes..].starts_with('"')).then_some(hashes)
}

/// Whether a quote begins a character and not a lifetime.
fn is_char(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

/// The length of a literal that ends with `quote`, escapes included.
fn string_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The code without the items that are for tests only.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        let mut level = 0;
        let end = rest.char_indices().find(|(_, c)| {
            match c {
                '{' => level += 1,
                '}' => level -= 1,
                _ => {}
            }
            level == 0 && matches!(c, '}' | ';')
        });
        rest = &rest[end.map_or(rest.len(), |(at, _)| at + 1)..];
    }
    kept + rest
}

/// Every file of `src`, by its path in there.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("src can be read") {
            let path: PathBuf = entry.expect("src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source is text");
                let inside = path.strip_prefix(&root).expect("it was found in there");
                sources.push((inside.display().to_string(), text));
            }
        }
    }
    assert!(sources.len() > 40, "src was not found");
    sources
}
