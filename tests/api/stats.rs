//! `mintage stats`, the true program, beside a true server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::app::{TestApp, eventually};
use crate::http::Request;
use crate::program::Program;

const FAST: [&str; 2] = ["--interval", "200ms"];

fn arguments<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["stats", "--url", url], more, &FAST].concat()
}

/// Answers every connection with the same bytes, until the test ends.
fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(10) {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(bytes);
        }
    });
    format!("http://{address}")
}

#[test]
fn one_interval_is_shown_as_json_with_what_happened_in_it() {
    let (app, program) = (TestApp::start(), Program::on_empty_database());
    let client = app.client(|_| {});
    let url = format!("http://{}", app.address);
    let command = ["stats", "--url", &url, "--once", "--json", "--interval", "1s"];
    let figures: Value = std::thread::scope(|scope| {
        let watching = scope.spawn(|| program.run(&command).json());
        while !watching.is_finished() {
            app.issue(&client, &[]);
            app.ask(&client.with_secret("wrong"), &[]);
        }
        watching.join().unwrap()
    });
    let at = |pointer: &str| {
        figures
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer} in {figures}"))
    };
    let number = |pointer| at(pointer).as_f64().unwrap_or_else(|| panic!("{pointer} in {figures}"));
    for positive in [
        "/tokens_per_second",
        "/refused_per_second",
        "/hit_rate",
        "/pool/max_size",
    ] {
        assert!(number(positive) > 0.0, "{positive} in {figures}");
    }
    assert!(
        number("/requests_per_second") > number("/tokens_per_second"),
        "{figures}"
    );
    let (p50, p99) = (number("/latency_seconds/p50"), number("/latency_seconds/p99"));
    assert!(0.0 < p50 && p50 <= p99 && p99 < 5.0, "{figures}");
    assert!((0.9..10.0).contains(&number("/interval_seconds")), "{figures}");
    assert!(
        number("/writer/pending") >= 0.0 && number("/revocations") == 0.0,
        "{figures}"
    );
    assert_eq!((at("/breaker"), at("/ready")), (&"closed".into(), &true.into()));
    assert_eq!(
        (at("/version"), at("/route")),
        (&env!("CARGO_PKG_VERSION").into(), &"/token".into())
    );
}

#[test]
fn a_pipe_gets_a_line_an_interval_until_it_is_closed() {
    let (app, program) = (TestApp::shared(), Program::on_empty_database());
    let url = format!("http://{}", app.address);
    let mut child = program
        .command(&arguments(&url, &[]))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line = lines.next().unwrap().unwrap();
        for word in [
            " tokens/s=",
            " p99=",
            " hit_rate=",
            " pending=",
            " pool=",
            " breaker=closed",
            " revocations=",
        ] {
            assert!(line.contains(word), "{word} in {line}");
        }
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
    // As `| head -3` does.
    drop(lines);
    let ended = eventually(Duration::from_secs(10), || child.try_wait().unwrap());
    assert_eq!(ended.expect("it ends").code(), Some(0));
}

/// A terminal of its own: `script` makes one.
#[test]
fn a_terminal_is_redrawn() {
    let (app, program) = (TestApp::shared(), Program::on_empty_database());
    let url = format!("http://{}", app.address);
    let command = format!("{} {}", env!("CARGO_BIN_EXE_mintage"), arguments(&url, &[]).join(" "));
    let spawned = std::process::Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command", &command, "/dev/null"])
        .current_dir(program.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        return eprintln!("script is not installed");
    };
    let (mut screen, mut drawn) = (child.stdout.take().unwrap(), String::new());
    let mut piece = [0; 4096];
    while drawn.matches("\u{1b}[H\u{1b}[2J").count() < 3 {
        let length = screen.read(&mut piece).unwrap();
        assert!(length > 0, "{drawn}");
        drawn.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for word in [
        "tokens ",
        "latency ",
        "writer ",
        "pool ",
        "breaker      closed",
        " ready",
    ] {
        assert!(drawn.contains(word), "{word} in {drawn}");
    }
}

#[test]
fn a_server_that_cannot_be_watched_is_said_in_one_line() {
    let program = Program::on_empty_database();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, complaint) in [
        (format!("http://{nobody}"), "cannot read http://"),
        (
            answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            "does not answer with metrics of Mintage",
        ),
        (
            answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            "server.admin_listen",
        ),
        (
            answering(b"220 mail.example ESMTP\r\n\r\n"),
            "does not answer with HTTP",
        ),
    ] {
        let outcome = program.run(&arguments(&url, &["--once"]));
        assert!(outcome.refused(1).contains(complaint), "{outcome:?}");
    }
}

#[test]
fn wrong_usage_is_said_before_anybody_is_asked() {
    let program = Program::on_empty_database();
    let https = program.run(&["stats", "--url", "https://tokens.example"]);
    assert!(https.refused(2).contains("https is not spoken here"), "{https:?}");
    for interval in ["1ms", "2h", "soon"] {
        let outcome = program.run(&["stats", "--interval", interval]);
        assert!(outcome.refused(2).starts_with("mintage: --interval: "), "{outcome:?}");
    }
}

#[test]
fn the_listener_for_admin_is_asked_where_there_is_one() {
    let setup = crate::app::Setup::new();
    let app = setup
        .configured(|config| config.server.admin_listen = "127.0.0.1:0".into())
        .start();
    let program = Program::on_empty_database();
    let [public, admin] = [app.address, app.admin_address].map(|address| format!("http://{address}"));
    assert!(
        program
            .run(&arguments(&public, &["--once"]))
            .refused(1)
            .contains("server.admin_listen")
    );
    assert!(
        program
            .run(&arguments(&admin, &["--once"]))
            .done()
            .contains("tokens/s=0.0")
    );
}

/// A server that is started again is watched on, and the counts that begin anew make no negative rates.
#[test]
fn a_restart_is_survived() {
    let program = Program::new();
    let mut serving = program.serve(&[]);
    let address = serving.address;
    let url = format!("http://{address}");
    let mut child = program
        .command(&arguments(&url, &["--json"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["ready"], true);
    serving.stop();
    drop(serving);
    let listen = address.to_string();
    let again = program.with("MINTAGE_SERVER__LISTEN", &listen);
    let serving = again.serve(&[]);
    Request::get("/livez").send(serving.address);
    for _ in 0..2 {
        assert!(next()["requests_per_second"].as_f64().unwrap() >= 0.0);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
