//! `mintage audit verify`: what it says and how it exits, with and without a copy; and
//! `mintage audit --follow`.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::{Value, json};
use testkit::Program;
use testkit::poll::until;
use testkit::program::SERVER_TIMEOUT;

const CLIENTS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// With five lines, and a copy of the first four in `copy`.
fn with_trail() -> Program {
    let program = testkit::program!().with_database();
    for id in CLIENTS {
        if id == "e" {
            program.write("copy", program.run(&["audit"]).done());
        }
        program.create_client(&["--name", "n", "--id", id, "--scope", "x"]);
    }
    program
}

fn execute(program: &Program, statements: &str) {
    let mut conn = SqliteConnection::establish(program.database_path().to_str().unwrap()).unwrap();
    conn.batch_execute(statements).unwrap();
}

/// What `audit verify` with these arguments says about the audit log after `statements`.
fn verdict(statements: &str, arguments: &[&str]) -> String {
    let program = with_trail();
    execute(&program, statements);
    let outcome = program.run(&[&["audit", "verify"], arguments].concat());
    match outcome.code {
        Some(0) => outcome.done().trim_end().to_owned(),
        _ => outcome.failed(1).trim_start_matches("mintage: ").to_owned(),
    }
}

#[test]
fn an_unchanged_trail_is_verified() {
    let program = with_trail();
    let last: Value = serde_json::from_str(program.run(&["audit"]).done().lines().last().unwrap()).unwrap();
    let hash = last["hash"].as_str().unwrap();
    assert_eq!(
        program.run(&["audit", "verify"]).done(),
        format!("5 audit lines verified; last line 5, hash {hash}\n")
    );
    let document = program.run(&["audit", "verify", "--copy", "copy", "--json"]).json();
    assert_eq!(
        document,
        json!({
            "lines": 5, "unhashed": 0, "last_id": 5, "last_hash": hash, "archived_until": null, "compared": 4,
        })
    );
    let empty = testkit::program!().with_database();
    assert_eq!(empty.run(&["audit", "verify"]).done(), "0 audit lines verified\n");
}

#[test]
fn a_changed_trail_is_reported_with_the_place() {
    for (statements, expected) in [
        (
            "UPDATE audit SET who = 'bob' WHERE id = 4",
            "audit line 4 does not follow from line 3: a line after 3 and up to 4 was changed, added or removed; \
             compare with your copy: mintage audit verify --copy FILE",
        ),
        (
            "DELETE FROM audit WHERE id < 3",
            "the audit lines before 3 were removed, or line 3 was changed: give the copy that has them: \
             mintage audit verify --copy FILE",
        ),
        (
            "UPDATE audit SET hash = NULL, kind = NULL, context = NULL WHERE id > 3",
            "audit lines 4 to 5 have no hash: an instance of version 0.1 wrote them during the upgrade, or they \
             were added by hand; if the former, repeat with --accept-unhashed-until 5",
        ),
        (
            "UPDATE audit SET hash = NULL, kind = NULL, context = NULL; \
             UPDATE audit SET action = 'audit.begin' WHERE id = 2",
            "audit line 2 has lost its hash: compare with your copy: mintage audit verify --copy FILE",
        ),
        // Version 0.1 stored neither a kind nor a context, so these lines had a hash.
        (
            "UPDATE audit SET hash = NULL; UPDATE audit SET who = 'bob' WHERE id = 2",
            "audit line 1 has lost its hash: compare with your copy: mintage audit verify --copy FILE",
        ),
        (
            "UPDATE audit SET hash = NULL, kind = NULL WHERE id = 5",
            "audit line 5 has lost its hash: compare with your copy: mintage audit verify --copy FILE",
        ),
    ] {
        assert_eq!(verdict(statements, &[]), expected, "{statements}");
    }
    let accepted = verdict(
        "UPDATE audit SET hash = NULL, kind = NULL, context = NULL WHERE id > 3",
        &["--accept-unhashed-until", "5"],
    );
    assert!(accepted.starts_with("5 audit lines verified, 2 of them without a hash of their own; last line 5"));
}

#[test]
fn a_line_below_the_first_number_is_printed_and_reported() {
    for id in [0, -1, i64::MIN] {
        let program = with_trail();
        execute(
            &program,
            &format!(
                "INSERT INTO audit (id, at_ms, who, origin, action, subject, detail)
                 VALUES ({id}, 0, 'alice', 'command line host', 'client.delete', 'x', '{{}}')"
            ),
        );
        let expected = format!(
            "audit line {id} was added by hand: Mintage numbers the lines from 1; \
             compare with your copy: mintage audit verify --copy FILE"
        );
        let printed = program.run(&["audit"]).done().to_owned();
        assert!(printed.starts_with(&format!(r#"{{"id":{id},"#)), "{printed}");
        program.write("copy of all", &printed);
        for arguments in [&[][..], &["--copy", "copy"], &["--copy", "copy of all"]] {
            let outcome = program.run(&[&["audit", "verify"], arguments].concat());
            assert!(outcome.failed(1).contains(&expected), "{arguments:?}: {outcome:?}");
        }
    }
}

#[test]
fn a_copy_tells_what_was_changed_or_removed() {
    for (statements, expected) in [
        (
            "UPDATE audit SET who = 'bob' WHERE id = 4",
            "audit line 4 was changed: the copy has another one",
        ),
        (
            "DELETE FROM audit WHERE id IN (2, 3)",
            "audit line 2 was removed: the copy has it",
        ),
        (
            "DELETE FROM audit WHERE id > 3",
            "the end of the audit log is missing after line 3: the copy has line 4",
        ),
        (
            "DELETE FROM audit",
            "the end of the audit log is missing after line 0: the copy has line 1",
        ),
    ] {
        assert_eq!(verdict(statements, &["--copy", "copy"]), expected, "{statements}");
    }
    let without_copy = verdict("DELETE FROM audit WHERE id > 3", &[]);
    assert!(
        without_copy.starts_with("3 audit lines verified"),
        "only a copy tells that"
    );
    let archived = verdict("DELETE FROM audit WHERE id < 3", &["--copy", "copy"]);
    assert!(
        archived.starts_with(
            "3 audit lines verified, 2 of them compared with the copy; the lines up to 2 are only in the copy; last"
        ),
        "{archived}"
    );
}

/// Version 0.1 wrote neither hashes nor the new members into a copy.
#[test]
fn a_copy_of_the_previous_version_is_compared() {
    let program = testkit::program!().with_database();
    let old = "INSERT INTO audit (at_ms, who, origin, action, subject, detail)
        VALUES (0, 'alice', 'command line host', 'client.delete', 'x', '{}');";
    execute(&program, &old.repeat(3));
    let line = |id: u32| {
        format!(
            r#"{{"id":{id},"at":"1970-01-01T00:00:00.000Z","actor":"alice","source":"command line host","action":"client.delete","subject":"x","detail":{{}}}}"#
        )
    };
    program.write("copy", &format!("{}\n{}\n", line(1), line(2)));
    let verify = ["audit", "verify", "--copy", "copy"];
    let verified = program.run(&verify);
    assert!(
        verified
            .done()
            .starts_with("3 audit lines verified, 3 of them without a hash of their own, 2 of them compared"),
        "{verified:?}"
    );
    execute(&program, "UPDATE audit SET who = 'bob' WHERE id = 2");
    assert!(program.run(&verify).failed(1).contains("audit line 2 was changed"));
    execute(&program, "DELETE FROM audit WHERE id < 3");
    assert!(program.run(&verify).failed(1).contains("no hash in the copy: line 2"));
}

#[test]
fn a_malformed_copy_is_rejected() {
    let program = with_trail();
    let copy = std::fs::read_to_string(program.path("copy")).unwrap();
    let reversed: Vec<&str> = copy.lines().rev().collect();
    for (text, expected) in [
        ("", "the copy is empty"),
        (
            &*format!("{copy}x"),
            "line 5 of copy is not a line that `mintage audit` prints",
        ),
        (&*reversed.join("\n"), "line 2 of copy is out of order"),
    ] {
        program.write("copy", text);
        let outcome = program.run(&["audit", "verify", "--copy", "copy"]);
        assert!(outcome.failed(1).contains(expected), "{outcome:?}");
    }
    let outcome = program.run(&["audit", "verify", "--copy", "missing"]);
    assert!(outcome.failed(1).contains("missing: No such file"), "{outcome:?}");
}

#[test]
fn the_audit_log_is_read_without_creating_or_migrating_a_database() {
    let program = testkit::program!();
    for command in [&["audit"][..], &["audit", "verify"]] {
        assert!(program.run(command).failed(1).contains("there is no database"));
        assert!(!program.database_path().exists());
    }
    program.run(&["migrate", "up"]).done();
    program.run(&["migrate", "down", "--yes"]).done();
    assert!(
        program
            .run(&["audit", "verify"])
            .failed(1)
            .contains("mintage migrate up")
    );
}

/// `mintage audit --follow`, in a process group of its own that is killed on drop.
struct Follower(Child);

impl Follower {
    fn start(command: &mut Command) -> Self {
        Self(command.process_group(0).stdout(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.0.wait();
    }
}

#[test]
fn new_events_are_printed_until_the_reader_ends() {
    let program = with_trail();
    let mut command = program.command(&["audit", "--follow", "--after", "4"]);
    let mut follower = Follower::start(command.stderr(Stdio::null()));
    let mut lines = BufReader::new(follower.0.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["subject"], "e");
    program.create_client(&["--name", "n", "--id", "f", "--scope", "x"]);
    assert_eq!(next()["subject"], "f");
    drop(lines);
    program.create_client(&["--name", "n", "--id", "g", "--scope", "x"]);
    assert_eq!(follower.0.wait().unwrap().code(), Some(1));
}

/// The section of the document, without the heading.
fn section(title: &str) -> &'static str {
    let document = include_str!("../../docs/operations.md");
    let (_, rest) = document.split_once(&format!("### {title}\n")).unwrap();
    rest.split_once("\n#").map_or(rest, |(section, _)| section)
}

/// Runs a script as an operator does, with `mintage` and a `systemd-cat` that writes into a file.
fn shell(program: &Program, script: &str) -> Command {
    if !program.path("mintage").exists() {
        symlink(program.command(&[]).get_program(), program.path("mintage")).unwrap();
        program.write("systemd-cat", "#!/bin/sh\nexec cat > journal\n");
        std::fs::set_permissions(program.path("systemd-cat"), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!(".:{}", std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-ec", script]).env("PATH", path);
    command.env("MINTAGE_DATABASE__URL", "sqlite:mintage.db");
    command.current_dir(program.path("")).stdin(Stdio::null());
    command
}

#[test]
fn the_documented_commands_ship_the_trail() {
    let scripts: Vec<&str> = section("Ship the audit log")
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split_once("```").unwrap().0)
        .collect();
    let [from_a_timer, as_a_service, compare] = *scripts else {
        panic!("{scripts:?}");
    };
    let program = with_trail();
    let _follower = Follower::start(&mut shell(&program, as_a_service));
    for id in ["f", "g"] {
        assert!(shell(&program, from_a_timer).status().unwrap().success());
        program.create_client(&["--name", "n", "--id", id, "--scope", "x"]);
    }
    let verified = shell(&program, compare).output().unwrap();
    let text = String::from_utf8(verified.stdout).unwrap();
    assert!(
        text.starts_with("7 audit lines verified, 6 of them compared with the copy"),
        "{text}"
    );
    let printed = program.run(&["audit"]).stdout;
    until("the journal has every event", SERVER_TIMEOUT, || {
        std::fs::read_to_string(program.path("journal")).is_ok_and(|journal| journal == printed)
    });
}
