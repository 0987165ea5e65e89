//! Memory has a sum: what waits for the database and what is cached is bounded in bytes, not only
//! in number (docs/operations.md, "Memory").

use diesel::connection::SimpleConnection;
use mintage::actors::client_cache::MEAN_CLIENT;
use mintage::oauth::bounds::{MAX_AUDIENCES, MAX_AUDIENCES_BYTES, MAX_SCOPE};
use mintage::records::queue::MEAN_RECORD;
use testkit::http::{Connection, Request};
use testkit::{Server, TestClient, sqlite};

const MIB: usize = 1 << 20;

/// A server with one worker, so that all requests use the same cache.
fn serve(settings: &[(&'static str, &str)]) -> Server {
    let common = [("MINTAGE_SERVER__WORKERS", "1"), ("MINTAGE_CACHE__WARM", "0")];
    testkit::program!()
        .with_database()
        .with_all(&common)
        .with_all(settings)
        .serve(&[])
}

fn memory(server: &Server) -> usize {
    server.resident_memory_kib() as usize * 1024
}

#[test]
fn records_with_the_largest_scopes_wait_in_bounded_memory() {
    const MAX_PENDING: usize = 40_000;
    let server = serve(&[("MINTAGE_WRITER__MAX_PENDING", &MAX_PENDING.to_string())]);
    // Not the default scope, so each record has a copy of its own.
    let scope = format!("a {}", "x".repeat(MAX_SCOPE - 2));
    let client = server.client(&scope, &["--default-scope", "a"]);
    let request = Request::post("/token").basic(&client);
    let request = request.form(&[("grant_type", "client_credentials"), ("scope", &scope)]);
    let mut connection = Connection::open(server.address);
    (0..200).for_each(|_| assert_eq!(connection.ask(&request).status, 200));
    let before = memory(&server);
    let mut lock = sqlite::connect(&server.program.database_path());
    lock.batch_execute("BEGIN IMMEDIATE").unwrap();
    let mut issued = 0;
    while issued <= MAX_PENDING {
        let response = connection.ask(&request);
        if response.status != 200 {
            response.assert_unavailable();
            break;
        }
        issued += 1;
    }
    let grown = memory(&server).saturating_sub(before);
    let bound = MAX_PENDING * MEAN_RECORD;
    assert!(
        (bound / MAX_SCOPE / 2..=bound / MAX_SCOPE).contains(&issued),
        "{issued} tokens"
    );
    assert!(grown <= bound + bound / 4 + 4 * MIB, "grown by {} KiB", grown >> 10);
    drop(lock);
    // The sum shrinks as records are written: as many tokens again are no problem.
    testkit::poll::until("tokens are issued again", std::time::Duration::from_secs(20), || {
        connection.ask(&request).status == 200
    });
    (0..200).for_each(|_| assert_eq!(connection.ask(&request).status, 200));
}

#[test]
fn usual_records_are_bounded_by_their_number() {
    const MAX_PENDING: usize = 2000;
    let server = serve(&[
        ("MINTAGE_WRITER__MAX_PENDING", &MAX_PENDING.to_string()),
        ("MINTAGE_WRITER__MAX_BATCH", "1000"),
    ]);
    let audience = format!("urn:{}", "x".repeat(508));
    let scope = format!("a {}", "x".repeat(MAX_SCOPE - 2));
    let client = server.client(&scope, &["--audience", &audience]);
    let request = Request::post("/token").basic(&client);
    // The default scope and a single audience are the client's: a record only points to them.
    let request = request.form(&[("grant_type", "client_credentials"), ("resource", &audience)]);
    let mut connection = Connection::open(server.address);
    assert_eq!(connection.ask(&request).status, 200);
    let mut lock = sqlite::connect(&server.program.database_path());
    lock.batch_execute("BEGIN IMMEDIATE").unwrap();
    let issued = (0..=MAX_PENDING)
        .take_while(|_| connection.ask(&request).status == 200)
        .count();
    assert!((MAX_PENDING - 1..=MAX_PENDING).contains(&issued), "{issued} tokens");
}

#[test]
fn the_largest_clients_are_cached_in_bounded_memory() {
    const CAPACITY: usize = 2000;
    let server = serve(&[("MINTAGE_CACHE__CAPACITY", &CAPACITY.to_string())]);
    let largest = largest_clients(&server, CAPACITY);
    let mut connection = Connection::open(server.address);
    let mut ask = |client: &TestClient| {
        let request = Request::post("/introspect").basic(client).form(&[("token", "x")]);
        assert_eq!(connection.ask(&request).status, 200);
    };
    // What every server allocates for its first requests.
    largest[..20].iter().for_each(&mut ask);
    let before = memory(&server);
    largest.iter().for_each(&mut ask);
    let grown = memory(&server).saturating_sub(before);
    let bound = CAPACITY * MEAN_CLIENT;
    assert!(grown <= bound + bound / 4 + 2 * MIB, "grown by {} KiB", grown >> 10);
    assert!(
        grown >= bound / 2,
        "grown by {} KiB: the clients were not cached",
        grown >> 10
    );
}

/// Creates clients whose members are at their bounds, with the same secret.
fn largest_clients(server: &Server, number: usize) -> Vec<TestClient> {
    let scope = "x".repeat(MAX_SCOPE);
    let length = MAX_AUDIENCES_BYTES / MAX_AUDIENCES;
    let audiences = (0..MAX_AUDIENCES).map(|index| format!("{:x<length$}", format!("urn:{index}")));
    let mut arguments = vec!["--default-scope".to_owned(), scope.clone()];
    for audience in audiences {
        arguments.extend(["--audience".to_owned(), audience.clone()]);
        arguments.extend(["--introspection-audience".to_owned(), audience]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let first = server.client(&scope, &arguments);
    let copies = |table: &str, columns: &str, copied: &str| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number})
             INSERT INTO {table} ({columns}) SELECT {copied} FROM {table}, n;"
        )
    };
    let mut conn = sqlite::connect(&server.program.database_path());
    let clients =
        "client_id, name, enabled, scope, default_scope, audiences, serves, auth_methods, created_at_ms, updated_at_ms";
    let secrets = "secret_id, client_id, hash, created_at_ms";
    conn.batch_execute(&copies(
        "clients",
        clients,
        &clients.replacen("client_id", "'copy-' || i", 1),
    ))
    .unwrap();
    let copied = "'secret-' || i, 'copy-' || i, hash, created_at_ms";
    conn.batch_execute(&copies("secrets", secrets, copied)).unwrap();
    (1..=number)
        .map(|index| TestClient::new(&format!("copy-{index}"), &first.secret))
        .collect()
}
