//! The command line: output, one-line errors, exit codes.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::http::Request;
use testkit::poll::until;
use testkit::token::{claims, token_request};
use testkit::{Program, Server, TestClient, eventually};

fn members(document: &Value) -> BTreeSet<&str> {
    document.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_created_client_can_use_its_id_secret_and_scope() {
    let program = testkit::program!().with_database();
    let created = program
        .run(&[
            "client",
            "create",
            "--name",
            "Shop",
            "--scope",
            "a b mintage:read",
            "--json",
        ])
        .json();
    assert_eq!(
        members(&created),
        BTreeSet::from(["client_id", "client_secret", "scope"])
    );
    assert_eq!(created["scope"], "a b mintage:read");
    let client = program.create_client(&[
        "--name", "n", "--id", "my shop", "--scope", "x", "--ttl", "90s", "--alg", "RS256",
    ]);
    assert_eq!(client.id, "my shop");
    let serving = program.serve(&[]);
    let answer = token_request(&client, &[]).send(serving.address);
    assert_eq!(answer.json()["expires_in"], 90);
    assert_eq!(claims(&answer.access_token())["sub"], "my shop");
}

#[test]
fn a_client_is_shown_with_exactly_these_members_and_without_its_secret() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&[
        "--name",
        "Shop",
        "--scope",
        "a b",
        "--default-scope",
        "a",
        "--audience",
        "https://one.example",
        "--audience",
        "urn:two:b",
        "--introspection-audience",
        "https://serves.example",
        "--auth-method",
        "client_secret_post",
        "--ttl",
        "1h",
        "--alg",
        "EdDSA",
        "--label",
        "team=shop",
    ]);
    let mut shown = program.run(&["client", "show", &client.id, "--json"]).json();
    for time in ["created_at", "updated_at"] {
        let text = shown[time].take();
        assert!(
            text.as_str().unwrap().ends_with('Z') && text.as_str().unwrap().contains('T'),
            "{text}"
        );
    }
    assert_eq!(
        shown,
        json!({
            "client_id": client.id, "name": "Shop", "enabled": true, "scope": "a b", "default_scope": "a",
            "audiences": ["https://one.example", "urn:two:b"], "introspection_audiences": ["https://serves.example"],
            "auth_methods": ["client_secret_post"], "ttl_seconds": 3600, "alg": "EdDSA", "default_audience": null,
            "claims": null, "scope_claim": null, "typ": null, "labels": {"team": "shop"}, "created_at": null, "updated_at": null,
        })
    );
    let text = program.run(&["client", "show", &client.id]);
    assert!(text.done().contains("https://one.example") && !text.stdout.contains(&client.secret));
}

#[test]
fn clients_are_listed_disabled_enabled_and_deleted() {
    let program = testkit::program!().with_database();
    let none = program.run(&["client", "list", "--json"]).json();
    assert_eq!(none, json!({"items": [], "next_cursor": null}));
    let client = program.create_client(&["--name", "n", "--id", "a", "--scope", "x"]);
    program.create_client(&["--name", "n", "--id", "b", "--scope", "x"]);
    let ids = |document: &Value| -> Vec<Value> {
        document["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["client_id"].clone())
            .collect()
    };
    assert_eq!(ids(&program.run(&["client", "list", "--json"]).json()), ["a", "b"]);
    let enabled = || program.run(&["client", "show", "a", "--json"]).json()["enabled"].clone();
    program.run(&["client", "disable", "a"]).done();
    assert_eq!(enabled(), false);
    assert_eq!(
        program.run(&["client", "enable", "a", "--json"]).json()["enabled"],
        true
    );
    assert_eq!(enabled(), true);
    program.run(&["client", "delete", "a"]).done();
    assert_eq!(ids(&program.run(&["client", "list", "--json"]).json()), ["b"]);
    program.run(&["client", "show", &client.id]).failed(1);
}

#[test]
fn a_failed_command_exits_with_1_and_one_line_that_says_what_to_do() {
    let program = testkit::program!().with_database();
    program.create_client(&["--name", "n", "--id", "taken", "--scope", "x"]);
    let taken = program.run(&["client", "create", "--name", "n", "--id", "taken", "--scope", "x"]);
    assert_eq!(
        taken.failed(1),
        "mintage: client \"taken\" already exists: choose another --id, change it with `mintage client update` or \
         `mintage client import --update`, or give \
         it another secret with `mintage client secret add`"
    );
    for command in ["show", "enable", "disable", "delete"] {
        let missing = program.run(&["client", command, "nobody"]);
        assert_eq!(
            missing.failed(1),
            "mintage: client \"nobody\" not found: see `mintage client list`"
        );
    }
    let no_database = program.run(&["--database-url", "sqlite:/nonexistent/a.db", "client", "list"]);
    assert!(
        no_database
            .failed(1)
            .starts_with("mintage: there is no database sqlite:/nonexistent/a.db: ")
    );
    let no_folder = program.run(&["--database-url", "sqlite:/nonexistent/a.db", "migrate", "up"]);
    assert!(no_folder.failed(1).ends_with("check database.url, or try again"));
    let no_file = program.run(&["--config", "missing.toml", "config", "check"]);
    assert!(no_file.failed(1).contains("missing.toml"));
    let serve = testkit::program!()
        .with_database()
        .with("MINTAGE_SERVER__LISTEN", "127.0.0.1:1x")
        .run(&["serve"]);
    assert!(serve.failed(1).contains("server.listen must be"));
}

#[test]
fn a_usage_error_exits_with_2_and_one_line() {
    let program = testkit::program!().with_database();
    for (arguments, named) in [
        (&["nonsense"][..], "nonsense"),
        (&[], "a subcommand is missing"),
        (&["client"], "a subcommand is missing"),
        (&["client", "create"], "--name"),
        (&["client", "create", "--name", "n"], "--scope"),
        (
            &["client", "create", "--name", "n", "--scope", "a", "--colour", "red"],
            "--colour",
        ),
        (&["client", "create", "--name", "n", "--scope", "a  b"], "--scope"),
        (
            &["client", "create", "--name", "n", "--scope", "a", "--id", "é"],
            "--id",
        ),
        (&["client", "create", "--name", "", "--scope", "a"], "--name"),
        (
            &["client", "create", "--name", "n", "--scope", "a", "--ttl", "31d"],
            "--ttl",
        ),
        (
            &["client", "create", "--name", "n", "--scope", "a", "--ttl", "0s"],
            "--ttl",
        ),
        (
            &["client", "create", "--name", "n", "--scope", "a", "--alg", "none"],
            "--alg",
        ),
        (
            &["client", "create", "--name", "n", "--scope", "a", "--audience", "x y"],
            "--audience",
        ),
        (
            &[
                "client",
                "create",
                "--name",
                "n",
                "--scope",
                "a",
                "--introspection-audience",
                "",
            ],
            "--introspection-audience",
        ),
        (
            &[
                "client",
                "create",
                "--name",
                "n",
                "--scope",
                "a",
                "--auth-method",
                "none",
            ],
            "--auth-method",
        ),
        (
            &[
                "client",
                "create",
                "--name",
                "n",
                "--scope",
                "a",
                "--default-scope",
                "b",
            ],
            "--default-scope",
        ),
        (&["client", "show"], "ID"),
        (&["client", "show", "é"], "ID"),
        (&["migrate", "sideways"], "sideways"),
        (&["serve", "--port", "1"], "--port"),
        (&["completions", "cmd"], "cmd"),
        (&["audit", "--after", "-1"], "expected a whole number, 0 or more"),
        (
            &["audit", "verify", "--accept-unhashed-until", "x"],
            "expected a whole number, 0 or more",
        ),
    ] {
        let line = program.run(arguments);
        assert!(line.failed(2).contains(named), "{arguments:?}: {line:?}");
    }
}

#[test]
fn the_former_name_of_a_flag_is_exit_2_with_a_hint() {
    let program = testkit::program!().with_database();
    for (arguments, hint) in [
        (
            &["--serves", "https://a.example"][..],
            "`--serves` is now `--introspection-audience`",
        ),
        (
            &["--serves=https://a.example"],
            "`--serves` is now `--introspection-audience`",
        ),
        (&["--no-serves"], "`--no-serves` is now `--no-introspection-audiences`"),
    ] {
        let outcome = program.run(&[&["client", "update", "a"], arguments].concat());
        assert!(outcome.failed(2).contains(hint), "{outcome:?}");
    }
}

#[test]
fn p12_a_client_id_has_1_to_128_characters() {
    let program = testkit::program!().with_database();
    let id = |length: usize| "~".repeat(length);
    program.create_client(&["--name", "n", "--scope", "a", "--id", &id(128)]);
    for length in [0, 129] {
        let rejected = program.run(&["client", "create", "--name", "n", "--scope", "a", "--id", &id(length)]);
        assert!(rejected.failed(2).contains("--id"));
    }
}

#[test]
fn p19_a_default_scope_never_contains_admin_scopes() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a mintage:admin b"]);
    assert_eq!(
        program.run(&["client", "show", &client.id, "--json"]).json()["default_scope"],
        "a b"
    );
}

#[test]
fn keys_are_listed_without_private_members() {
    let program = testkit::program!().with_database();
    let document = program.run(&["key", "list", "--json"]).json();
    let keys = document["items"].as_array().unwrap();
    let algorithms: BTreeSet<&str> = keys.iter().map(|key| key["alg"].as_str().unwrap()).collect();
    assert_eq!(
        (keys.len(), algorithms),
        (5, BTreeSet::from(["ES256", "EdDSA", "HS256", "PS256", "RS256"]))
    );
    for key in keys {
        let expected = [
            "kid",
            "alg",
            "state",
            "encrypted",
            "created_at",
            "activates_at",
            "retires_at",
        ];
        assert_eq!(
            (members(key), &key["state"]),
            (BTreeSet::from(expected), &json!("active"))
        );
    }
    let listed = program.run(&["key", "list"]);
    assert_eq!(listed.done().lines().count(), 1 + 5);
    assert!(
        testkit::program!()
            .migrated()
            .run(&["key", "list"])
            .done()
            .starts_with("No signing keys yet")
    );
}

#[test]
fn migrations_are_applied_and_reverted() {
    let program = testkit::program!();
    let run = |step: &str| {
        let yes: &[&str] = if step == "down" { &["--yes"] } else { &[] };
        program.run(&[&["migrate", step], yes].concat()).done().to_owned()
    };
    assert!(run("up").lines().all(|line| line.starts_with("applied ")));
    assert_eq!(run("up"), "the schema is up to date\n");
    assert!(run("status").lines().all(|line| line.starts_with("applied ")));
    program.create_client(&["--name", "n", "--scope", "a"]);
    assert!((0..100).any(|_| run("down") == "there is nothing to revert\n"));
    assert!(run("status").lines().all(|line| line.starts_with("pending ")));
    run("up");
    assert_eq!(program.run(&["client", "list", "--json"]).json()["items"], json!([]));
}

#[test]
fn only_serve_and_migrate_up_migrate_the_schema() {
    let program = testkit::program!().migrated();
    program.run(&["migrate", "down", "--yes"]).done();
    let pending = || program.run(&["migrate", "status"]).done().matches("pending ").count();
    for command in [
        &["client", "list"][..],
        &["client", "create", "--name", "n", "--scope", "a", "--create"],
        &["key", "rotate"],
        &["route", "list"],
    ] {
        let outcome = program.run(command);
        let line = outcome.failed(1);
        assert!(
            line.contains("it lacks 2026-") && line.ends_with("run `mintage migrate up`"),
            "{line}"
        );
        assert_eq!(pending(), 1, "{command:?}");
    }
    program.run(&["migrate", "up"]).done();
    program.run(&["client", "list"]).done();
    program.run(&["migrate", "down", "--yes"]).done();
    program.serve(&[]);
    assert_eq!(pending(), 0);
}

#[test]
fn g8_the_configuration_is_shown_with_its_passwords_masked() {
    let program = testkit::program!()
        .with("MINTAGE_DATABASE_URL", "postgres://mintage:hunter2@db/mintage")
        .with(
            "MINTAGE_DATABASE__REPLICA_URLS",
            "[\"postgres://r:hunter2@replica/mintage\"]",
        )
        .with("MINTAGE_REDIS__URL", "redis://:hunter2@redis")
        .with(
            "MINTAGE_KEYS__ENCRYPTION_KEY",
            "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ=",
        );
    let shown = program.run(&["config", "show"]);
    let config: toml::Table = shown.done().parse().unwrap();
    assert_eq!(
        config["database"]["url"].as_str(),
        Some("postgres://mintage:***@db/mintage")
    );
    assert_eq!(config["keys"]["encryption_key"].as_str(), Some("***"));
    assert!(
        !shown.stdout.contains("hunter2") && !shown.stdout.contains("aHVudGVy"),
        "{}",
        shown.stdout
    );
}

#[test]
fn g8_a_password_is_masked_in_every_form_of_a_postgresql_url() {
    for url in [
        "postgres://m:hunter2@one:5432,two:5432/mintage",
        "postgres://m:hunter2@/mintage?host=/run",
        "postgres://db/mintage?user=m&password=hunter2",
        "postgres://db/mintage?passw%6Frd=hunter2",
        "postgres://db/mintage?%70assword=hunter2",
        "postgres://m:hun?ter2:hunter2@db/mintage",
        "postgres://m@db/mintage?oauth_client_secret=hunter2",
    ] {
        let shown = testkit::program!()
            .with("MINTAGE_DATABASE_URL", url)
            .run(&["config", "show"]);
        assert!(!shown.done().contains("hunter2"), "{}", shown.stdout);
        assert!(shown.stdout.contains("mintage"));
    }
}

#[test]
fn config_check_reports_unknown_keys_and_invalid_values() {
    let program = testkit::program!();
    program.write("mintage.toml", "[cache]\nttl = \"1m\"\n");
    assert_eq!(program.run(&["config", "check"]).done(), "the configuration is valid\n");
    program.write("mintage.toml", "[cache]\nttl = \"1m\"\ncolour = \"red\"\n");
    let unknown = program.run(&["config", "check"]);
    assert!(unknown.failed(1).contains("colour") && unknown.stderr.contains("(mintage.toml, line 3)"));
    program.write("mintage.toml", "[cache]\nttl = \"0s\"\n");
    assert!(
        program
            .run(&["config", "check"])
            .failed(1)
            .contains("cache.ttl must be")
    );
}

#[test]
fn flag_overrides_environment_overrides_file_overrides_default() {
    let url = |program: &Program, arguments: &[&str]| {
        let shown = program.run(&[arguments, &["config", "show"]].concat());
        let config: toml::Table = shown.done().parse().unwrap();
        config["database"]["url"].as_str().unwrap().to_owned()
    };
    let mut program = testkit::program!();
    assert_eq!(url(&program, &[]), "sqlite:mintage.db");
    program.write("mintage.toml", "[database]\nurl = \"sqlite:file.db\"\n");
    assert_eq!(url(&program, &[]), "sqlite:file.db");
    program = program.with("MINTAGE_DATABASE__URL", "sqlite:long.db");
    assert_eq!(url(&program, &[]), "sqlite:long.db");
    program = program.with("MINTAGE_DATABASE_URL", "sqlite:short.db");
    assert_eq!(url(&program, &[]), "sqlite:short.db");
    assert_eq!(url(&program, &["--database-url", "sqlite:flag.db"]), "sqlite:flag.db");
    program.write("other.toml", "[token]\nttl = \"7m\"\n");
    program = program.with("MINTAGE_CONFIG", "other.toml");
    assert!(program.run(&["config", "show"]).done().contains("ttl = \"7m\""));
}

#[test]
fn every_setting_can_come_from_the_environment_or_from_a_separate_file() {
    let program = testkit::program!()
        .with("MINTAGE_DATABASE__POOL__MAX_SIZE", "7")
        .with("MINTAGE_SERVER__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]")
        .with("MINTAGE_TOKEN__AUDIENCE_FILE", "audience");
    program.write("audience", "urn:example:from-file\n");
    let config: toml::Table = program.run(&["config", "show"]).done().parse().unwrap();
    assert_eq!(config["database"]["pool"]["max_size"].as_integer(), Some(7));
    assert_eq!(
        config["server"]["trusted_proxies"].as_array().unwrap()[0].as_str(),
        Some("10.0.0.0/8")
    );
    assert_eq!(config["token"]["audience"].as_str(), Some("urn:example:from-file"));
    let unknown = program.with("MINTAGE_TOKEN__COLOUR", "red").run(&["config", "show"]);
    assert!(unknown.failed(1).contains("MINTAGE_TOKEN__COLOUR"));
}

#[test]
fn completions_and_help_go_to_standard_output() {
    let program = testkit::program!();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(
            program.run(&["completions", shell]).done().contains("mintage"),
            "{shell}"
        );
    }
    assert!(program.run(&["--help"]).done().contains("serve"));
    assert!(program.run(&["--version"]).done().starts_with("mintage "));
    for missing in ["mintage.db", "mintage.toml"] {
        assert!(
            !program.path(missing).exists(),
            "a command that needs no database created {missing}"
        );
    }
}

#[test]
fn serve_fails_if_its_port_is_in_use() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let outcome = testkit::program!()
        .with_database()
        .with("MINTAGE_SERVER__LISTEN", &address)
        .run(&["serve"]);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome
            .stderr
            .contains(&format!("cannot listen on {address} (server.listen)")),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("set another port"), "{outcome:?}");
}

/// Runs a text in a shell, as if it were pasted there.
fn paste(text: &str) -> String {
    let output = Command::new("sh").arg("-c").arg(text).output().unwrap();
    assert!(output.status.success(), "{text}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn serve_dev_prints_commands_that_work_as_printed() {
    assert!(!paste("command -v curl").is_empty(), "this test needs curl");
    let program = testkit::program!();
    let mut serving = program.serve(&["--dev"]);
    let printed = eventually("the commands are printed", Duration::from_secs(5), || {
        Some(serving.stdout()).filter(|text| text.contains("stats"))
    });
    assert!(printed.contains(&format!("http://{}", serving.address)), "{printed}");
    // A step is a line that begins with # and the commands up to the next empty line.
    let steps: Vec<&str> = printed
        .split("\n\n")
        .filter(|step| step.trim_start().starts_with('#'))
        .collect();
    let [token, export, introspect, validate, revoke, stats] = steps[..] else {
        panic!("six steps: {printed}")
    };
    assert!(
        token.starts_with("# get a token\n") && stats.starts_with("# read /admin/cache/stats"),
        "{printed}"
    );
    let run_step = |step: &str| paste(&format!("{export}\n{step}"));
    assert!(run_step(introspect).starts_with("{\"active\":true"));
    let validated = run_step(validate);
    assert!(
        validated.starts_with("HTTP/1.1 200") && validated.contains("x-client-id: demo"),
        "{validated}"
    );
    assert_eq!(run_step(&format!("{revoke}\n{introspect}")), "{}{\"active\":false}");
    let token: Value = serde_json::from_str(&paste(token)).unwrap();
    assert_eq!(
        (&token["token_type"], &token["scope"]),
        (&json!("Bearer"), &json!("orders:read orders:write"))
    );
    let stats: Value = serde_json::from_str(&paste(stats)).unwrap();
    assert!(stats["workers"].is_array(), "{stats}");
    // Pasting all of it together works, too.
    let (introduction, commands) = printed.split_at(printed.find('#').unwrap());
    paste(commands);
    // The secret of the console stands alone on its line, to be copied.
    let secret = introduction.lines().find(|line| line.starts_with("mtgcs")).unwrap();
    assert!(commands.contains(&format!("-u ops:{secret} ")), "{printed}");
    serving.stop();
}

#[test]
fn serve_dev_creates_two_clients_with_new_secrets_on_each_start() {
    let program = testkit::program!().with_database();
    let line = |serving: &Server| {
        let printed = || {
            serving
                .stdout()
                .lines()
                .find(|line| line.starts_with("curl -s -u demo:"))
                .map(str::to_owned)
        };
        eventually("the commands are printed", Duration::from_secs(5), printed)
    };
    let mut serving = program.serve(&["--dev"]);
    let first = line(&serving);
    serving.stop();
    let scope = |id: &str| program.run(&["client", "show", id, "--json"]).json()["scope"].clone();
    assert_eq!(
        (scope("demo"), scope("ops")),
        (json!("orders:read orders:write"), json!("mintage:admin"))
    );
    let serving = program.serve(&["--dev"]);
    assert_ne!(line(&serving).split(' ').nth(3), first.split(' ').nth(3));
    // What is new of a client is the secret.
    let audit = program.run(&["audit"]).done().to_owned();
    let updates = audit.lines().filter(|line| line.contains("client.update"));
    let updates: Vec<Value> = updates.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(updates.len(), 2, "{audit}");
    for update in updates {
        let ids = &update["detail"]["secret_ids"];
        assert!(
            ids["before"][0].is_string() && ids["before"] != ids["after"],
            "{update}"
        );
        assert!(update["detail"].get("client").is_none(), "{update}");
    }
}

#[test]
fn serve_dev_opens_metrics_and_a_reload_leaves_them_open() {
    let program = testkit::program!()
        .with_database()
        .with("MINTAGE_SERVER__OPEN_METRICS", "false");
    let metrics = |serving: &Server| serving.send(&Request::get("/metrics")).status;
    let mut closed = program.serve(&[]);
    assert_eq!(metrics(&closed), 401);
    closed.stop();
    let mut serving = program.serve(&["--dev"]);
    assert_eq!(metrics(&serving), 200);
    serving.signal("HUP");
    serving.wait_for_log("configuration reloaded");
    assert_eq!(metrics(&serving), 200);
    serving.stop();
    let log = serving.log();
    assert!(!log.contains("needs restart") && !log.contains("WARN"), "{log}");
}

#[test]
fn metrics_that_are_open_beyond_this_machine_are_logged_at_the_start() {
    for (more, is_warned) in [
        (&[("MINTAGE_SERVER__LISTEN", "0.0.0.0:0")][..], true),
        (&[("MINTAGE_SERVER__LISTEN", "[::ffff:127.0.0.1]:0")], false),
        (
            &[
                ("MINTAGE_SERVER__LISTEN", "0.0.0.0:0"),
                ("MINTAGE_SERVER__OPEN_METRICS", "false"),
            ],
            false,
        ),
        (
            &[
                ("MINTAGE_SERVER__LISTEN", "0.0.0.0:0"),
                ("MINTAGE_SERVER__ADMIN_LISTEN", "127.0.0.1:0"),
            ],
            false,
        ),
    ] {
        let mut serving = testkit::program!().with_database().with_all(more).serve(&[]);
        serving.stop();
        let log = serving.log();
        let line = log
            .lines()
            .find(|line| line.contains("weak setting key=server.open_metrics"));
        assert_eq!(line.is_some(), is_warned, "{log}");
        assert!(line.is_none_or(|line| line.contains(" WARN ") && line.contains(" detail=0.0.0.0:0 ")));
    }
}

#[test]
fn without_dev_no_client_is_created_and_nothing_is_printed() {
    let program = testkit::program!().with_database();
    let mut serving = program.serve(&[]);
    Request::post("/token")
        .basic_raw("demo:demo")
        .form_raw("grant_type=client_credentials")
        .send(serving.address)
        .assert_invalid_client();
    serving.stop();
    assert_eq!(serving.stdout(), "");
    assert_eq!(program.run(&["client", "list", "--json"]).json()["items"], json!([]));
}

#[test]
fn an_update_changes_only_the_named_fields() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a b", "--ttl", "1m", "--audience", "urn:a:b"]);
    let update = |arguments: &[&str]| {
        let whole = [&["client", "update", client.id.as_str(), "--json"], arguments].concat();
        program.run(&whole).json()
    };
    let before = program.run(&["client", "show", &client.id, "--json"]).json();
    let after = update(&["--name", "m", "--scope", "a c", "--alg", "HS256"]);
    assert_eq!(
        (&after["name"], &after["scope"], &after["default_scope"], &after["alg"]),
        (&json!("m"), &json!("a c"), &json!("a c"), &json!("HS256"))
    );
    assert_eq!(
        (&after["ttl_seconds"], &after["audiences"]),
        (&json!(60), &json!(["urn:a:b"]))
    );
    assert!(after["updated_at"].as_str() > before["updated_at"].as_str());
    let back = update(&[
        "--ttl",
        "default",
        "--alg",
        "default",
        "--no-audiences",
        "--default-scope",
        "a",
    ]);
    assert_eq!(
        (
            &back["ttl_seconds"],
            &back["alg"],
            &back["audiences"],
            &back["default_scope"]
        ),
        (&Value::Null, &Value::Null, &json!([]), &json!("a"))
    );
    assert_eq!(update(&["--default-scope", "auto"])["default_scope"], "a c");
    let output = program.run(&["client", "update", &client.id, "--name", "k"]);
    assert_eq!(output.done(), format!("client {} updated\n", client.id));
    let wider = program.run(&["client", "update", &client.id, "--scope", "a c d"]);
    assert_eq!(wider.done(), format!("client {} updated\n", client.id));
    let narrower = program.run(&["client", "update", &client.id, "--scope", "a e"]);
    let expected = format!(
        "client {0} updated\nTokens issued before keep the old scope until they expire: `mintage client revoke-tokens \
         {0}` ends them.\n",
        client.id
    );
    assert_eq!(narrower.done(), expected);
    let operator = program.create_client(&["--name", "o", "--scope", "a mintage:admin"]);
    let narrower = program.run(&["client", "update", &operator.id, "--scope", "a"]);
    assert_eq!(
        narrower.done(),
        format!("client {} updated\n", operator.id),
        "the old tokens are worth nothing at the admin API"
    );
}

#[test]
fn an_invalid_update_is_rejected() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    for (arguments, named) in [
        (&["--scope", "a  b"][..], "--scope"),
        (&["--default-scope", "b"], "--default-scope"),
        (&["--ttl", "31d"], "--ttl"),
        (&["--alg", "none"], "--alg"),
        (&["--audience", "x y"], "--audience"),
        (&["--audience", "urn:a:b", "--no-audiences"], "--no-audiences"),
        (&["--name", ""], "--name"),
    ] {
        let rejected = program.run(&[&["client", "update", client.id.as_str()], arguments].concat());
        assert!(rejected.failed(2).contains(named), "{arguments:?}: {rejected:?}");
    }
    let missing = program.run(&["client", "update", "nobody", "--name", "n"]);
    assert_eq!(
        missing.failed(1),
        "mintage: client \"nobody\" not found: see `mintage client list`"
    );
}

#[test]
fn p16_secrets_are_rotated_with_an_overlap() {
    let program = testkit::program!().with_database();
    let old = program.create_client(&["--name", "n", "--scope", "a"]);
    let serving = program.serve(&[]);
    let status = |client: &TestClient| token_request(client, &[]).send(serving.address).status;
    let soon = |client: &TestClient, expected: u16| {
        until("the change takes effect", Duration::from_secs(10), || {
            status(client) == expected
        });
    };
    assert_eq!(status(&old), 200);
    let created = program
        .run(&["client", "secret", "add", &old.id, "--others-expire-in", "7d", "--json"])
        .json();
    assert_eq!(
        members(&created),
        BTreeSet::from(["secret_id", "client_secret", "expires_at"])
    );
    let new = old.with_secret(created["client_secret"].as_str().unwrap());
    soon(&new, 200);
    assert_eq!(status(&old), 200);
    let listed = program.run(&["client", "secret", "list", &old.id, "--json"]).json();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(
        members(&items[0]),
        BTreeSet::from(["secret_id", "created_at", "expires_at", "last_used_at"])
    );
    assert!(
        items[0]["expires_at"].is_string() && items[1]["expires_at"].is_null(),
        "{listed}"
    );
    let old_id = items[0]["secret_id"].as_str().unwrap();
    let revoked = program
        .run(&["client", "secret", "revoke", &old.id, old_id, "--json"])
        .json();
    assert_eq!(revoked, json!({"secret_id": old_id, "revoked": true}));
    soon(&old, 401);
    assert_eq!(status(&new), 200);
}

#[test]
fn a_secret_is_shown_once_and_never_listed() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let added = program.run(&["client", "secret", "add", &client.id, "--expires-in", "30d"]);
    let secret = added
        .done()
        .split_whitespace()
        .find(|word| word.starts_with("mtgcs"))
        .unwrap();
    assert!(added.stdout.contains("not shown again"));
    let listed = program.run(&["client", "secret", "list", &client.id]);
    assert_eq!(listed.done().lines().count(), 1 + 2);
    for shown in [listed.stdout, program.run(&["audit"]).stdout] {
        assert!(!shown.contains(secret) && !shown.contains(&client.secret), "{shown}");
    }
}

#[test]
fn a_failed_secret_command_prints_one_line() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let secret = |arguments: &[&str]| program.run(&[&["client", "secret"], arguments].concat());
    for _ in 0..9 {
        secret(&["add", &client.id]).done();
    }
    assert_eq!(
        secret(&["add", &client.id]).failed(1),
        format!(
            "mintage: at most 10 secrets per client: revoke one of `mintage client secret list {}`",
            client.id
        )
    );
    for arguments in [&["add", "nobody"][..], &["list", "nobody"]] {
        assert_eq!(
            secret(arguments).failed(1),
            "mintage: client \"nobody\" not found: see `mintage client list`"
        );
    }
    assert!(
        secret(&["revoke", &client.id, "x"])
            .failed(1)
            .contains(&format!("secret \"x\" of client {} not found", client.id))
    );
    for bad in ["soon", "0s", "999ms", "4000d"] {
        assert!(
            secret(&["add", &client.id, "--expires-in", bad])
                .failed(2)
                .contains("--expires-in")
        );
    }
    assert!(
        secret(&["add", &client.id, "--others-expire-in", "4000d"])
            .failed(2)
            .contains("--others-expire-in")
    );
    let update = program.run(&["client", "update", &client.id]);
    assert!(update.failed(2).contains("nothing to change"));
}

#[test]
fn the_audit_log_is_printed_as_json_lines_after_a_given_id() {
    let program = testkit::program!().with_database();
    assert_eq!(program.run(&["audit"]).done(), "");
    program.create_client(&["--name", "n", "--id", "a", "--scope", "x"]);
    program.run(&["client", "disable", "a"]).done();
    program.run(&["client", "revoke-tokens", "a"]).done();
    program.run(&["client", "delete", "a"]).done();
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let printed = program.run(&[&["audit"], arguments].concat());
        printed
            .done()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let all = lines(&[]);
    let actions: Vec<&Value> = all.iter().map(|line| &line["action"]).collect();
    assert_eq!(
        json!(actions),
        json!([
            "client.create",
            "client.update",
            "client.revoke_tokens",
            "client.delete"
        ])
    );
    for line in &all {
        let expected = [
            "id",
            "at",
            "actor",
            "actor_kind",
            "source",
            "action",
            "subject",
            "detail",
            "context",
            "hash",
        ];
        assert_eq!(members(line), BTreeSet::from(expected));
        assert_eq!((&line["actor_kind"], &line["subject"]), (&json!("user"), &json!("a")));
        assert!(line["source"].as_str().unwrap().starts_with("command line"), "{line}");
    }
    assert_eq!(lines(&["--after", &all[1]["id"].to_string()]), all[2..]);
    assert_eq!(lines(&["--after", &all[3]["id"].to_string()]), Vec::<Value>::new());
}

/// The output of `id` with an option, without the line break.
fn id(option: &str) -> String {
    let output = std::process::Command::new("id").arg(option).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_actor_of_a_command_is_the_user_of_the_process() {
    let program = testkit::program!().with_database();
    let environments: [&[(&str, &str)]; 3] = [
        &[("SUDO_USER", "alice (the CISO)\n"), ("SUDO_UID", "1")],
        &[("USER", "alice"), ("LOGNAME", "alice")],
        &[],
    ];
    for (environment, client) in environments.into_iter().zip(["a", "b", "c"]) {
        let mut command = program.command(&["client", "create", "--name", "n", "--id", client, "--scope", "x"]);
        for name in ["SUDO_USER", "SUDO_UID", "USER", "LOGNAME"] {
            command.env_remove(name);
        }
        assert!(
            command
                .envs(environment.iter().copied())
                .output()
                .unwrap()
                .status
                .success()
        );
    }
    let printed = program.run(&["audit"]);
    let lines: Vec<Value> = printed
        .done()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let actor = format!("{} uid={}", id("-un"), id("-u"));
    for line in &lines {
        assert_eq!(
            (&line["actor"], &line["actor_kind"]),
            (&json!(actor), &json!("user")),
            "{line}"
        );
    }
    let claims = |line: &Value| {
        (
            line["context"]["sudo_user"].clone(),
            line["context"]["sudo_uid"].clone(),
        )
    };
    let claimed: Vec<_> = lines.iter().map(claims).collect();
    let none = (Value::Null, Value::Null);
    assert_eq!(
        claimed,
        [(json!("alice (the CISO)\\n"), json!("1")), none.clone(), none]
    );
}
