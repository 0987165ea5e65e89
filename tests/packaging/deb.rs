//! The .deb in a Debian 12.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::dist::{DebianRoot, artifact, output, run, text};

const CONFIGURATION: &str = "/etc/mintage/mintage.toml";

fn deb() -> PathBuf {
    artifact(".deb")
}

/// A package of an earlier version, with another configuration file.
fn previous(folder: &TempDir) -> PathBuf {
    let unpacked = folder.path().join("previous");
    let previous = folder.path().join("previous.deb");
    output("dpkg-deb", &["--raw-extract", text(&deb()), text(&unpacked)]);
    let edit = |file: &str, from: &str, to: &str| {
        let path = unpacked.join(file);
        let content = std::fs::read_to_string(&path).unwrap();
        assert!(content.contains(from), "{file}: {content}");
        std::fs::write(path, content.replace(from, to)).unwrap();
    };
    let now = format!("Version: {}", env!("CARGO_PKG_VERSION"));
    edit("DEBIAN/control", &now, "Version: 0.0.9");
    edit(
        CONFIGURATION.trim_start_matches('/'),
        "[server]",
        "# Of 0.0.9.\n[server]",
    );
    output(
        "dpkg-deb",
        &[
            "--build",
            "-Zgzip",
            "--root-owner-group",
            text(&unpacked),
            text(&previous),
        ],
    );
    previous
}

/// Installs with dpkg, which keeps changed configuration files without asking.
fn install(root: &DebianRoot, deb: &Path) -> String {
    let inside = root.bring(deb);
    root.output(&["dpkg", "--force-confdef", "-i", &inside])
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q60_the_deb_installs_on_debian_12_and_what_it_contains_runs() {
    let root = DebianRoot::unpack();
    let printed = install(&root, &deb());
    assert!(printed.contains("systemctl enable --now mintage"), "{printed}");
    let version = root.output(&["mintage", "--version"]);
    assert!(
        version.starts_with(concat!("mintage ", env!("CARGO_PKG_VERSION"), " (")),
        "{version}"
    );
    root.output(&["mintage", "--config", CONFIGURATION, "config", "check"]);
    assert!(root.server_becomes_ready());
    let mode = |inside: &str| std::fs::metadata(root.path(inside)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("/usr/bin/mintage"), mode(CONFIGURATION)), (0o755, 0o644));
    let conffiles = root.output(&["dpkg-query", "-W", "-f", "${Conffiles}", "mintage"]);
    assert!(conffiles.contains(CONFIGURATION), "{conffiles}");
    for file in [
        "/usr/share/man/man1/mintage.1.gz",
        "/usr/share/man/man1/mintage-client-create.1.gz",
        "/usr/share/bash-completion/completions/mintage",
        "/usr/share/fish/vendor_completions.d/mintage.fish",
        "/usr/share/zsh/vendor-completions/_mintage",
        "/usr/share/doc/mintage/copyright",
    ] {
        assert_ne!(std::fs::metadata(root.path(file)).unwrap().len(), 0, "{file}");
    }
    let enabled = root.path("/etc/systemd/system/multi-user.target.wants/mintage.service");
    assert!(enabled.symlink_metadata().is_err(), "the unit is enabled");
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q60_lintian_reports_no_error() {
    let suppressed = [
        // On purpose: the distribution's SQLite may lose commits in WAL mode (Cargo.toml).
        "embedded-library",
    ];
    let deb = deb();
    let suppress = suppressed.join(",");
    let ran = run(
        "lintian",
        &[
            "--allow-root",
            "--fail-on",
            "error",
            "--suppress-tags",
            &suppress,
            text(&deb),
        ],
    );
    assert!(ran.succeeded, "{}", ran.text);
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q60_remove_and_purge_keep_the_database_and_purge_names_it() {
    let root = DebianRoot::unpack();
    root.fake_systemd();
    install(&root, &deb());
    assert_eq!(root.asked_of_systemd(), ["daemon-reload"]);
    root.write("/var/lib/private/mintage/mintage.db", "data");
    root.output(&["dpkg", "-r", "mintage"]);
    assert_eq!(
        root.asked_of_systemd(),
        ["--no-reload disable --now mintage.service", "daemon-reload"]
    );
    assert!(root.path(CONFIGURATION).exists() && !root.path("/usr/bin/mintage").exists());
    assert_eq!(root.read("/var/lib/private/mintage/mintage.db"), "data");
    let printed = root.output(&["dpkg", "-P", "mintage"]);
    assert!(printed.contains("/var/lib/private/mintage remains"), "{printed}");
    assert!(!printed.contains("/etc/mintage remains"), "{printed}");
    assert!(!root.path("/etc/mintage").exists());
    assert_eq!(root.read("/var/lib/private/mintage/mintage.db"), "data");
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q60_an_upgrade_keeps_a_changed_configuration_and_restarts_only_what_runs() {
    let (root, folder) = (DebianRoot::unpack(), tempfile::tempdir().unwrap());
    root.fake_systemd();
    install(&root, &previous(&folder));
    let changed = root.read(CONFIGURATION) + "\n# Changed.\n";
    root.write(CONFIGURATION, &changed);
    root.asked_of_systemd();
    let printed = install(&root, &deb());
    assert!(printed.contains("over (0.0.9)"), "{printed}");
    assert!(!printed.contains("enable"), "{printed}");
    assert_eq!(
        root.asked_of_systemd(),
        ["daemon-reload", "try-restart mintage.service"]
    );
    assert_eq!(root.read(CONFIGURATION), changed);
    let new = root.read("/etc/mintage/mintage.toml.dpkg-dist");
    assert!(new.contains("[server]") && !new.contains("Of 0.0.9."), "{new}");
}

#[test]
#[ignore = "scripts/test --packaging"]
fn an_upgrade_replaces_an_unchanged_configuration() {
    let (root, folder) = (DebianRoot::unpack(), tempfile::tempdir().unwrap());
    install(&root, &previous(&folder));
    assert!(root.read(CONFIGURATION).contains("Of 0.0.9."));
    install(&root, &deb());
    assert!(!root.read(CONFIGURATION).contains("Of 0.0.9."));
}

#[test]
#[ignore = "scripts/test --packaging"]
fn the_deb_depends_on_the_libraries_that_the_binary_loads() {
    let depends = output("dpkg-deb", &["--field", text(&deb()), "Depends"]);
    let binary = crate::dist::binary();
    let dynamic = output("readelf", &["--wide", "--dynamic", text(&binary)]);
    let needed = dynamic
        .lines()
        .filter_map(|line| line.split("Shared library: [").nth(1));
    for library in needed.map(|line| line.trim_end_matches(']')) {
        let package = match library {
            "libssl.so.3" | "libcrypto.so.3" => "libssl3 (",
            "libgcc_s.so.1" => "libgcc-s1",
            "libc.so.6" | "libm.so.6" | "ld-linux-x86-64.so.2" | "ld-linux-aarch64.so.1" => "libc6 (",
            other => panic!("{other} is in no package that is named"),
        };
        assert!(depends.contains(package), "{library}: {depends}");
    }
    assert!(dynamic.contains("[libssl.so.3]"), "the system's OpenSSL is not linked");
}
