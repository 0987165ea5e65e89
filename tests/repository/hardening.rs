//! How the program is compiled and linked: the C libraries in it have stack canaries and checked
//! copies, and no memory of it is both writable and executable.
//!
//! The archives are those of `.cargo/config.toml`'s `CFLAGS`; `nm` and `readelf` come with the C
//! compiler.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The C libraries: the package that compiles each, and its archive. The system's OpenSSL is in none.
const ARCHIVES: [(&str, &str); 6] = [
    ("libsqlite3-sys", "libsqlite3.a"),
    ("pq-src", "libpq.a"),
    ("openssl-sys", "libcrypto.a"),
    ("openssl-sys", "libssl.a"),
    ("aws-lc-sys", "_crypto.a"),
    ("libmimalloc-sys", "libmimalloc.a"),
];

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_mintage").into()
}

fn output(tool: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(tool).args(arguments).arg(file).output();
    let output = output.expect("binutils are installed: they come with the C compiler");
    assert!(output.status.success(), "{tool} {}: {output:?}", file.display());
    String::from_utf8(output.stdout).unwrap()
}

/// Every archive with this ending below a folder, with the time of its change.
fn archives(folder: &Path, ending: &str, found: &mut Vec<(SystemTime, PathBuf)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            archives(&entry.path(), ending, found);
        } else if entry.path().to_string_lossy().ends_with(ending) {
            found.push((entry.metadata().unwrap().modified().unwrap(), entry.path()));
        }
    }
}

/// The archive that this package compiled last.
fn newest(package: &str, ending: &str) -> Option<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(program().parent().unwrap().join("build")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with(&format!("{package}-")) {
            archives(&entry.path().join("out"), ending, &mut found);
        }
    }
    found.into_iter().max().map(|(_, archive)| archive)
}

/// Whether the program loads OpenSSL when it starts.
fn uses_system_openssl() -> bool {
    output("readelf", &["--wide", "--dynamic"], &program()).contains("[libssl.so")
}

#[test]
fn the_c_libraries_have_stack_canaries_and_checked_copies() {
    for (package, ending) in ARCHIVES {
        let Some(archive) = newest(package, ending) else {
            assert_eq!(
                (package, uses_system_openssl()),
                ("openssl-sys", true),
                "{ending} is not compiled"
            );
            continue;
        };
        let undefined = output("nm", &["--undefined-only"], &archive);
        let has = |symbol: &str| undefined.split_whitespace().any(|word| word == symbol);
        assert!(has("__stack_chk_fail"), "{}", archive.display());
        // A debug build optimizes OpenSSL only, and copies are checked only in optimized code.
        if ending == "libcrypto.a" {
            assert!(has("__memcpy_chk"), "{}", archive.display());
        }
    }
}

#[test]
fn the_program_is_position_independent_and_relocated_before_it_runs() {
    let program = program();
    let headers = output("readelf", &["--wide", "--program-headers", "--dynamic"], &program);
    let line = |part: &str| headers.lines().find(|line| line.contains(part));
    assert!(headers.contains("file type is DYN"), "{headers}");
    assert!(line("GNU_RELRO").is_some(), "{headers}");
    assert!(
        line("(FLAGS_1)").is_some_and(|line| line.contains("NOW") && line.contains("PIE")),
        "{headers}"
    );
    let stack = line("GNU_STACK").expect("the linker states how the stack is mapped");
    assert!(stack.contains(" RW "), "{stack}");
    // Segments that are loaded: flags are `R`, `RW` and `R E`.
    let writable_and_executable = |line: &&str| line.trim_start().starts_with("LOAD") && line.contains("RWE");
    assert_eq!(headers.lines().find(writable_and_executable), None);
}
