//! One-time tokens: `/validate` accepts each exactly once, under concurrency and across restarts
//! (P46, G5).

use std::net::SocketAddr;

use mintage::clock::Clock;
use mintage::db::routes;
use mintage::gateway::route::NewRoute;
use testkit::app::Setup;
use testkit::http::{Connection, Request, Response};
use testkit::token::{about_token, claims, jti};
use testkit::{TestApp, TestClient};

use crate::introspection::{assert_active_on_every_worker, is_active};

/// Adds a route, which is in effect afterwards.
fn add_route(app: &TestApp) {
    let new = NewRoute {
        path: "/orders/{id}".into(),
        scope: Some("orders:read".into()),
        ..NewRoute::default()
    };
    let route = new.route("orders".into(), Clock::System.now()).unwrap();
    app.database(|conn| routes::insert(conn, &route));
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    app.wait_for_change_feed();
    assert_eq!(validate(app.address, &token, "/orders/1").status, 200);
}

fn gateway_request(token: &str, path: &str) -> Request {
    let request = Request::get("/validate")
        .bearer(token)
        .header("X-Forwarded-Method", "GET");
    request
        .header("X-Forwarded-Host", "shop.example")
        .header("X-Forwarded-Uri", path)
}

/// Validates a request as a gateway does.
fn validate(address: SocketAddr, token: &str, path: &str) -> Response {
    gateway_request(token, path).send(address)
}

fn issue_one_time(app: &TestApp, client: &TestClient) -> String {
    app.issue(client, &[("one_time", "true")])
}

#[test]
fn p46_a_one_time_token_is_accepted_once() {
    let app = TestApp::start();
    add_route(&app);
    let client = app.client(|_| {});
    let token = issue_one_time(&app, &client);
    let first = validate(app.address, &token, "/orders/1");
    assert_eq!(
        (first.status, first.header("x-token-id")),
        (200, Some(jti(&token).as_str()))
    );
    for _ in 0..4 {
        let repeated = validate(app.address, &token, "/orders/1");
        assert_eq!(repeated.status, 401);
        assert_eq!(
            repeated.header("www-authenticate"),
            Some("Bearer realm=\"mintage\", error=\"invalid_token\"")
        );
    }
    assert!(!is_active(&app, &client, &token));
}

#[test]
fn p46_of_a_hundred_concurrent_uses_exactly_one_is_accepted() {
    let app = TestApp::start();
    add_route(&app);
    let client = app.client(|_| {});
    for _ in 0..10 {
        let token = issue_one_time(&app, &client);
        assert_eq!(accepted_uses(&[app.address], &token), 1);
    }
}

#[test]
fn g5_two_instances_accept_a_one_time_token_once() {
    let here = TestApp::start();
    add_route(&here);
    let there = Setup::on_database_of(&here).start();
    let client = here.client(|_| {});
    for _ in 0..5 {
        let token = issue_one_time(&here, &client);
        assert_eq!(accepted_uses(&[here.address, there.address], &token), 1);
        assert_active_on_every_worker(&there, &client, &token, false);
    }
}

/// 1,000 tokens, each used by 100 connections concurrently.
#[test]
#[ignore = "takes a minute; scripts/test --soak runs it"]
fn p46_each_of_a_thousand_tokens_is_accepted_once() {
    const TOKENS: usize = 1000;
    const USES: usize = 100;
    let app = TestApp::start();
    add_route(&app);
    let client = app.client(|_| {});
    let tokens: Vec<String> = (0..TOKENS).map(|_| issue_one_time(&app, &client)).collect();
    let start = std::sync::Barrier::new(USES);
    let accepted: Vec<Vec<bool>> = std::thread::scope(|scope| {
        let users: Vec<_> = (0..USES)
            .map(|_| {
                let (mut connection, tokens, start) = (Connection::open(app.address), &tokens, &start);
                scope.spawn(move || {
                    let mut use_one = |token: &String| {
                        start.wait();
                        connection.ask(&gateway_request(token, "/orders/1")).status == 200
                    };
                    tokens.iter().map(&mut use_one).collect()
                })
            })
            .collect();
        users.into_iter().map(|user| user.join().unwrap()).collect()
    });
    for token in 0..TOKENS {
        assert_eq!(accepted.iter().filter(|user| user[token]).count(), 1, "token {token}");
    }
}

/// Uses a token 100 times concurrently, over connections that are already open. Returns how many
/// uses were accepted.
fn accepted_uses(addresses: &[SocketAddr], token: &str) -> usize {
    const USES: usize = 100;
    let start = std::sync::Barrier::new(USES);
    std::thread::scope(|scope| {
        let uses: Vec<_> = (0..USES)
            .map(|number| {
                let mut connection = Connection::open(addresses[number % addresses.len()]);
                let (request, start) = (gateway_request(token, "/orders/1"), &start);
                scope.spawn(move || {
                    start.wait();
                    connection.ask(&request).status
                })
            })
            .collect();
        let statuses: Vec<u16> = uses.into_iter().map(|each| each.join().unwrap()).collect();
        assert!(
            statuses.iter().all(|status| [200, 401].contains(status)),
            "{statuses:?}"
        );
        statuses.iter().filter(|status| **status == 200).count()
    })
}

#[test]
fn p46_a_denied_request_does_not_redeem_the_token() {
    let app = TestApp::start();
    add_route(&app);
    let client = app.client(|_| {});
    let wrong_scope = app.issue(&client, &[("one_time", "true"), ("scope", "orders:write")]);
    assert_eq!(validate(app.address, &wrong_scope, "/orders/1").status, 403);
    assert!(is_active(&app, &client, &wrong_scope));
    let token = issue_one_time(&app, &client);
    for path in ["/nowhere", "/orders/../orders/1", "/orders/1%2f"] {
        assert_eq!(validate(app.address, &token, path).status, 403, "{path}");
    }
    assert_eq!(validate(app.address, &token, "/orders/1").status, 200);
}

#[test]
fn g5_a_redemption_survives_a_restart() {
    let app = TestApp::start();
    add_route(&app);
    let client = app.client(|_| {});
    let (used, kept) = (issue_one_time(&app, &client), issue_one_time(&app, &client));
    assert_eq!(validate(app.address, &used, "/orders/1").status, 200);
    let restarted = app.restart();
    assert_eq!(validate(restarted.address, &used, "/orders/1").status, 401);
    assert_eq!(validate(restarted.address, &kept, "/orders/1").status, 200);
}

#[test]
fn g5_without_the_database_no_one_time_token_is_accepted() {
    let app = TestApp::start();
    add_route(&app);
    let client = app.client(|_| {});
    let token = issue_one_time(&app, &client);
    app.sql("ALTER TABLE redemptions RENAME TO gone");
    assert_eq!(validate(app.address, &token, "/orders/1").status, 503);
    app.sql("ALTER TABLE gone RENAME TO redemptions");
    assert_eq!(validate(app.address, &token, "/orders/1").status, 200);
}

#[test]
fn p38_a_revoked_one_time_token_is_denied() {
    let app = TestApp::start();
    add_route(&app);
    let client = app.client(|_| {});
    let token = issue_one_time(&app, &client);
    let revoked = app.send(about_token("/revoke", &client, &token));
    assert_eq!(revoked.status, 200);
    assert_eq!(validate(app.address, &token, "/orders/1").status, 401);
}

#[test]
fn a_one_time_token_expires_after_two_minutes() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let claims = claims(&issue_one_time(&app, &client));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 120);
    assert_eq!(claims["one_time"], true);
}
