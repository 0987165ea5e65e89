//! The command line helps: suggestions, examples, headers of lists, and errors with the next step.

/// The lines of a list, each as its columns.
fn columns(listed: &str) -> Vec<Vec<&str>> {
    let split = |line| {
        let cells = str::split(line, "  ").map(str::trim);
        cells.filter(|cell| !cell.is_empty()).collect()
    };
    listed.lines().map(split).collect()
}

/// Where each column of the header begins, every row has a column too.
fn assert_aligned(listed: &str, header: &[&str]) {
    let mut lines = listed.lines();
    let first = lines.next().unwrap();
    assert_eq!(columns(first)[0], header);
    for line in lines {
        for name in &header[1..] {
            let at = first.find(name).unwrap();
            assert_eq!(&line[at - 2..at], "  ", "{listed}");
            assert_ne!(&line[at..=at], " ", "{listed}");
        }
    }
}

#[test]
fn an_unknown_command_flag_or_value_is_answered_with_a_similar_one() {
    let program = testkit::program!();
    for (arguments, hint) in [
        (&["serv"][..], "did you mean `serve`?"),
        (&["clinet"], "did you mean `client`?"),
        (&["client", "lst"], "did you mean `list`?"),
        (&["client", "create", "--scop", "a"], "did you mean `--scope`?"),
        (&["completions", "bsh"], "did you mean `bash`?"),
    ] {
        let line = program.run(arguments);
        assert!(line.failed(2).contains(hint), "{line:?}");
    }
    let unlike = program.run(&["xyzzy"]);
    assert_eq!(
        unlike.failed(2),
        "mintage: unrecognized subcommand 'xyzzy' (see --help)"
    );
}

#[test]
fn help_is_a_command_too_and_shows_own_options_first_and_an_example() {
    let program = testkit::program!();
    let help = program.run(&["help"]);
    assert_eq!(help.done(), program.run(&["--help"]).done());
    let create = program.run(&["help", "client", "create"]);
    let text = create.done();
    assert_eq!(text, program.run(&["client", "create", "--help"]).done());
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
    let own = ["--name <", "--scope <", "--ttl <", "--json"].map(at);
    let global = at("Global options:");
    assert!(own.iter().all(|own| *own < global), "{text}");
    assert!(at("--config <FILE>") > global && at("--database-url <URL>") > global);
    assert!(at("Example:\n  mintage client create --name") > global);
}

#[test]
fn lists_have_a_header_and_aligned_columns() {
    let program = testkit::program!().with_database();
    let long = "a-client-id-that-is-longer-than-twenty-four-characters";
    program.create_client(&["--name", "n", "--id", "a", "--scope", "x"]);
    program.create_client(&["--name", "name", "--id", long, "--scope", "x y"]);
    program
        .run(&["route", "add", "--path", "/orders/{id}", "--scope", "x"])
        .done();
    for (arguments, header) in [
        (&["client", "list"][..], &["Client id", "Status", "Name", "Scope"][..]),
        (
            &["client", "secret", "list", long],
            &["Secret id", "Created", "Expires", "Last used"],
        ),
        (
            &["route", "list"],
            &["Route id", "Method", "Host", "Path", "Scope", "Audience"],
        ),
    ] {
        let listed = program.run(arguments);
        assert_aligned(listed.done(), header);
        assert!(listed.stdout.lines().count() > 1, "{listed:?}");
    }
}

#[test]
fn the_list_of_keys_says_when_the_next_one_is_due() {
    let program = testkit::program!()
        .with_database()
        .with("MINTAGE_KEYS__ROTATE_EVERY", "30d");
    let listed = program.run(&["key", "list"]);
    let rows = columns(listed.done());
    assert_eq!(
        rows[0],
        ["Alg", "Status", "Key id", "Activates", "Retires", "Next key due"]
    );
    assert_eq!(rows.len(), 6);
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    for row in &rows[1..] {
        // No key retires, so that column is empty. A key is published an hour before it signs.
        let [_, "active", _, activates, due] = row[..] else {
            panic!("{row:?}")
        };
        assert_eq!(time(due).duration_since(time(activates)).as_hours(), 30 * 24 - 1);
    }
}

#[test]
fn an_invalid_database_url_is_wrong_usage_and_its_password_is_not_printed() {
    let program = testkit::program!();
    for command in [&["client", "list"][..], &["config", "check"], &["serve"]] {
        let line = program.run(&[&["--database-url", "mysql://m:hunter2@h/d"], command].concat());
        let text = line.failed(2);
        assert!(
            text.starts_with("mintage: --database-url must be sqlite:PATH or postgres://"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
    // The same value elsewhere is a failure of the configuration.
    let variable = program.with("MINTAGE_DATABASE_URL", "mysql://m:hunter2@h/d");
    let line = variable.run(&["client", "list"]);
    assert!(line.failed(1).ends_with(" (MINTAGE_DATABASE_URL)"), "{line:?}");
}

#[test]
fn the_environment_of_a_service_in_kubernetes_stops_no_command() {
    let program = testkit::program!()
        .with_database()
        .with("MINTAGE_SERVICE_HOST", "10.0.0.1")
        .with("MINTAGE_PORT", "tcp://10.0.0.1:80")
        .with("MINTAGE_PORT_80_TCP_ADDR", "10.0.0.1")
        .with("MINTAGE_REDIS_SERVICE_PORT_RESP", "6379");
    program.run(&["client", "list"]).done();
    let mut server = program.serve(&[]);
    server.stop();
    let other = program.with("MINTAGE_LISTEN", "127.0.0.1:80");
    assert!(
        other
            .run(&["config", "check"])
            .failed(1)
            .contains("MINTAGE_LISTEN is not a setting")
    );
}

#[test]
fn the_metadata_names_the_address_where_the_server_listens() {
    let port = testkit::port::free();
    let program = testkit::program!()
        .with_database()
        .with("MINTAGE_SERVER__LISTEN", &format!("127.0.0.1:{port}"));
    let shown = program.run(&["config", "show"]);
    assert!(
        shown.done().contains(&format!("issuer = \"http://127.0.0.1:{port}\"")),
        "{shown:?}"
    );
}

#[test]
fn a_listener_beyond_loopback_without_an_issuer_is_warned_of() {
    let program = testkit::program!().with("MINTAGE_SERVER__LISTEN", "0.0.0.0:8090");
    let checked = program.run(&["config", "check"]);
    let warning = "mintage: warning: server.issuer: tokens and metadata name an address that only this machine reaches";
    assert!(
        checked.code == Some(0) && checked.stderr.contains(warning),
        "{checked:?}"
    );
    let set = program.with("MINTAGE_SERVER__ISSUER", "https://auth.example.com");
    assert!(!set.run(&["config", "check"]).stderr.contains("server.issuer"));
}

#[test]
fn a_server_that_cannot_listen_names_the_variable_and_what_to_set() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (key, address, hint) in [
        ("SERVER__LISTEN", &*taken, "set another port"),
        ("SERVER__ADMIN_LISTEN", &*taken, "set another port"),
        ("SERVER__LISTEN", "192.0.2.1:8080", "set an address of this machine"),
    ] {
        let variable = format!("MINTAGE_{key}");
        let outcome = testkit::program!()
            .with_database()
            .with("MINTAGE_SERVER__LISTEN", "127.0.0.1:0")
            .with(&variable, address)
            .run(&["serve"]);
        assert_eq!(outcome.code, Some(1));
        let line = outcome.stderr.lines().last().unwrap();
        assert!(line.contains(hint) && line.contains(&variable), "{outcome:?}");
    }
}

#[test]
fn the_version_is_printed_with_the_commit_if_the_build_knows_it() {
    let version = concat!("mintage ", env!("CARGO_PKG_VERSION"));
    let expected = match option_env!("BUILD_COMMIT").filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{version} ({commit})\n"),
        None => format!("{version}\n"),
    };
    assert_eq!(testkit::program!().run(&["--version"]).done(), expected);
}

#[test]
fn q100_the_versions_of_the_libraries_in_the_program_are_printed() {
    let program = testkit::program!();
    let short = program.run(&["version"]).done().to_owned();
    assert_eq!(short, program.run(&["--version"]).done());
    let long = program.run(&["version", "--verbose"]).done().to_owned();
    let mut lines = long.lines();
    assert_eq!(lines.next(), Some(short.trim_end()));
    let found: Vec<(&str, &str)> = lines.map(|line| line.split_once(' ').unwrap()).collect();
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["rustc", "OpenSSL", "AWS-LC", "SQLite", "libpq"]);
    for (name, text) in &found {
        let version = text.trim_start().split([' ', ',']).next().unwrap();
        let parts: Vec<&str> = version.split('.').collect();
        let is_number = |part: &&str| part.parse::<u32>().is_ok();
        assert!(parts.len() >= 2 && parts.iter().all(is_number), "{name}: {text}");
    }
    let lock = include_str!("../../Cargo.lock");
    assert!(lock.contains(&format!("+libpq-{}\"", found[4].1.trim())), "{long}");
    let origins = [", of the system", ", compiled in"];
    assert!(origins.iter().any(|origin| found[1].1.ends_with(origin)), "{long}");
}
