//! Checks of the architecture: the list of allowed dependencies in `src/lib.rs`, the crates that a
//! module may name, no import cycles between files, and what every file must have.
//!
//! The checks read the sources as text. They remove comments and strings and search the rest for
//! paths.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The modules from this row of the list on may be used by every module above them.
const FIRST_SHARED: &str = "unavailable";

/// Crates and the only places that may name them.
const CRATES: [(&str, &[&str]); 10] = [
    ("aws_lc_sys", &["cli/version.rs"]),
    ("openssl", &["cli/version.rs"]),
    ("diesel", &["db/"]),
    ("diesel_migrations", &["db/"]),
    ("r2d2", &["db/"]),
    ("libsqlite3_sys", &["db/"]),
    ("actix", &["actors/", "server/", "http/", "cli/serve.rs"]),
    ("actix_web", &["server/", "http/", "cli/serve.rs"]),
    (
        "rustix",
        &[
            "process.rs",
            "cli/principal.rs",
            "config/permissions.rs",
            "server/connections/limits.rs",
        ],
    ),
    // Without `::`, `redis` is a section of the configuration.
    ("redis::", &["peers/"]),
];

/// Modules that must not use a runtime, a clock or files.
const PURE: [&str; 7] = ["oauth", "gateway", "throttle", "keys", "metrics", "api", "breaker"];

/// Names that these modules must not use.
const IMPURE: [&str; 8] = [
    "tokio",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "clock::Clock",
];

/// Files of `http` that may name the request, apart from the handlers. A body is extracted from it.
const HTTP_REQUEST: [&str; 5] = [
    "http/body.rs",
    "http/caller.rs",
    "http/middleware.rs",
    "http/routes.rs",
    "http/state.rs",
];

/// The maximum number of lines of a file in `src`, without its tests.
const MAX_LINES: usize = 400;

/// Files that may be longer: the cache is one state machine, the sections are one table.
const LONG_FILES: [&str; 2] = ["actors/client_cache/actor.rs", "config/sections.rs"];

#[test]
fn only_listed_dependencies_are_used() {
    let list = list();
    let wrong: Vec<String> = sources()
        .iter()
        .flat_map(|(path, text)| forbidden(&list, path, text))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn dependencies_point_only_down_the_list() {
    let list = list();
    assert!(
        list.len() > 20 && list[0].name == "main",
        "the list of dependencies was not found"
    );
    for (place, row) in list.iter().enumerate() {
        for used in &row.may_use {
            let below = list.iter().position(|row| row.name == *used);
            assert!(below.is_some_and(|below| below > place), "{} → {used}", row.name);
        }
    }
}

#[test]
fn every_listed_module_has_a_file() {
    let modules: BTreeSet<String> = sources().keys().map(|path| first_part(path)).collect();
    let listed: BTreeSet<String> = list().into_iter().map(|row| row.name).collect();
    let without_file: Vec<_> = listed.difference(&modules).collect();
    assert!(without_file.is_empty(), "{without_file:?}");
}

#[test]
fn no_files_import_each_other() {
    let mut cycles = Vec::new();
    for (name, root) in crates() {
        let files = read(&root);
        cycles.extend(
            cycles_in(&files)
                .into_iter()
                .map(|cycle| format!("{name}: {}", cycle.join(" ⇄ "))),
        );
    }
    assert!(cycles.is_empty(), "\n{}", cycles.join("\n"));
}

#[test]
fn every_module_has_module_documentation() {
    for (path, text) in sources() {
        let mut lines = text.lines().skip_while(|line| line.starts_with("#!["));
        assert!(
            lines.next().is_some_and(|line| line.starts_with("//! ")),
            "{path} has no //!"
        );
    }
}

#[test]
fn no_file_exceeds_the_line_limit() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|(path, text)| !LONG_FILES.contains(&path.as_str()) && lines_without_tests(text) > MAX_LINES)
        .map(|(path, text)| format!("{path}: {} lines", lines_without_tests(text)))
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn a_log_event_is_a_fixed_message() {
    let variable: Vec<String> = events()
        .into_iter()
        .filter(|event| event.message.contains('{'))
        .map(|event| format!("{}: {}", event.path, event.message))
        .collect();
    assert!(variable.is_empty(), "\n{}", variable.join("\n"));
}

#[test]
fn the_events_of_warn_and_error_are_those_of_the_documentation() {
    for level in ["error", "warn"] {
        let logged: BTreeSet<String> = events()
            .into_iter()
            .filter(|event| event.level == level)
            .map(|event| event.message)
            .collect();
        assert_eq!(logged, documented(level), "{level}");
    }
}

/// The text of a `JoinError` contains the message of a panic, and so any value (G8).
#[test]
fn the_text_of_a_stopped_task_is_not_used() {
    let using: Vec<String> = sources()
        .into_iter()
        .map(|(path, text)| (path, without_tests(&code_of(&text))))
        .filter(|(path, code)| match path.as_str() {
            "db/error.rs" => false,
            // It drops the error.
            "clients/password_verifier.rs" => !code.contains("let Ok(result) = verifying.await else"),
            _ => names(code, "JoinError") || names(code, "spawn_blocking") && !code.contains("DbError::stopped"),
        })
        .map(|(path, _)| path)
        .collect();
    assert!(using.is_empty(), "{using:?}");
}

#[test]
fn http_does_not_name_the_database() {
    let naming: Vec<String> = sources()
        .into_iter()
        .filter(|(path, text)| path.starts_with("http/") && modules_named(path, &code_of(text)).contains("db"))
        .map(|(path, _)| path)
        .collect();
    assert!(naming.is_empty(), "{naming:?}");
}

#[test]
fn only_handlers_and_the_middleware_call_worker_of() {
    let files = sources();
    let handlers = handlers(&files);
    let asking: Vec<&String> = files
        .iter()
        .filter(|(_, text)| without_tests(&code_of(text)).contains("Worker::of"))
        .map(|(path, _)| path)
        .filter(|path| !handlers.contains(*path) && *path != "http/middleware.rs")
        .collect();
    assert!(asking.is_empty(), "{asking:?}");
}

#[test]
fn the_request_ends_at_the_handlers_and_the_middleware() {
    let files = sources();
    let handlers = handlers(&files);
    let naming: Vec<&String> = files
        .iter()
        .filter(|(_, text)| names(&without_tests(&code_of(text)), "HttpRequest"))
        .map(|(path, _)| path)
        .filter(|path| !handlers.contains(*path) && !HTTP_REQUEST.contains(&path.as_str()))
        .collect();
    assert!(naming.is_empty(), "{naming:?}");
}

/// The files of the handlers: what the table of routes imports, apart from the types of the table
/// itself.
fn handlers(files: &Files) -> BTreeSet<String> {
    let mut handlers = imports(files, "http/routes.rs");
    handlers.retain(|path| !is_folder(path) || path == "http/console/mod.rs");
    handlers.retain(|path| path != "http/error.rs" && path != "http/resource.rs");
    handlers
}

/// The checks above, applied to samples instead of the sources.
#[test]
fn an_unlisted_dependency_is_found_in_every_spelling() {
    let list = list();
    for (path, source) in [
        ("db/pool.rs", "use crate::records::queue;"),
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
        ("oauth/grant.rs", "use crate::keys::KeyRing;"),
        ("breaker.rs", "use crate::oauth::scope::Scope;"),
        ("http/token.rs", "use crate::server::Server;"),
        ("records/queue.rs", "use crate::http::Shared;"),
        ("server/startup.rs", "use crate::cli::Failure;"),
        ("main.rs", "use mintage::db::Db;"),
        ("oauth/grant.rs", "let now = std::time::SystemTime::now();"),
        ("oauth/grant.rs", "use tokio::time;"),
        ("oauth/grant.rs", "use crate::clock::Clock;"),
        ("http/admin/pool.rs", "use diesel::prelude::*;"),
        ("records/queue.rs", "#[derive(diesel::Queryable)] struct Row;"),
        ("records/queue.rs", "use actix::prelude::*;"),
        ("actors/janitor.rs", "use actix_web::rt;"),
        ("peers/connection.rs", "use crate::db::Db;"),
        ("throttle/limiter.rs", "use crate::http::state::Worker;"),
        ("records/queue.rs", "use redis::Client;"),
        ("server/mod.rs", "let client = redis :: Client::open(config.redis.url);"),
        ("new_module.rs", ""),
    ] {
        assert_eq!(forbidden(&list, path, source).len(), 1, "{path}: {source}");
    }
}

#[test]
fn a_listed_dependency_is_accepted() {
    let list = list();
    for (path, source) in [
        ("db/pool.rs", "use crate::config::{self, Pool};\nuse super::conn;"),
        (
            "http/admin/pool.rs",
            "use crate::actors::janitor::JanitorStats;\nuse super::super::error::ApiError;",
        ),
        (
            "http/state.rs",
            "use crate::{clock::Clock, oauth::scope::Scope};\nuse actix_web::web;",
        ),
        (
            "oauth/grant.rs",
            "//! Not crate::db.\n/* nor crate::http */ const A: &str = \"crate::cli\";",
        ),
        (
            "oauth/grant.rs",
            "const A: &str = r#\"\"crate::cli\"#; const B: char = '\"'; // crate::server",
        ),
        ("main.rs", "use mintage::cli;"),
        ("peers/connection.rs", "use redis::Client;"),
        ("server/mod.rs", "Peers::at(&config.redis.url)"),
        ("lib.rs", "pub mod db;"),
    ] {
        assert_eq!(forbidden(&list, path, source), Vec::<String>::new(), "{path}: {source}");
    }
}

#[test]
fn an_import_cycle_is_found_in_every_spelling() {
    for sources in [
        &[("db/a.rs", "use super::b::B;"), ("db/b.rs", "use super::a::A;")][..],
        &[
            ("db/a.rs", "use crate::db::b::B;"),
            ("db/b.rs", "fn f() { super::a::f() }"),
        ],
        &[
            ("db/a.rs", "use super::{b::{self, B}, c};"),
            ("db/b.rs", "use super::c::C;"),
            ("db/c.rs", "use crate::db::{a};"),
        ],
        // Through a module that re-exports.
        &[
            ("db/mod.rs", "mod a; mod b; pub use a::A;"),
            ("db/a.rs", "use super::b::B;"),
            ("db/b.rs", "use super::A;"),
        ],
        &[
            ("db/mod.rs", "pub mod a; mod b; pub use b::{B as C};"),
            ("db/a.rs", "use crate::db;\nfn f() { db::C::new() }"),
            ("db/b.rs", "use crate::db::a;"),
        ],
        // A module that does more than that.
        &[
            ("db/mod.rs", "mod a; use a::A; pub struct Db(A);"),
            ("db/a.rs", "use super::Db;"),
        ],
        &[
            ("db/mod.rs", "mod a; pub use a::A; pub struct Db(A);"),
            ("db/a.rs", "use super::Db;"),
        ],
        &[
            ("db/mod.rs", "mod a; pub fn f() { a::g() }"),
            ("db/a.rs", "pub fn g() { super::f() }"),
        ],
    ] {
        let files: Files = sources
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        assert_eq!(cycles_in(&files).len(), 1, "{sources:?}");
    }
}

#[test]
fn acyclic_imports_are_accepted() {
    for sources in [
        &[("db/a.rs", "use super::b::B;"), ("db/b.rs", "use super::c::A;")][..],
        &[
            ("db/a.rs", "use super::b::B;"),
            (
                "db/b.rs",
                "// super::a\n#[cfg(test)]\nmod tests { use super::super::a::A; }",
            ),
        ],
        &[
            ("db/mod.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("db/a.rs", "use super::B;"),
            ("db/b.rs", "struct B;"),
        ],
        &[
            ("db/mod.rs", "mod a; mod b; use b::B; pub fn f() { a::g() }"),
            ("db/a.rs", "use super::B; pub fn g() {}"),
            ("db/b.rs", "struct B;"),
        ],
    ] {
        let files: Files = sources
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        assert_eq!(cycles_in(&files), Vec::<Vec<String>>::new(), "{sources:?}");
    }
}

#[test]
fn test_code_is_distinguished_from_other_code() {
    let source = "fn f() { \"#[cfg(test)]\"; }\n#[cfg(test)]\nmod tests { fn g() { x.unwrap(); } }\nfn h() {}";
    let code = without_tests(&code_of(source));
    assert!(code.contains("fn f") && code.contains("fn h") && !code.contains("unwrap"));
    assert_eq!(lines_without_tests("a\n#[cfg(test)]\nmod tests {\n    b\n}\nc\n"), 2);
}

/// A module and the modules that it may use.
struct Row {
    name: String,
    may_use: Vec<String>,
}

/// A call of a macro of `log`.
struct Event {
    path: String,
    level: &'static str,
    message: String,
}

/// Every event that `src` logs, outside of its tests.
fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for (path, text) in sources() {
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        for level in ["error", "warn", "info", "debug", "trace"] {
            for call in code.split(&format!("log::{level}!(")).skip(1) {
                let call = call_of(call);
                // Fields come first, and may hold strings of their own.
                let message = call.rsplit('"').nth(1).unwrap_or("{no literal}").to_owned();
                events.push(Event {
                    path: path.clone(),
                    level,
                    message,
                });
            }
        }
    }
    assert!(events.len() > 40, "only {} events were found", events.len());
    events
}

/// The text up to the parenthesis that ends the call; messages hold none.
fn call_of(text: &str) -> &str {
    let mut depth = 1;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// The events of a level in `docs/operations.md`, where each level has a table of its own.
fn documented(level: &str) -> BTreeSet<String> {
    let document = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, rest) = document.split_once(&format!("\nEvents at `{level}`")).unwrap();
    rest.lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .flat_map(|line| line.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// The list of `src/lib.rs`.
fn list() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs can be read");
    let mut rows: Vec<Row> = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! ")?.split_once('→'))
        .map(|(name, used)| Row {
            name: name.trim().to_owned(),
            may_use: used.split_whitespace().map(str::to_owned).collect(),
        })
        .collect();
    let first_shared = rows.iter().position(|row| row.name == FIRST_SHARED);
    let (above, shared) = rows.split_at_mut(first_shared.expect("the list contains the first shared module"));
    for row in above {
        row.may_use.extend(shared.iter().map(|row| row.name.clone()));
    }
    rows
}

/// Every dependency and every crate in a file that is not allowed.
fn forbidden(list: &[Row], path: &str, text: &str) -> Vec<String> {
    if path == "lib.rs" {
        return Vec::new();
    }
    let name = first_part(path);
    let Some(row) = list.iter().find(|row| row.name == name) else {
        return vec![format!("{path}: the module {name:?} is not on the list")];
    };
    let code = code_of(text);
    let mut wrong = Vec::new();
    // In a module of tests, `super::` leads to the file itself, so the next word may be an item of
    // the file.
    let is_listed = |used: &String| list.iter().any(|row| row.name == *used);
    for used in modules_named(path, &code).into_iter().filter(is_listed) {
        if used != row.name && !row.may_use.contains(&used) {
            wrong.push(format!("{path}: {name} → {used}"));
        }
    }
    // Tests may use a clock.
    let code = without_tests(&code);
    for (named, places) in CRATES {
        let allowed = places.iter().any(|place| path.starts_with(place));
        let is_named = if named.ends_with(':') {
            code.contains(named)
        } else {
            names(&code, named)
        };
        if is_named && !allowed {
            wrong.push(format!("{path}: {name} must not name {named}"));
        }
    }
    for named in IMPURE.iter().filter(|_| PURE.contains(&name.as_str())) {
        if names(&code, named) {
            wrong.push(format!("{path}: {name} must not name {named}"));
        }
    }
    wrong
}

fn first_part(path: &str) -> String {
    path.split(['/', '.']).next().unwrap_or_default().to_owned()
}

/// The top-level modules that a file names.
fn modules_named(path: &str, code: &str) -> BTreeSet<String> {
    let found = paths(code, &module_of(path), path == "main.rs");
    found
        .into_iter()
        .filter_map(|found| found.path.into_iter().next())
        .collect()
}

/// The sources of one crate, by their path below its root.
type Files = BTreeMap<String, String>;

/// Sets of files that import each other, directly or through others.
fn cycles_in(files: &Files) -> Vec<Vec<String>> {
    let graph: BTreeMap<&String, BTreeSet<String>> = files.keys().map(|path| (path, imports(files, path))).collect();
    let reached = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(file) = next.pop() {
            next.extend(
                graph
                    .get(&file)
                    .into_iter()
                    .flatten()
                    .filter(|to| seen.insert((*to).clone()))
                    .cloned(),
            );
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<String>> = files.keys().map(|path| (path, reached(path))).collect();
    let cycle_of = |path: &String| -> Vec<String> {
        let there_and_back = |other: &&String| reach[path].contains(*other) && reach[*other].contains(path);
        files.keys().filter(there_and_back).cloned().collect()
    };
    let cycles: BTreeSet<Vec<String>> = files.keys().map(cycle_of).filter(|cycle| cycle.len() > 1).collect();
    cycles.into_iter().collect()
}

/// The files that a file imports. Re-exports are followed to the defining file.
fn imports(files: &Files, path: &str) -> BTreeSet<String> {
    let module = module_of(path);
    let code = without_tests(&code_of(&files[path]));
    let own = children(&code).iter().fold(without_uses(&code), |own, child| {
        own.replace(&format!("mod {child};"), "")
    });
    let is_used = |found: &Found| found.name.as_ref().is_some_and(|name| names(&own, name));
    let mut imported: BTreeSet<String> = paths(&code, &module, path == "main.rs")
        .into_iter()
        // A module that only re-exports items of its children does not use them.
        .filter(|found| !(found.is_public && found.path.starts_with(&module) && !is_used(found)))
        .filter_map(|found| file_of(files, &found.path, 8))
        .collect();
    imported.remove(path);
    imported
}

/// The file that defines the item at a path.
fn file_of(files: &Files, path: &[String], hops: usize) -> Option<String> {
    for end in (0..=path.len()).rev() {
        let stem = path[..end].join("/");
        let names = match end {
            0 => ["lib.rs".to_owned(), "main.rs".to_owned()],
            _ => [format!("{stem}.rs"), format!("{stem}/mod.rs")],
        };
        let Some(file) = names.into_iter().find(|name| files.contains_key(name)) else {
            continue;
        };
        let Some(name) = path.get(end).filter(|_| hops > 0 && is_folder(&file)) else {
            return Some(file);
        };
        let code = without_tests(&code_of(&files[&file]));
        let reexport = uses(&code, &path[..end], false)
            .into_iter()
            .find(|found| found.name.as_ref() == Some(name) && found.path != path);
        return match reexport {
            Some(found) => file_of(files, &[&found.path, &path[end + 1..]].concat(), hops - 1),
            None => Some(file),
        };
    }
    None
}

fn is_folder(file: &str) -> bool {
    ["mod.rs", "lib.rs", "main.rs"].iter().any(|name| file.ends_with(name))
}

/// The module of a file: `a::b` of `a/b.rs` and of `a/b/mod.rs`.
fn module_of(path: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    match stem {
        "lib" | "main" | "mod" => Vec::new(),
        stem => stem.split('/').map(str::to_owned).collect(),
    }
}

/// A path in the code, from the root of its crate.
#[derive(Debug)]
struct Found {
    path: Vec<String>,
    /// Its name in the file, if the file imports it.
    name: Option<String>,
    is_public: bool,
}

/// All paths in a file that lead to items of its crate.
fn paths(code: &str, module: &[String], by_name: bool) -> Vec<Found> {
    let mut found = uses(code, module, by_name);
    let imported: Vec<(String, Vec<String>)> = found
        .iter()
        .filter_map(|used| Some((used.name.clone()?, used.path.clone())))
        .collect();
    let children = children(code);
    for words in chains(&without_uses(code)) {
        let path = match imported.iter().find(|(name, _)| *name == words[0]) {
            Some((_, path)) => Some([path, &words[1..]].concat()),
            None => absolute(&words, module, &children, by_name),
        };
        found.extend(path.map(|path| Found {
            path,
            name: None,
            is_public: false,
        }));
    }
    found
}

/// What a file imports from its own crate.
fn uses(code: &str, module: &[String], by_name: bool) -> Vec<Found> {
    let children = children(code);
    let mut found = Vec::new();
    for (begin, end) in use_statements(code) {
        let is_public = code[..begin].trim_end().ends_with("pub");
        for (mut words, alias) in leaves(&code[begin + 3..end]) {
            if words.last().is_some_and(|last| last == "self" || last == "*") {
                words.pop();
            }
            let name = alias.or_else(|| words.last().cloned());
            found.extend(absolute(&words, module, &children, by_name).map(|path| Found { path, name, is_public }));
        }
    }
    found
}

/// The path from the root of the crate; `None` if it leads to another crate.
fn absolute(words: &[String], module: &[String], children: &[String], by_name: bool) -> Option<Vec<String>> {
    let (first, rest) = words.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "mintage" if by_name => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let ups = words.iter().take_while(|word| *word == "super").count();
            let above = module.len().checked_sub(ups)?;
            Some([&module[..above], &words[ups..]].concat())
        }
        child if children.iter().any(|name| name == child) => Some([module, words].concat()),
        _ => None,
    }
}

/// The modules that a file declares.
fn children(code: &str) -> Vec<String> {
    let declared = code.split("mod ").skip(1).map(word);
    declared.filter(|name| !name.is_empty()).collect()
}

/// Start and end of each `use` statement.
fn use_statements(code: &str) -> Vec<(usize, usize)> {
    let starts = code.match_indices("use ").map(|(at, _)| at);
    let whole = starts.filter(|at| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    whole.filter_map(|at| Some((at, at + code[at..].find(';')?))).collect()
}

fn without_uses(code: &str) -> String {
    let (mut kept, mut from) = (String::new(), 0);
    for (begin, end) in use_statements(code)
        .into_iter()
        .filter(|(begin, _)| *begin >= from)
        .collect::<Vec<_>>()
    {
        if begin >= from {
            kept.push_str(&code[from..begin]);
            from = end;
        }
    }
    kept + &code[from..]
}

/// The paths of a `use` tree with their aliases: `a::b` and `a::c` of `a::{b, c as d}`.
fn leaves(tree: &str) -> Vec<(Vec<String>, Option<String>)> {
    let tree = tree.trim();
    let Some((head, group)) = tree.split_once('{') else {
        let (path, alias) = match tree.split_once(" as ") {
            Some((path, alias)) => (path, Some(alias.trim().to_owned())),
            None => (tree, None),
        };
        let words: Vec<String> = path
            .split("::")
            .map(|word| word.trim().to_owned())
            .filter(|word| !word.is_empty())
            .collect();
        return Vec::from_iter((!words.is_empty()).then_some((words, alias)));
    };
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let head: Vec<String> = head
        .split("::")
        .map(|word| word.trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect();
    let (mut level, mut begin, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => level += 1,
            '}' => level -= 1,
            ',' if level == 0 => {
                parts.push(&group[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[begin..]);
    let inner = parts.into_iter().flat_map(leaves);
    inner
        .map(|(words, alias)| ([&head[..], &words].concat(), alias))
        .collect()
}

/// Every path `a::b::c` of the code, split into its words.
fn chains(code: &str) -> Vec<Vec<String>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut chains = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(is_word) {
        rest = &rest[at..];
        let mut words = Vec::new();
        loop {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = &rest[end..];
            match rest.strip_prefix("::").filter(|after| after.starts_with(is_word)) {
                Some(after) => rest = after,
                None => break,
            }
        }
        if words.len() > 1 {
            chains.push(words);
        }
    }
    chains
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Whether `name` occurs in the code as a whole word.
fn names(code: &str, name: &str) -> bool {
    let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .any(|(at, _)| !code[..at].ends_with(part_of_a_word) && !code[at + name.len()..].starts_with(part_of_a_word))
}

/// The source without comments, the content of strings, and spaces around `::`.
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

/// The number of `#` of a raw string that starts here.
fn raw_string(rest: &str, before: &str) -> Option<usize> {
    let inside_a_word = before.ends_with(|c: char| c.is_alphanumeric() && c != 'b' || c == '_');
    let hashes = rest.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    (!inside_a_word && rest[1 + hashes..].starts_with('"')).then_some(hashes)
}

/// Whether a quote starts a character literal and not a lifetime.
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

/// The code without the items that are compiled only for tests.
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

/// The number of lines of a source without its tests.
fn lines_without_tests(text: &str) -> usize {
    let tests = text.find("#[cfg(test)]\nmod ");
    let after = tests.map_or("", |at| &text[at..]);
    let rest = after.split_once("\n}\n").map_or("", |(_, rest)| rest);
    let before = &text[..tests.unwrap_or(text.len())];
    before.lines().count() + rest.lines().count()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every crate of this repository with the folder of its modules.
fn crates() -> Vec<(String, PathBuf)> {
    let mut crates = vec![("src".to_owned(), root().join("src"))];
    for (folder, sources) in [("crates", "src"), ("tools", "src"), ("benches", "")] {
        let Ok(entries) = std::fs::read_dir(root().join(folder)) else {
            continue;
        };
        for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
            let name = format!("{folder}/{}", entry.file_name().display());
            crates.push((name, entry.path().join(sources)));
        }
    }
    crates
}

/// Every file of `src`, by its path below `src`.
fn sources() -> Files {
    let sources = read(&root().join("src"));
    assert!(sources.len() > 100, "src was not found");
    sources
}

/// Every source below a folder, by its path below that folder.
fn read(root: &Path) -> Files {
    let mut folders = vec![root.to_owned()];
    let mut sources = Files::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path: PathBuf = entry.expect("a folder of sources can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source is text");
                let inside = path.strip_prefix(root).expect("it was found below the root");
                sources.insert(inside.display().to_string(), text);
            }
        }
    }
    sources
}
