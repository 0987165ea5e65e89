//! Settings that are weaker than they should be: rejected, or named in the log and by `config check`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use testkit::Program;

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The standard error of a valid `config check`, by line.
fn warnings(program: &Program, arguments: &[&str]) -> Vec<String> {
    let outcome = program.run(&[arguments, &["config", "check"]].concat());
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "the configuration is valid\n"),
        "{outcome:?}"
    );
    outcome.stderr.lines().map(str::to_owned).collect()
}

/// The weak settings in the log of a server that is started and stopped.
fn logged(program: &Program) -> Vec<String> {
    let mut server = program.serve(&[]);
    server.stop();
    let log = server.log();
    let weak = log.lines().filter(|line| line.contains("weak setting"));
    weak.map(str::to_owned).collect()
}

#[test]
fn weak_settings_are_named_by_config_check_and_in_the_log() {
    let program = testkit::program!().with_database();
    assert_eq!((warnings(&program, &[]), logged(&program)), (vec![], vec![]));
    let weak = program
        .with("MINTAGE_SERVER__ADMIN_LISTEN", "0.0.0.0:0")
        .with("MINTAGE_SERVER__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]");
    let printed = warnings(&weak, &[]);
    assert_eq!(printed.len(), 2, "{printed:?}");
    assert!(
        printed[0].starts_with("mintage: warning: server.admin_listen: secrets and tokens cross"),
        "{printed:?}"
    );
    assert!(
        printed[1].starts_with("mintage: warning: server.trusted_proxies: ") && printed[1].ends_with(" (10.0.0.0/8)")
    );
    let lines = logged(&weak);
    assert!(
        lines[0].contains(" WARN  weak setting key=server.admin_listen reason=plain_http detail=0.0.0.0:0 hint="),
        "{lines:?}"
    );
    assert!(
        lines[1].contains(" key=server.trusted_proxies reason=wide_range detail=10.0.0.0/8 "),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn an_encryption_key_that_is_not_random_is_rejected() {
    for key in [
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ] {
        let program = testkit::program!()
            .with_database()
            .with("MINTAGE_KEYS__ENCRYPTION_KEY", key);
        for command in [&["serve"][..], &["config", "check"], &["key", "rotate"]] {
            let line = program.run(command);
            assert!(
                line.failed(1)
                    .starts_with("mintage: keys.encryption_key must be random"),
                "{line:?}"
            );
        }
    }
}

#[test]
fn a_file_that_every_user_can_change_is_rejected_and_one_that_they_can_read_is_named() {
    let program = testkit::program!().with_database();
    let database = program.database_path();
    chmod(&database, 0o666);
    for command in [
        &["serve"][..],
        &["config", "check"],
        &["client", "list"],
        &["migrate", "up"],
    ] {
        let line = program.run(command);
        let expected =
            "mintage: the file of database.url has mode 0666: every user of this machine can change it: chmod 600";
        assert_eq!(line.failed(1), expected);
    }
    chmod(&database, 0o644);
    let expected = [
        "mintage: warning: database.url: other users of this machine can read or change this file: chmod 600 (mode 0644)",
    ];
    assert_eq!(warnings(&program, &[]), expected);
    chmod(&database, 0o600);

    program.write("key", testkit::sample::ENCRYPTION_KEYS[0]);
    let with_key = program.clone().with("MINTAGE_KEYS__ENCRYPTION_KEY_FILE", "key");
    let (key, name) = (program.path("key"), "MINTAGE_KEYS__ENCRYPTION_KEY_FILE");
    chmod(&key, 0o646);
    assert!(
        with_key
            .run(&["client", "list"])
            .failed(1)
            .contains(&format!("the file of {name} has mode 0646"))
    );
    chmod(&key, 0o644);
    let lines = logged(&with_key);
    assert!(
        lines.len() == 1 && lines[0].contains(&format!("key={name} reason=open_file detail=\"mode 0644\"")),
        "{lines:?}"
    );
    chmod(&key, 0o440);
    assert_eq!(warnings(&with_key, &[]), Vec::<String>::new());
}

#[test]
fn a_file_of_certificate_authorities_that_every_user_can_change_is_rejected() {
    let local = "postgres://127.0.0.1:1/m";
    let named = format!("{local}?sslrootcert=ca.pem");
    let replicas = format!("[\"{named}\"]");
    let url = ("MINTAGE_DATABASE__URL", local);
    for (name, environment) in [
        ("sslrootcert for database.url", vec![("MINTAGE_DATABASE__URL", &*named)]),
        (
            "sslrootcert for database.replica_urls",
            vec![url, ("MINTAGE_DATABASE__REPLICA_URLS", &*replicas)],
        ),
        ("PGSSLROOTCERT for database.url", vec![url, ("PGSSLROOTCERT", "ca.pem")]),
        ("SSL_CERT_FILE for database.url", vec![url, ("SSL_CERT_FILE", "ca.pem")]),
    ] {
        let program = testkit::program!();
        let program = environment
            .iter()
            .fold(program, |program, (name, value)| program.with(name, value));
        program.write("ca.pem", "");
        let file = program.path("ca.pem");
        chmod(&file, 0o666);
        for command in [&["config", "check"][..], &["client", "list"], &["serve"]] {
            let expected = format!(
                "mintage: the file of {name} has mode 0666: every user of this machine can change it: chmod 600"
            );
            assert_eq!(program.run(command).failed(1), expected);
        }
        chmod(&file, 0o664);
        let printed = warnings(&program, &[]);
        let (variable, key) = name.split_once(" for ").unwrap();
        assert!(
            printed.len() == 1
                && printed[0].starts_with(&format!("mintage: warning: {key}: "))
                && printed[0].ends_with(&format!(" ({variable}, mode 0664)")),
            "{printed:?}"
        );
        chmod(&file, 0o644);
        assert_eq!(warnings(&program, &[]), Vec::<String>::new());
    }
    for environment in ["", "system"] {
        let program = testkit::program!()
            .with("MINTAGE_DATABASE__URL", local)
            .with("PGSSLROOTCERT", environment);
        assert_eq!(warnings(&program, &[]), Vec::<String>::new());
    }
    let program = testkit::program!().with("MINTAGE_DATABASE__URL", local);
    let home = program.path("").display().to_string();
    let program = program.with("HOME", &home);
    std::fs::create_dir(program.path(".postgresql")).unwrap();
    program.write(".postgresql/root.crt", "");
    chmod(&program.path(".postgresql/root.crt"), 0o666);
    let outcome = program.run(&["config", "check"]);
    let expected = "mintage: the file of ~/.postgresql/root.crt for database.url has mode 0666";
    assert!(outcome.failed(1).starts_with(expected), "{outcome:?}");
}

#[test]
fn a_file_that_every_user_can_replace_is_rejected() {
    let program = testkit::program!().with_database();
    let folder = program.path("open");
    std::fs::create_dir(&folder).unwrap();
    program.write("open/key", testkit::sample::ENCRYPTION_KEYS[0]);
    chmod(&program.path("open/key"), 0o600);
    program.write("open/mintage.toml", "");
    program.write("open/ca.pem", "");
    std::os::unix::fs::symlink("open/key", program.path("link")).unwrap();
    let (key, url) = ("MINTAGE_KEYS__ENCRYPTION_KEY_FILE", "MINTAGE_DATABASE_URL");
    let authorities = "postgres://127.0.0.1:1/m?sslrootcert=open/ca.pem";
    for (name, value, what) in [
        (key, "open/key", format!("the file of {key}")),
        (key, "link", format!("the file of {key}")),
        (
            "MINTAGE_CONFIG",
            "open/mintage.toml",
            "the file that MINTAGE_CONFIG names".into(),
        ),
        (url, authorities, "the file of sslrootcert for database.url".into()),
    ] {
        let program = program.clone().with(name, value);
        chmod(&folder, 0o777);
        for command in [&["config", "check"][..], &["client", "list"], &["serve"]] {
            let line = program.run(command);
            let expected = format!(
                "mintage: {what} is in a folder of mode 0777: every user of this machine can replace it: chmod o-w"
            );
            assert_eq!(line.failed(1), expected);
        }
        // As /tmp: only the owner of a file can replace it.
        chmod(&folder, 0o1777);
        assert_eq!(warnings(&program, &[]), Vec::<String>::new());
    }
    // Such a volume of a container is only named.
    chmod(&folder, 0o777);
    let program = program.with(url, "sqlite:open/mintage.db");
    let printed = warnings(&program, &[]);
    assert!(
        printed.len() == 1
            && printed[0].starts_with("mintage: warning: database.url: ")
            && printed[0].ends_with(" (folder, mode 0777)"),
        "{printed:?}"
    );
}

#[test]
fn a_configuration_file_with_a_password_is_private() {
    let program = testkit::program!().with_database();
    program.write("mintage.toml", "[redis]\nurl = \"redis://localhost\"\n");
    let file = program.path("mintage.toml");
    chmod(&file, 0o644);
    assert_eq!(warnings(&program, &[]), Vec::<String>::new());
    program.write("mintage.toml", "[redis]\nurl = \"redis://:hunter2@localhost\"\n");
    let printed = warnings(&program, &[]);
    assert!(
        printed.len() == 1 && printed[0].starts_with("mintage: warning: mintage.toml: other users"),
        "{printed:?}"
    );
    chmod(&file, 0o666);
    assert!(
        program
            .run(&["client", "list"])
            .failed(1)
            .contains("mintage.toml has mode 0666")
    );
    assert!(
        program
            .run(&["--config", "mintage.toml", "client", "list"])
            .failed(1)
            .contains("has mode 0666")
    );
}

#[test]
fn a_configuration_file_of_another_user_must_be_named() {
    let program = testkit::program!().with_database();
    program.write("mintage.toml", "[cache]\nttl = \"1m\"\n");
    let file = program.path("mintage.toml");
    // Only root can give a file away.
    if std::os::unix::fs::chown(&file, Some(65534), None).is_err() {
        return;
    }
    let line = program.run(&["client", "list"]);
    assert_eq!(
        line.failed(1),
        "mintage: mintage.toml belongs to another user: name it with --config to use it"
    );
    program.run(&["--config", "mintage.toml", "client", "list"]).done();
}

#[test]
fn a_password_on_the_command_line_is_named_by_every_command() {
    let url = "postgres://m:hunter2@127.0.0.1:1/m";
    let warning = "mintage: warning: --database-url: every user of this machine can read the password in the list of \
                   processes: set MINTAGE_DATABASE__URL_FILE";
    let program = testkit::program!();
    for command in [&["client", "list"][..], &["config", "show"], &["config", "check"]] {
        let outcome = program.run(&[&["--database-url", url], command].concat());
        let warned = outcome.stderr.lines().filter(|line| *line == warning).count();
        assert!(warned == 1 && !outcome.stderr.contains("hunter2"), "{outcome:?}");
    }
    let server = program.serve_unready(&["--database-url", url]);
    assert_eq!(
        server
            .log()
            .matches("key=--database-url reason=secret_on_command_line")
            .count(),
        1,
        "{}",
        server.log()
    );
}

#[test]
fn demo_clients_beyond_loopback_must_be_asked_for() {
    for variable in ["MINTAGE_SERVER__LISTEN", "MINTAGE_SERVER__ADMIN_LISTEN"] {
        let program = testkit::program!().with(variable, "0.0.0.0:0");
        let rejected = program.run(&["serve", "--dev"]);
        assert!(rejected.failed(2).contains("add --beyond-loopback"), "{rejected:?}");
        assert!(!program.database_path().exists());
        let mut server = program.clone().with_database().serve(&["--dev", "--beyond-loopback"]);
        server.stop();
        assert!(
            server
                .log()
                .contains("weak setting key=--dev reason=dev_beyond_loopback"),
            "{}",
            server.log()
        );
    }
    let alone = testkit::program!().run(&["serve", "--beyond-loopback"]);
    assert!(alone.failed(2).contains("--dev"), "{alone:?}");
}
