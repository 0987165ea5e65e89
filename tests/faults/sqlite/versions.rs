//! Two versions, or two servers, on one database: both may start, and the older one keeps working.

use diesel::connection::SimpleConnection;
use testkit::TestClient;
use testkit::http::Request;
use testkit::token::{about_token, token_request};

use super::site::Site;

#[test]
fn two_servers_that_start_at_once_on_an_empty_file_share_one_database() {
    let site = Site::without_schema(&[]);
    let mut servers = [site.spawn(&[]), site.spawn(&[])];
    for server in &mut servers {
        server.wait_until_it_listens().expect("the server ended");
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
    let introspection = servers[1].send(&about_token("/introspect", &client, &token)).json();
    assert_eq!(introspection["active"], true, "{introspection}");
    assert_eq!(
        site.logs().matches("migration applied version=20261124000000").count(),
        1
    );
    site.assert_intact();
}

/// The statements of the last version. Replace them at each release by those of the released
/// version.
const LAST_VERSION: &str = include_str!("version_20261124010000.sql");

#[test]
fn the_statements_of_the_last_version_run_on_the_newest_schema() {
    let site = Site::new(&[]);
    let server = site.start();
    // While this version runs.
    let mut conn = site.connect();
    for statement in LAST_VERSION.split(";\n") {
        if let Err(error) = conn.batch_execute(statement) {
            panic!("{error}: {statement}");
        }
    }
    drop(server);
    // This version understands the rows of the last one.
    let server = site.start();
    let client = TestClient {
        id: "of-the-last-version".into(),
        secret: "secret-of-the-last-version".into(),
    };
    let token = server.send(&token_request(&client, &[])).access_token();
    let introspection = server.send(&about_token("/introspect", &client, &token)).json();
    assert_eq!(introspection["active"], true, "{introspection}");
    let logs = site.logs();
    assert!(!logs.contains(" WARN ") && !logs.contains(" ERROR "), "{logs}");
}
