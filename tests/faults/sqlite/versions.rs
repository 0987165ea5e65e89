//! Two versions, or two servers, on one database: both may start, and the older one goes on working.

use diesel::connection::SimpleConnection;
use testkit::TestClient;
use testkit::http::Request;
use testkit::token::{about_token, token_request};

use super::site::Site;

#[test]
fn two_servers_that_start_at_once_on_an_empty_file_become_one() {
    let site = Site::on_nothing(&[]);
    let mut servers = [site.spawn(&[]), site.spawn(&[])];
    for server in &mut servers {
        server.wait_until_it_listens().expect("it ended");
    }
    for server in &servers {
        server.wait_until_ready();
    }
    let key_sets = servers
        .each_ref()
        .map(|server| server.send(&Request::get("/.well-known/jwks.json")).text());
    assert_eq!(key_sets[0], key_sets[1]);
    let client = site.new_client();
    let token = servers[0].send(&token_request(&client, &[])).access_token();
    let told = servers[1].send(&about_token("/introspect", &client, &token)).json();
    assert_eq!(told["active"], true, "{told}");
    assert_eq!(
        site.logs().matches("migration applied version=20261124000000").count(),
        1
    );
    site.assert_intact();
}

/// What the last version says; to be replaced at each release by what that one said.
const LAST_VERSION: &str = include_str!("version_20261124010000.sql");

#[test]
fn what_the_last_version_says_is_understood_by_the_newest_schema() {
    let site = Site::new(&[]);
    let server = site.start();
    // While this version serves.
    let mut conn = site.connect();
    for statement in LAST_VERSION.split(";\n") {
        if let Err(error) = conn.batch_execute(statement) {
            panic!("{error}: {statement}");
        }
    }
    drop(server);
    // And what it left behind is understood by this version.
    let server = site.start();
    let client = TestClient {
        id: "of-the-last-version".into(),
        secret: "secret-of-the-last-version".into(),
    };
    let token = server.send(&token_request(&client, &[])).access_token();
    let told = server.send(&about_token("/introspect", &client, &token)).json();
    assert_eq!(told["active"], true, "{told}");
    let logs = site.logs();
    assert!(!logs.contains(" WARN ") && !logs.contains(" ERROR "), "{logs}");
}
