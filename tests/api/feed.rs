//! Changes that other processes write to the database take effect on every worker with the next
//! poll of the change log (G2). `tests/actors` has the tests that this poll comes within a second.

use mintage::clock::Clock;
use mintage::db::clients;
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::scope::Scope;
use mintage::random::random_text;
use testkit::app::{Setup, new_client};
use testkit::http::Connection;
use testkit::{TestApp, TestClient};

/// Once the changes by others are applied, every worker responds with this status.
///
/// Connections are distributed round-robin, and no other test uses the server: four reach both
/// workers, twice.
#[track_caller]
fn assert_status_on_every_worker(app: &TestApp, client: &TestClient, status: u16) {
    app.wait_for_change_feed();
    let statuses = [(); 4].map(|()| app.ask(client, &[]).status);
    assert_eq!(statuses, [status; 4]);
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
fn g2_a_scope_change_takes_effect() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    assert_status_on_every_worker(&app, &client, 200);
    let mut changed = new_client(&client.secret);
    changed.id = client.id();
    changed.scope = Scope::parse("invoices:read").unwrap();
    changed.default_scope = changed.scope.clone();
    app.database(|conn| clients::replace(conn, &changed));
    app.wait_for_change_feed();
    for _ in 0..4 {
        assert_eq!(app.ask(&client, &[]).json()["scope"], "invoices:read");
    }
}

#[test]
fn g2_a_change_takes_effect_on_open_connections() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    let request = testkit::token::token_request(&client, &[]);
    let mut connection = Connection::open(app.address);
    assert_eq!(connection.ask(&request).status, 200);
    app.database(|conn| testkit::sample::set_enabled(conn, &client.id(), false, Clock::System.now()));
    app.wait_for_change_feed();
    connection.ask(&request).assert_invalid_client();
}

#[test]
fn g2_a_running_server_applies_changes_from_the_command_line() {
    let program = testkit::program!().with_database();
    let serving = program.serve(&[]);
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let assert_status = |status| {
        let request = testkit::token::token_request(&client, &[]);
        serving.wait_for_change_feed();
        let statuses = [(); 4].map(|()| request.send(serving.address).status);
        assert_eq!(statuses, [status; 4]);
    };
    assert_status(200);
    program.run(&["client", "disable", &client.id]).done();
    assert_status(401);
    program.run(&["client", "enable", &client.id]).done();
    assert_status(200);
    program.run(&["client", "delete", &client.id]).done();
    assert_status(401);
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
