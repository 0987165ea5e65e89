//! What others change in the database is seen within a second, by every worker.

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

/// How long others may take to follow.
const SOON: Duration = Duration::from_secs(1);

/// Waits until this is the status at every worker, for at most a second.
///
/// Connections go to the workers in turn, and a test here has its server for itself: four reach both, twice.
#[track_caller]
fn assert_soon(app: &TestApp, client: &TestClient, status: u16) {
    let everywhere = || (0..4).all(|_| app.ask(client, &[]).status == status);
    until(&format!("{status} everywhere"), SOON, everywhere);
}

#[test]
fn g2_a_client_that_is_disabled_gets_no_more_tokens_until_it_is_enabled() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    assert_soon(&app, &client, 200);
    let set =
        |enabled| app.database(|conn| testkit::sample::set_enabled(conn, &client.id(), enabled, Clock::System.now()));
    assert!(set(false));
    assert_soon(&app, &client, 401);
    app.ask(&client, &[]).assert_invalid_client();
    assert!(set(true));
    assert_soon(&app, &client, 200);
}

#[test]
fn g2_a_client_that_is_deleted_gets_no_more_tokens() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    assert_soon(&app, &client, 200);
    assert!(app.database(|conn| clients::delete(conn, &client.id(), Clock::System.now())));
    assert_soon(&app, &client, 401);
}

#[test]
fn g2_a_client_that_was_asked_for_before_it_was_made_is_seen() {
    let app = TestApp::start();
    let secret = ClientSecret::generate();
    let client = TestClient {
        id: random_text(20),
        secret: secret.reveal().to_owned(),
    };
    for _ in 0..4 {
        app.ask(&client, &[]).assert_invalid_client();
    }
    let mut made = new_client(secret.reveal());
    made.id = client.id();
    app.database(|conn| clients::insert(conn, &made));
    assert_soon(&app, &client, 200);
}

#[test]
fn g2_another_scope_counts_from_then_on() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    assert_soon(&app, &client, 200);
    let mut changed = new_client(&client.secret);
    changed.id = client.id();
    changed.scope = Scope::parse("invoices:read").unwrap();
    changed.default_scope = changed.scope.clone();
    app.database(|conn| clients::replace(conn, &changed));
    let everywhere = || (0..4).all(|_| app.ask(&client, &[]).json()["scope"] == "invoices:read");
    until("it is seen everywhere", SOON, everywhere);
}

#[test]
fn g2_a_connection_that_stays_open_sees_it_too() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    let request = testkit::token::token_request(&client, &[]);
    let mut connection = Connection::open(app.address);
    assert_eq!(connection.ask(&request).status, 200);
    app.database(|conn| testkit::sample::set_enabled(conn, &client.id(), false, Clock::System.now()));
    let denied = eventually("it is seen", SOON, || {
        Some(connection.ask(&request)).filter(|answer| answer.status != 200)
    });
    denied.assert_invalid_client();
}

#[test]
fn g2_a_server_follows_the_command_line() {
    let program = testkit::program!().with_database();
    let serving = program.serve(&[]);
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let soon = |status| {
        let request = testkit::token::token_request(&client, &[]);
        let everywhere = || (0..4).all(|_| request.send(serving.address).status == status);
        until(&format!("{status} everywhere"), SOON, everywhere);
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
fn g2_two_servers_on_one_database_follow_each_other() {
    let first = TestApp::start();
    let client = first.client(|_| {});
    let url = format!("sqlite:{}", first.database_path().display());
    let second = Setup::on_empty_database()
        .configured(|config| config.database.url = url)
        .start();
    assert_soon(&second, &client, 200);
    first.database(|conn| testkit::sample::set_enabled(conn, &client.id(), false, Clock::System.now()));
    assert_soon(&first, &client, 401);
    assert_soon(&second, &client, 401);
}
