//! Variables of the environment may have any bytes, and their values are printed by no command.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

#[test]
fn a_variable_of_another_program_may_have_any_bytes() {
    let program = testkit::program!().with_database();
    let not_utf_8 = OsStr::from_bytes(b"hunter2\xe9");
    let outcome = |command: &mut Command| {
        let output = command.output().unwrap();
        (output.status.code(), output.stdout, output.stderr)
    };
    for arguments in [
        &["--version"][..],
        &["client", "list"],
        &["client", "show", "nobody"],
        &["key", "list"],
        &["route", "list"],
        &["audit"],
        &["migrate", "status"],
        &["stats", "--url", "http://127.0.0.1:1"],
        &["config", "check"],
        &["config", "show"],
        &["completions", "bash"],
    ] {
        let without = outcome(&mut program.command(arguments));
        let with = outcome(program.command(arguments).env("SOME_PASSWORD", not_utf_8));
        assert_eq!(with, without, "{arguments:?}");
        assert!(with.0 == Some(0) || with.0 == Some(1), "{with:?}");
    }
    let mut server = program.spawn(
        &["sh", "-c", "SOME_PASSWORD=$(printf 'hunter2\\351') exec \"$0\" \"$@\""],
        &[],
    );
    assert!(server.wait_until_it_listens().is_some());
}

#[test]
fn g8_no_command_prints_the_value_of_a_variable() {
    let program = testkit::program!().with_database();
    let not_utf_8 = OsStr::from_bytes(b"hunter2\xe9");
    for command in [
        &["serve"][..],
        &["client", "list"],
        &["config", "check"],
        &["config", "show"],
        &["key", "list"],
    ] {
        for variable in [
            "MINTAGE_CACHE__TTL",
            "MINTAGE_KEYS__ENCRYPTION_KEY_FILE",
            "MINTAGE_CONFIG",
            "MINTAGE_x",
        ] {
            let output = program.command(command).env(variable, not_utf_8).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(
                (output.status.code(), text.lines().count()),
                (Some(1), 1),
                "{variable} {text}"
            );
            assert!(text.contains(variable) && !text.contains("hunter2"), "{text}");
        }
    }
    for levels in ["hunter2=loud", "info/hunter2/hunter2"] {
        let mut server = program.clone().with("RUST_LOG", levels).serve(&[]);
        server.stop();
        let log = server.log();
        assert!(
            log.contains("WARN  rust_log ignored") && log.contains("INFO  server stopped"),
            "{log}"
        );
        assert!(!log.contains("hunter2"), "{log}");
    }
}
