//! Changes that other processes write to the database take effect within a second, on every worker
//! (G2).

use std::time::Duration;

use mintage::clock::Clock;
use mintage::db::clients;
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::scope::Scope;
use mintage::random::random_text;
use testkit::app::{Setup, new_client};
use testkit::http::Connection;
use testkit::poll::until;
use testkit::{TestApp, TestClient, eventually};

/// How long a change may take to reach every worker.
const PROPAGATION_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits until every worker responds with this status, for at most a second.
///
/// Connections are distributed round-robin, and no other test uses the server: four reach both
/// workers, twice.
#[track_caller]
fn assert_status_on_every_worker(app: &TestApp, client: &TestClient, status: u16) {
    let on_every_worker = || (0..4).all(|_| app.ask(client, &[]).status == status);
    until(
        &format!("{status} on every worker"),
        PROPAGATION_TIMEOUT,
        on_every_worker,
    );
}

#[test]
fn g2_a_disabled_client_gets_no_tokens_until_it_is_enabled() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    assert_status_on_every_worker(&app, &client, 200);
    let set =
        |enabled| app.database(|conn| testkit::sample::set_enabled(conn, &client.id(), enabled, Clock::System.now()));
    assert!(set(false));
    assert_status_on_every_worker(&app, &client, 401);
    app.ask(&client, &[]).assert_invalid_client();
    assert!(set(true));
    assert_status_on_every_worker(&app, &client, 200);
}

#[test]
fn g2_a_deleted_client_gets_no_tokens() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    assert_status_on_every_worker(&app, &client, 200);
    assert!(app.database(|conn| clients::delete(conn, &client.id(), Clock::System.now())));
    assert_status_on_every_worker(&app, &client, 401);
}

#[test]
fn g2_a_client_cached_as_unknown_is_found_once_it_is_created() {
    let app = TestApp::start();
    let secret = ClientSecret::generate();
    let client = TestClient::new(&random_text(20), secret.reveal());
    for _ in 0..4 {
        app.ask(&client, &[]).assert_invalid_client();
    }
    let mut created = new_client(secret.reveal());
    created.id = client.id();
    app.database(|conn| clients::insert(conn, &created));
    assert_status_on_every_worker(&app, &client, 200);
}

#[test]
fn g2_a_scope_change_takes_effect_within_a_second() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    assert_status_on_every_worker(&app, &client, 200);
    let mut changed = new_client(&client.secret);
    changed.id = client.id();
    changed.scope = Scope::parse("invoices:read").unwrap();
    changed.default_scope = changed.scope.clone();
    app.database(|conn| clients::replace(conn, &changed));
    let on_every_worker = || (0..4).all(|_| app.ask(&client, &[]).json()["scope"] == "invoices:read");
    until(
        "the new scope is in effect on every worker",
        PROPAGATION_TIMEOUT,
        on_every_worker,
    );
}

#[test]
fn g2_a_change_takes_effect_on_open_connections() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    let request = testkit::token::token_request(&client, &[]);
    let mut connection = Connection::open(app.address);
    assert_eq!(connection.ask(&request).status, 200);
    app.database(|conn| testkit::sample::set_enabled(conn, &client.id(), false, Clock::System.now()));
    let denied = eventually("the client is denied", PROPAGATION_TIMEOUT, || {
        Some(connection.ask(&request)).filter(|answer| answer.status != 200)
    });
    denied.assert_invalid_client();
}

#[test]
fn g2_a_running_server_applies_changes_from_the_command_line() {
    let program = testkit::program!().with_database();
    let serving = program.serve(&[]);
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let soon = |status| {
        let request = testkit::token::token_request(&client, &[]);
        let on_every_worker = || (0..4).all(|_| request.send(serving.address).status == status);
        until(
            &format!("{status} on every worker"),
            PROPAGATION_TIMEOUT,
            on_every_worker,
        );
    };
    soon(200);
    program.run(&["client", "disable", &client.id]).done();
    soon(401);
    program.run(&["client", "enable", &client.id]).done();
    soon(200);
    program.run(&["client", "delete", &client.id]).done();
    soon(401);
}

#[test]
fn g2_two_instances_on_one_database_apply_each_others_changes() {
    let first = TestApp::start();
    let client = first.client(|_| {});
    let second = Setup::on_database_of(&first).start();
    assert_status_on_every_worker(&second, &client, 200);
    first.database(|conn| testkit::sample::set_enabled(conn, &client.id(), false, Clock::System.now()));
    assert_status_on_every_worker(&first, &client, 401);
    assert_status_on_every_worker(&second, &client, 401);
}
