//! P17 over the true binary: what fails too often is not looked at any more, where it failed and nowhere else.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
const HERE: &str = "192.0.2.1";
const THERE: &str = "192.0.2.2";

/// A server with a client, its limit, and whom it trusts. Dropped, it is killed.
struct Server {
    folder: TempDir,
    process: Child,
    address: SocketAddr,
    id: String,
    secret: String,
}

/// An answer, its header names in lower case.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers
            .find(|header| header.0.eq_ignore_ascii_case(name))
            .map(|header| header.1)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Seconds, if it says that there were too many failures, in exactly the right words.
    #[track_caller]
    fn limited(&self) -> u32 {
        assert_eq!(self.status, 429, "{self:?}");
        let document = json!({"error": "temporarily_unavailable", "error_description": "too many failed authentications, try again later"});
        assert_eq!(self.json(), document);
        assert_eq!(self.header("Content-Type"), Some("application/json"));
        assert_eq!(self.header("Cache-Control"), Some("no-store"));
        assert_eq!(self.header("WWW-Authenticate"), None);
        self.header("Retry-After").unwrap().parse().unwrap()
    }
}

impl Server {
    fn start(per_minute: u32, trusted: &str) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let log = folder.path().join("log");
        let mut made = command(&folder, per_minute, trusted);
        made.args([
            "client",
            "create",
            "--json",
            "--id",
            "demo",
            "--name",
            "Demo",
            "--scope",
            "a mintage:admin",
        ]);
        let made: Value = serde_json::from_slice(&made.output().unwrap().stdout).unwrap();
        let mut serve = command(&folder, per_minute, trusted);
        let process = serve.arg("serve").stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut server = Self {
            folder,
            process,
            address: ([127, 0, 0, 1], 0).into(),
            id: made["client_id"].as_str().unwrap().to_owned(),
            secret: made["client_secret"].as_str().unwrap().to_owned(),
        };
        server.address = eventually(|| {
            let log = server.log();
            let (_, rest) = log.split_once("server listening url=http://")?;
            rest.split_whitespace().next()?.parse().ok()
        });
        eventually(|| (server.send("GET /readyz", &[], "").status == 200).then_some(()));
        server
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn send(&self, request: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{request} HTTP/1.1\r\nHost: mintage.test\r\nConnection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// Asks for a token with HTTP Basic; `from` is what a proxy says of where the request came from.
    fn token(&self, id: &str, secret: &str, from: &str) -> Answer {
        let credentials = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        self.token_with(&credentials, &[from])
    }

    fn token_with(&self, authorization: &str, from: &[&str]) -> Answer {
        let mut headers = vec![
            ("Authorization", authorization),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        headers.extend(from.iter().map(|list| ("X-Forwarded-For", *list)));
        self.send("POST /token", &headers, "grant_type=client_credentials")
    }

    fn right(&self, from: &str) -> Answer {
        self.token(&self.id, &self.secret, from)
    }

    fn wrong(&self, from: &str) -> Answer {
        self.token(&self.id, "wrong", from)
    }

    /// Fails until it is limited. How often it failed is exact, but for what drained away while it did.
    #[track_caller]
    fn fail_until_limited(&self, most: usize, per_minute: usize, mut fail: impl FnMut(usize) -> Answer) -> u32 {
        let began = now();
        for failures in 0.. {
            let answer = fail(failures);
            if answer.status == 429 {
                let drained = 1 + began.elapsed().as_millis() as usize * per_minute / 60_000;
                assert!((most..=most + drained).contains(&failures), "{failures} failures");
                return answer.limited();
            }
            assert_eq!(answer.status, 401, "{answer:?}");
        }
        unreachable!("there is no end of numbers")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(folder: &TempDir, per_minute: u32, trusted: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mintage"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MINTAGE_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    let file: PathBuf = folder.path().join("mintage.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 2\ntrusted_proxies = [\"{trusted}\"]\n\
         [limits]\nauth_failures_per_minute = {per_minute}\n"
    );
    std::fs::write(file, text).unwrap();
    command.current_dir(folder.path());
    command
}

fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let began = now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "it does not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[allow(clippy::disallowed_methods, reason = "the server under test has the machine's clock")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn p17_the_31st_failure_is_429_and_so_is_the_right_secret_there_but_not_elsewhere() {
    let server = Server::start(30, "127.0.0.1");
    let wait = server.fail_until_limited(30, 30, |_| server.wrong(HERE));
    assert!((1..=2).contains(&wait), "{wait}");
    // A failure drains away every two seconds. With more than one of them left, what follows is in time.
    eventually(|| {
        let wrong = server.wrong(HERE);
        (wrong.status == 429 && wrong.limited() == 2).then_some(())
    });
    assert!((1..=2).contains(&server.right(HERE).limited()));
    assert_eq!(server.right(THERE).status, 200);
    assert_eq!(server.wrong(THERE).status, 401);
    // The right secret works again after the time that was told.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(server.right(HERE).status, 200);
}

#[test]
fn p17_an_address_is_limited_over_many_ids_and_other_addresses_are_not() {
    let server = Server::start(2, "127.0.0.1");
    let wait = server.fail_until_limited(20, 20, |number| server.token(&format!("id-{number}"), "x", HERE));
    assert!((1..=3).contains(&wait), "{wait}");
    server.right(HERE).limited();
    assert_eq!(server.right(THERE).status, 200);
    assert_eq!(server.token("id-1", "x", THERE).status, 401);
}

#[test]
fn p17_malformed_credentials_count_and_none_at_all_do_not() {
    let server = Server::start(1, "127.0.0.1");
    for _ in 0..20 {
        let none = server.send(
            "POST /token",
            &[
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("X-Forwarded-For", HERE),
            ],
            "grant_type=client_credentials",
        );
        assert_eq!(none.status, 401);
    }
    server.fail_until_limited(10, 10, |_| server.token_with("Basic !!!", &[HERE]));
    server.right(HERE).limited();
}

#[test]
fn p17_refused_bearer_tokens_are_not_limited() {
    let server = Server::start(1, "127.0.0.1");
    for _ in 0..50 {
        let headers = [("Authorization", "Bearer x.y.z"), ("X-Forwarded-For", HERE)];
        assert_eq!(server.send("GET /admin/cache/stats", &headers, "").status, 401);
    }
    assert_eq!(server.right(HERE).status, 200);
}

#[test]
fn p17_successes_neither_count_nor_forgive() {
    let server = Server::start(2, "127.0.0.1");
    for _ in 0..50 {
        assert_eq!(server.right(HERE).status, 200);
    }
    assert_eq!(server.wrong(HERE).status, 401);
    assert_eq!(server.right(HERE).status, 200);
    assert_eq!(server.wrong(HERE).status, 401);
    server.right(HERE).limited();
}

#[test]
fn p17_of_many_failures_at_once_no_more_are_judged() {
    let server = Server::start(1, "127.0.0.1");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..32).map(|_| scope.spawn(|| server.wrong(HERE).status)).collect();
        tries.into_iter().map(|each| each.join().unwrap()).collect()
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 401).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 429).count(),
        31,
        "{statuses:?}"
    );
}

#[test]
fn p17_zero_turns_it_off() {
    let server = Server::start(0, "127.0.0.1");
    for _ in 0..400 {
        assert_eq!(server.wrong(HERE).status, 401);
    }
    assert_eq!(server.right(HERE).status, 200);
}

#[test]
fn p17_a_reload_takes_over_the_limit() {
    let server = Server::start(1, "127.0.0.1");
    server.wrong(HERE);
    server.right(HERE).limited();
    command(&server.folder, 0, "127.0.0.1");
    let hup = Command::new("kill")
        .args(["-HUP", &server.process.id().to_string()])
        .status();
    assert!(hup.unwrap().success());
    eventually(|| server.log().contains("configuration reloaded").then_some(()));
    assert!(
        server
            .log()
            .contains("configuration key reloaded key=limits.auth_failures_per_minute")
    );
    for _ in 0..20 {
        assert_eq!(server.wrong(HERE).status, 401);
    }
    assert_eq!(server.right(HERE).status, 200);
}

#[test]
fn p43_a_peer_that_is_no_trusted_proxy_is_not_believed_about_where_it_calls_from() {
    let server = Server::start(1, "192.0.2.99");
    assert_eq!(server.wrong(HERE).status, 401);
    // Another address in the header is another address only where the header counts.
    server.right(THERE).limited();
    assert!(server.log().contains("client=demo client_ip=127.0.0.1"));
    assert!(!server.log().contains(HERE));
}

#[test]
fn p43_what_the_caller_itself_forwards_does_not_change_its_address() {
    let server = Server::start(1, "127.0.0.1");
    let credentials = |secret: &str| format!("Basic {}", STANDARD.encode(format!("{}:{secret}", server.id)));
    assert_eq!(server.token_with(&credentials("wrong"), &[HERE]).status, 401);
    let right = credentials(&server.secret);
    server.token_with(&right, &[&format!("{THERE}, {HERE}")]).limited();
    server.token_with(&right, &[THERE, HERE]).limited();
    server
        .token_with(&right, &["garbage", &format!("{HERE}, 127.0.0.1")])
        .limited();
    assert_eq!(server.token_with(&right, &[HERE, THERE]).status, 200);
    assert_eq!(server.token_with(&right, &[HERE, "garbage"]).status, 200);
}

#[test]
fn p17_g8_the_log_says_who_is_limited_once_and_shows_no_secret() {
    let server = Server::start(3, "127.0.0.1");
    for _ in 0..9 {
        server.token(&server.id, "hunter2", HERE);
    }
    server.token("hunter3", "hunter4", THERE);
    let log = server.log();
    let news = "authentication limit reached limit=client_ip client=demo client_ip=192.0.2.1 request_id=";
    assert_eq!(log.matches(news).count(), 1, "{log}");
    assert_eq!(
        log.matches("reason=wrong_secret client=demo client_ip=192.0.2.1")
            .count(),
        3,
        "{log}"
    );
    assert!(log.contains("reason=too_many_failures client_ip=192.0.2.1"), "{log}");
    assert!(log.contains("reason=unknown_client client_ip=192.0.2.2"), "{log}");
    assert!(!log.contains("hunter"), "{log}");
}
