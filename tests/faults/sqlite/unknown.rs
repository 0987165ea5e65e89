//! More client ids than a cache holds, known and unknown.

use std::time::Duration;

use testkit::http::Connection;
use testkit::token::token_request;
use testkit::{Server, TestClient};

use super::site::{Operator, Site};

/// Clients cached by each worker.
const CAPACITY: u64 = 100;
const WORKERS: u64 = 2;

/// Unknown ids cached by each worker, independent of `cache.capacity`.
const NEGATIVE_CAPACITY: u64 = 1000;

fn site() -> Site {
    Site::new(&[
        ("MINTAGE_CACHE__CAPACITY", "100"),
        ("MINTAGE_CACHE__WARM", "100"),
        // Long enough that no entry expires during the test.
        ("MINTAGE_CACHE__NEGATIVE_TTL", "10m"),
    ])
}

fn unknown_client(number: usize) -> TestClient {
    TestClient {
        id: format!("unknown-{number}"),
        secret: "none".into(),
    }
}

fn loads(operator: &Operator) -> u64 {
    operator.statistics("cache")["loads"].as_u64().unwrap()
}

#[track_caller]
fn assert_bounded(operator: &Operator) {
    let cache = operator.statistics("cache");
    assert!(cache["entries"].as_u64().unwrap() <= WORKERS * CAPACITY, "{cache}");
    assert!(
        cache["negative_entries"].as_u64().unwrap() <= WORKERS * NEGATIVE_CAPACITY,
        "{cache}"
    );
}

/// Requests tokens for unknown ids: each twice in a row, then the last 500 once more.
fn request_for_unknown_ids(site: &Site, server: &Server, ids: usize) {
    let operator = site.operator(server);
    let before = loads(&operator);
    // One connection, and so one worker.
    let mut connection = Connection::open(server.address);
    let mut ask = |number: usize| {
        let answer = connection.ask(&token_request(&unknown_client(number), &[]));
        assert_eq!(answer.status, 401);
    };
    for number in 0..ids {
        ask(number);
        ask(number);
    }
    (ids - 500..ids).for_each(&mut ask);
    assert_eq!(
        loads(&operator) - before,
        ids as u64,
        "the database is queried once per id"
    );
    assert_bounded(&operator);
    // Unknown ids do not evict a known client.
    let token = site.token_request(&[]);
    assert_eq!(connection.ask(&token).status, 200);
    let before = loads(&operator);
    (0..NEGATIVE_CAPACITY as usize).for_each(|number| {
        assert_eq!(
            connection
                .ask(&token_request(&unknown_client(ids + number), &[]))
                .status,
            401
        );
    });
    assert_eq!(connection.ask(&token).status, 200);
    assert_eq!(loads(&operator) - before, NEGATIVE_CAPACITY);
}

#[test]
fn the_database_is_queried_once_per_unknown_id_and_the_cache_is_bounded() {
    let site = site();
    request_for_unknown_ids(&site, &site.start(), 3000);
}

/// Creates copies of the site's client, with the same secret.
fn copy_client(site: &Site, copies: usize) {
    let id = &site.client.id;
    site.sql(&format!(
        "CREATE TEMP TABLE numbers AS WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up LIMIT {copies})
             SELECT n FROM up;
         INSERT INTO clients (client_id, name, enabled, scope, default_scope, audiences, serves, auth_methods,
             ttl_seconds, alg, created_at_ms, updated_at_ms)
             SELECT 'copy-' || n, name, enabled, scope, default_scope, audiences, serves, auth_methods,
             ttl_seconds, alg, created_at_ms, updated_at_ms FROM clients, numbers WHERE client_id = '{id}';
         INSERT INTO secrets (secret_id, client_id, hash, created_at_ms)
             SELECT 'copy-' || n, 'copy-' || n, hash, created_at_ms FROM secrets, numbers WHERE client_id = '{id}'"
    ));
}

fn request_for_known_and_unknown_ids(copies: usize, requests: usize) {
    let site = site();
    copy_client(&site, copies);
    let server = site.start();
    let operator = site.operator(&server);
    let mut connection = Connection::open(server.address);
    for number in 0..requests {
        // Spread over all copies.
        let known = TestClient {
            id: format!("copy-{}", number * 7919 % copies + 1),
            secret: site.client.secret.clone(),
        };
        assert_eq!(connection.ask(&token_request(&known, &[])).status, 200);
    }
    assert_bounded(&operator);
    operator.wait_until_all_is_written(Duration::from_secs(30));
    request_for_unknown_ids(&site, &server, requests);
}

#[test]
fn more_clients_than_the_cache_holds_are_served_and_the_cache_is_bounded() {
    request_for_known_and_unknown_ids(5000, 1500);
}

#[test]
#[ignore = "takes minutes: scripts/test --soak"]
fn soak_with_a_million_clients_and_100_000_unknown_ids_the_cache_is_bounded() {
    request_for_known_and_unknown_ids(1_000_000, 100_000);
}
