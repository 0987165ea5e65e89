//! Signals to the real binary: graceful shutdown under load (G6), and reload.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::http::{Connection, Request};
use testkit::poll::until;
use testkit::program::SERVER_TIMEOUT;
use testkit::sqlite::recorded;
use testkit::token::{jti, token_request};
use testkit::{Program, Server};

/// The pause between two requests on a connection.
const PAUSE: Duration = Duration::from_millis(2);

/// A drain delay that leaves a client on a busy machine the time for another request. When it is
/// over, idle connections are closed.
const LONG_DRAIN: (&str, &str) = ("MINTAGE_SERVER__DRAIN_DELAY", "2s");

/// Requests tokens on one connection until the server announces that it closes it. Returns the ids
/// of the tokens.
///
/// Panics if a request gets no response: the connection is used only as long as the server keeps it
/// open. It is idle between two requests, because a faulty shutdown closes idle connections without
/// warning.
fn request_until_closed(serving: &Server, request: &Request, load: &UnderLoad) -> Vec<String> {
    let mut connection = Connection::open(serving.address);
    let mut ids = Vec::new();
    loop {
        let answer = connection.ask(request);
        load.connected.fetch_add(usize::from(ids.is_empty()), Ordering::Relaxed);
        ids.push(jti(&answer.access_token()));
        load.issued.fetch_add(1, Ordering::Relaxed);
        if answer.closes() {
            return ids;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Connections that have received a token, and tokens received.
#[derive(Default)]
struct UnderLoad {
    connected: AtomicUsize,
    issued: AtomicUsize,
}

fn stop_under_load(signal: &str, program: &Program) {
    const CONNECTIONS: usize = 48;
    let mut serving = program.serve(&[]);
    let client = program.create_client(&["--name", "load", "--scope", "a", "--alg", "HS256"]);
    let request = token_request(&client, &[]);
    let under_load = UnderLoad::default();
    let mut ids: Vec<String> = std::thread::scope(|scope| {
        let load = || scope.spawn(|| request_until_closed(&serving, &request, &under_load));
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| load()).collect();
        until("there is load", SERVER_TIMEOUT, || {
            let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
            count(&under_load.connected) == CONNECTIONS && count(&under_load.issued) > 1000
        });
        serving.signal(signal);
        connections
            .into_iter()
            .flat_map(|connection| connection.join().unwrap())
            .collect()
    });
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.log());
    ids.sort();
    let rows: Vec<String> = recorded(&program.database_path(), &client.id)
        .into_iter()
        .map(|row| row.jti)
        .collect();
    assert_eq!(rows, ids);
}

#[test]
fn g6_sigterm_under_load_answers_and_records_every_request() {
    stop_under_load("TERM", &testkit::program!().with_database().with_all(&[LONG_DRAIN]));
}

#[test]
fn g6_sigint_stops_in_the_same_order() {
    let group = testkit::program!()
        .with_database()
        .with_all(&[LONG_DRAIN, ("MINTAGE_WRITER__DURABILITY", "group")]);
    stop_under_load("INT", &group);
}

#[test]
fn g6_an_idle_connection_does_not_delay_the_shutdown() {
    let program = testkit::program!().with_database();
    let mut serving = program.serve(&[]);
    let mut idle = Connection::open(serving.address);
    assert_eq!(idle.ask(&Request::get("/livez")).status, 200);
    let _never_used = Connection::open(serving.address);
    let began = Instant::now();
    serving.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(idle.closes_within(Duration::from_secs(1)));
}

#[test]
fn g6_a_stopping_server_is_not_ready_and_closes_connections() {
    let program = testkit::program!().with_database().with_all(&[LONG_DRAIN]);
    let mut serving = program.serve(&[]);
    let mut connection = Connection::open(serving.address);
    assert_eq!(connection.ask(&Request::get("/readyz")).status, 200);
    serving.signal("TERM");
    serving.wait_for_log("stopping");
    let answer = connection.ask(&Request::get("/readyz"));
    assert_eq!((answer.status, answer.header("connection")), (503, Some("close")));
    assert_eq!(answer.json()["reason"], "the server is stopping");
    assert_eq!(serving.exit_code(), Some(0));
}

#[test]
fn g6_a_server_that_has_just_begun_to_listen_stops_in_order() {
    // With --dev, some writes to the database come before the server runs.
    let program = testkit::program!();
    let mut serving = program.serve_unready(&["--dev"]);
    serving.signal("TERM");
    assert_eq!(serving.exit_code(), Some(0), "{}", serving.log());
    assert!(serving.log().contains("server stopped"), "{}", serving.log());
}

#[test]
fn sighup_applies_reloadable_keys_and_names_the_others() {
    let program = testkit::program!().with_database();
    program.write("mintage.toml", "[token]\nttl = \"1h\"\n");
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let mut serving = program.serve(&[]);
    let lifetime = || token_request(&client, &[]).send(serving.address).json()["expires_in"].clone();
    assert_eq!(lifetime(), 3600);
    program.write(
        "mintage.toml",
        "[token]\nttl = \"2h\"\nalg = \"EdDSA\"\n[server]\nmax_body = \"64KiB\"\n",
    );
    serving.signal("HUP");
    until("the new lifetime is in effect", Duration::from_secs(5), || {
        lifetime() == 7200
    });
    serving.wait_for_log("configuration reloaded");
    let log = serving.log();
    for line in [
        "configuration key reloaded key=token.ttl",
        "configuration key reloaded key=token.alg",
    ] {
        assert!(log.contains(&format!("INFO  {line}\n")), "{line}: {log}");
    }
    assert!(
        log.contains("WARN  configuration key needs restart key=server.max_body\n"),
        "{log}"
    );
    let large = Request::post("/token")
        .form_raw("x".repeat(40 << 10))
        .send(serving.address);
    assert_eq!(large.status, 413, "max_body is unchanged");
    serving.stop();
}

#[test]
fn sighup_with_an_invalid_configuration_changes_nothing() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let mut serving = program.serve(&[]);
    program.write("mintage.toml", "[token]\nttl = \"2x\"\n");
    serving.signal("HUP");
    serving.wait_for_log("configuration not reloaded");
    assert_eq!(
        token_request(&client, &[]).send(serving.address).json()["expires_in"],
        3600
    );
    serving.stop();
}
