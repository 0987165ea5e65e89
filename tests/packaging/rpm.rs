//! The .rpm, and that it equals the .deb.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::dist::{DebianRoot, artifact, output, run, text};

fn rpm() -> PathBuf {
    artifact(".rpm")
}

/// Answers of `rpm -qp`.
fn query(format: &str) -> String {
    output("rpm", &["-qp", "--queryformat", format, text(&rpm())])
}

/// Files with mode, owner and digest.
type Files = BTreeMap<String, String>;

fn files_of_rpm() -> Files {
    let listed = query("[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILEDIGESTS} %{FILENAMES}\n]");
    let files = listed.lines().filter(|line| line.starts_with('-'));
    let split = |line: &str| {
        let (described, path) = line.rsplit_once(' ').unwrap();
        (path.to_owned(), described.to_owned())
    };
    files.map(split).collect()
}

fn files_of_deb() -> Files {
    let (deb, folder) = (artifact(".deb"), tempfile::tempdir().unwrap());
    output("dpkg-deb", &["--extract", text(&deb), text(folder.path())]);
    let listed = output("dpkg-deb", &["--contents", text(&deb)]);
    let files = listed.lines().filter(|line| line.starts_with('-'));
    let describe = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let path = words[5].trim_start_matches('.');
        let sum = output("sha256sum", &[text(&folder.path().join(path.trim_start_matches('/')))]);
        let digest = sum.split_whitespace().next().unwrap();
        (path.to_owned(), format!("{} {} {digest}", words[0], words[1]))
    };
    files.map(describe).collect()
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q66_the_files_of_rpm_and_deb_are_equal_except_where_zsh_looks() {
    let (rpm, mut deb) = (files_of_rpm(), files_of_deb());
    let completion = deb.remove("/usr/share/zsh/vendor-completions/_mintage").unwrap();
    deb.insert("/usr/share/zsh/site-functions/_mintage".to_owned(), completion);
    assert!(deb.len() > 30, "{deb:?}");
    assert_eq!(rpm, deb);
    let configuration = output("rpm", &["-qpc", text(&artifact(".rpm"))]);
    let conffiles = output("dpkg-deb", &["--info", text(&artifact(".deb")), "conffiles"]);
    assert_eq!(configuration.trim(), "/etc/mintage/mintage.toml");
    assert_eq!(conffiles.trim(), "/etc/mintage/mintage.toml");
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q66_the_scripts_of_rpm_and_deb_are_equal() {
    let deb = artifact(".deb");
    for (of_rpm, of_deb) in [("POSTIN", "postinst"), ("PREUN", "prerm"), ("POSTUN", "postrm")] {
        let script = output("dpkg-deb", &["--info", text(&deb), of_deb]);
        assert!(script.starts_with("#!/bin/sh\n"), "{script}");
        assert_eq!(query(&format!("%{{{of_rpm}}}")).trim_end(), script.trim_end());
    }
    for of_deb in ["preinst", "config"] {
        assert!(!run("dpkg-deb", &["--info", text(&deb), of_deb]).succeeded);
    }
    assert_eq!(query("%{PREIN}"), "(none)");
}

#[test]
#[ignore = "scripts/test --packaging"]
fn the_rpm_requires_what_the_deb_depends_on() {
    let requires = output("rpm", &["-qpR", text(&rpm())]);
    for library in ["libssl.so.3()(64bit)", "libcrypto.so.3()(64bit)", "libc.so.6(GLIBC_2."] {
        assert!(requires.contains(library), "{requires}");
    }
    assert_eq!(query("%{BUILDHOST}"), "localhost");
}

#[test]
#[ignore = "scripts/test --packaging"]
fn the_rpm_installs_runs_upgrades_and_leaves_the_database() {
    let root = DebianRoot::unpack();
    root.fake_systemd();
    let inside = root.path("/");
    let rpm_of_root = |arguments: &[&str]| output("rpm", &[&["--root", text(&inside)], arguments].concat());
    let package = rpm();
    let printed = rpm_of_root(&["-i", "--nodeps", text(&package)]);
    assert!(printed.contains("systemctl enable --now mintage"), "{printed}");
    assert_eq!(root.asked_of_systemd(), ["daemon-reload"]);
    assert!(root.output(&["mintage", "--version"]).starts_with("mintage "));
    assert!(root.server_becomes_ready());
    // The scripts of an upgrade, from the version to itself.
    let printed = rpm_of_root(&["-U", "--force", "--nodeps", text(&package)]);
    assert!(!printed.contains("mintage:"), "{printed}");
    assert_eq!(
        root.asked_of_systemd(),
        ["daemon-reload", "try-restart mintage.service"]
    );
    root.write("/var/lib/private/mintage/mintage.db", "data");
    let changed = root.read("/etc/mintage/mintage.toml") + "\n# Changed.\n";
    root.write("/etc/mintage/mintage.toml", &changed);
    let printed = rpm_of_root(&["-e", "mintage"]);
    assert!(printed.contains("/var/lib/private/mintage remains"), "{printed}");
    assert_eq!(
        root.asked_of_systemd(),
        ["--no-reload disable --now mintage.service", "daemon-reload"]
    );
    assert!(!root.path("/usr/bin/mintage").exists());
    assert_eq!(root.read("/etc/mintage/mintage.toml.rpmsave"), changed);
    assert_eq!(root.read("/var/lib/private/mintage/mintage.db"), "data");
}
