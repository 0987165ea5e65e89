//! What cannot succeed ends at once with one line, what destroys asks, and looking changes nothing.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use serde_json::json;
use testkit::Program;
use testkit::http::Request;
use testkit::sqlite::connect;

#[test]
fn no_command_but_serve_and_migrate_up_makes_a_database() {
    let program = testkit::program!();
    let path = program.database_path();
    let absolute = format!("there is no database sqlite:{}: ", path.display());
    program.write("clients.csv", "client_id,scope,secret\na,x,VerySecretVerySecret\n");
    for command in [
        &["client", "list"][..],
        &["client", "create", "--name", "n", "--scope", "a"],
        &["client", "show", "a"],
        &["client", "delete", "a"],
        &["client", "import", "clients.csv"],
        &["client", "secret", "add", "a"],
        &["key", "list"],
        &["key", "rotate"],
        &["route", "list"],
        &["route", "add", "--path", "/a", "--scope", "a"],
        &["audit"],
        &["migrate", "status"],
        &["migrate", "down", "--yes"],
    ] {
        let outcome = program.run(command);
        let line = outcome.failed(1);
        assert!(line.contains(&absolute) && line.contains("--database-url"), "{line}");
        assert!(!path.exists(), "{command:?}");
    }
}

#[test]
fn a_command_with_create_makes_a_database_and_names_it() {
    let program = testkit::program!();
    let create = [
        "client", "create", "--name", "n", "--scope", "a", "--id", "a", "--create",
    ];
    let outcome = program.run(&create);
    let expected = format!(
        "mintage: created the database sqlite:{}\n",
        program.database_path().display()
    );
    assert_eq!((outcome.code, outcome.stderr), (Some(0), expected));
    program.run(&["client", "show", "a"]).done();
}

fn ended(program: &Program, arguments: &[&str]) -> String {
    let began = Instant::now();
    let outcome = program.run(arguments);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    outcome.stderr
}

#[test]
fn a_server_does_not_wait_for_a_file_that_is_no_database() {
    let program = testkit::program!();
    std::fs::write(program.database_path(), "This text is not a database. ".repeat(100)).unwrap();
    let log = ended(&program, &["serve"]);
    assert!(log.contains("file is not a database"), "{log}");
    let line = ended(&program, &["client", "list"]);
    assert!(
        line.starts_with("mintage: the database cannot be used: ") && line.contains("file is not a database"),
        "{line}"
    );
    std::fs::remove_file(program.database_path()).unwrap();
    std::fs::create_dir(program.database_path()).unwrap();
    let log = ended(&program, &["serve"]);
    assert!(log.contains("Is a directory"), "{log}");
    program.write("file", "");
    let below = format!("sqlite:{}", program.path("file").join("mintage.db").display());
    let log = ended(&program.with("MINTAGE_DATABASE_URL", &below), &["serve"]);
    assert!(log.contains("Not a directory"), "{log}");
}

#[test]
fn a_command_on_a_database_that_is_down_names_the_cause_at_once() {
    let url = "postgres://mintage@127.0.0.1:1/mintage";
    let line = ended(
        &testkit::program!().with("MINTAGE_DATABASE_URL", url),
        &["client", "list"],
    );
    assert_eq!(line.matches("Connection refused").count(), 1, "{line}");
    assert!(!line.contains("timed out"), "{line}");
}

#[test]
fn serve_dev_does_not_touch_clients_that_it_has_not_made() {
    for id in ["ops", "demo"] {
        let program = testkit::program!().with_database();
        program.create_client(&["--name", "Operators", "--scope", "mintage:admin", "--id", id]);
        let before = program.run_json(&["client", "show", id]);
        let log = ended(&program, &["serve", "--dev"]);
        assert!(
            log.contains(&format!("client \"{id}\"")) && log.contains("--database-url"),
            "{log}"
        );
        assert_eq!(program.run_json(&["client", "show", id]), before);
        assert_eq!(
            program.run_json(&["client", "list"])["items"].as_array().unwrap().len(),
            1
        );
        assert_eq!(program.run_json(&["route", "list"])["items"], json!([]));
    }
}

#[test]
fn a_schema_newer_than_the_binary_is_named_and_not_reverted() {
    let program = testkit::program!().with_database();
    connect(&program.database_path())
        .batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000000')")
        .unwrap();
    let status = program.run(&["migrate", "status"]);
    let last = status.done().lines().last().unwrap();
    assert!(last.starts_with("newer ") && last.contains("20991231000000"), "{last}");
    let down = program.run(&["migrate", "down", "--yes"]);
    assert!(
        down.failed(1)
            .contains("20991231000000, which is newer than this binary"),
        "{down:?}"
    );
    let server = program.serve(&[]);
    let line = "schema newer than this binary migrations=20991231000000";
    assert!(server.log().contains(line), "{}", server.log());
    program.run(&["client", "list"]).done();
}

#[test]
fn migrate_down_needs_yes_and_is_refused_while_a_server_runs() {
    let program = testkit::program!().with_database();
    assert!(program.run(&["migrate", "down"]).failed(2).contains("--yes"));
    let mut server = program.serve(&[]);
    let refused = program.run(&["migrate", "down", "--yes"]);
    assert!(refused.failed(1).contains("stop all servers first"), "{refused:?}");
    assert!(!program.run(&["migrate", "status"]).done().contains("pending "));
    assert_eq!(server.send(&Request::get("/readyz")).status, 200);
    server.stop();
    program.run(&["migrate", "down", "--yes"]).done();
}

/// Runs a command at a terminal where someone types `typed`. Returns what the terminal shows.
fn at_a_terminal(program: &Program, arguments: &[&str], typed: &str) -> String {
    let command = program.command(arguments);
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let line: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    let mut script = Command::new("script");
    script.args(["-qec", &line.join(" "), "/dev/null"]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let mut child = script
        .current_dir(command.get_current_dir().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The end of the input would end the command.
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(typed.as_bytes()).unwrap();
    keyboard.flush().unwrap();
    let shown = child.wait_with_output().unwrap().stdout;
    drop(keyboard);
    String::from_utf8(shown).unwrap()
}

#[test]
fn what_destroys_asks_at_a_terminal() {
    let program = testkit::program!().with_database();
    for id in ["a", "b"] {
        program.create_client(&["--name", "n", "--scope", "x", "--id", id]);
    }
    let shown = at_a_terminal(&program, &["client", "delete", "a"], "n\n");
    assert!(
        shown.contains("Delete client a and its secrets? [y/N]") && shown.contains("nothing changed"),
        "{shown}"
    );
    program.run(&["client", "show", "a"]).done();
    let shown = at_a_terminal(&program, &["client", "delete", "a"], "y\n");
    assert!(shown.contains("client a deleted"), "{shown}");
    let shown = at_a_terminal(&program, &["client", "delete", "b", "--yes"], "");
    assert!(
        shown.contains("client b deleted") && !shown.contains("[y/N]"),
        "{shown}"
    );
    program.create_client(&["--name", "n", "--scope", "x", "--id", "c"]);
    let secret = program.run(&["client", "secret", "list", "c", "--json"]).json()["items"][0]["secret_id"].clone();
    let route = program
        .run(&["route", "add", "--path", "/a", "--scope", "x", "--json"])
        .json()["id"]
        .clone();
    let state = || {
        [&["key", "list"][..], &["client", "show", "c"], &["route", "list"]]
            .map(|command| program.run(command).done().to_owned())
    };
    for command in [
        &["key", "rotate", "--immediately"][..],
        &["client", "revoke-tokens", "c"],
        &["client", "secret", "revoke", "c", secret.as_str().unwrap()],
        &["route", "remove", route.as_str().unwrap()],
    ] {
        let before = state();
        let shown = at_a_terminal(&program, command, "\n");
        assert!(shown.contains("[y/N]") && shown.contains("nothing changed"), "{shown}");
        assert_eq!(state(), before, "{command:?}");
        let shown = at_a_terminal(&program, &[command, &["--yes"]].concat(), "");
        assert!(!shown.contains("[y/N]"), "{shown}");
        if command[1] != "revoke-tokens" {
            assert_ne!(state(), before, "{command:?}");
        }
    }
}

#[test]
fn q69_health_tells_whether_a_server_is_ready() {
    let program = testkit::program!().with_database();
    let server = program.serve(&[]);
    assert_eq!(program.run(&["health", "--url", &server.origin()]).done(), "ready\n");
    let here = program
        .clone()
        .with("MINTAGE_SERVER__LISTEN", &server.address.to_string());
    assert_eq!(here.run(&["health"]).done(), "ready\n");
    let refused = program.run(&["health", "--url", "http://127.0.0.1:1"]);
    assert!(refused.failed(1).contains("Connection refused"), "{refused:?}");
    let waiting = testkit::program!().with("MINTAGE_DATABASE_URL", "sqlite:missing/mintage.db");
    let waiting = waiting.serve_unready(&[]);
    waiting.wait_for_log("startup attempt failed");
    let not_ready = program.run(&["health", "--url", &waiting.origin()]);
    assert!(
        not_ready.failed(1).contains("not ready: the server is starting: "),
        "{not_ready:?}"
    );
    for (head, body, expected) in [
        ("503 Unavailable", "<html>\n\u{1b}[2J", "answers with status 503"),
        ("503 Unavailable", "{\"reason\":\"a\\nb\"}", "not ready: a\\nb"),
        ("404 Not Found", "", "answers with status 404"),
    ] {
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", proxy.local_addr().unwrap());
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = proxy.accept().unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let outcome = program.run(&["health", "--url", &url]);
        let line = outcome.failed(1);
        answering.join().unwrap();
        assert!(line.ends_with(expected), "{line:?}");
    }
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    let began = Instant::now();
    let no_answer = program.run(&["health", "--url", &url]);
    assert!(
        no_answer.failed(1).contains("does not answer within 2 s"),
        "{no_answer:?}"
    );
    assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
}
