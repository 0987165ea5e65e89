//! The pool and its circuit breaker: all connections busy, all connections dead, and a database
//! that receives only probes while it is unavailable.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use testkit::gateway::forwarded;
use testkit::http::Request;
use testkit::proxy::Conduct;
use testkit::token::{about_token, token_request};
use testkit::{TestClient, eventually};

use crate::scene::Scene;

#[test]
fn with_every_connection_busy_callers_wait_for_a_bounded_time_and_get_503_with_retry_after() {
    let scene = Scene::new(&[
        ("MINTAGE_DATABASE__POOL__MAX_SIZE", "2"),
        ("MINTAGE_DATABASE__POOL__MIN_IDLE", "1"),
    ]);
    let clients: Vec<TestClient> = (0..8).map(|_| scene.client()).collect();
    let mut lock_holder = scene.cluster.connect();
    lock_holder
        .batch_execute("BEGIN; LOCK TABLE clients IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let scene = &scene;
        let waiting: Vec<_> = clients
            .iter()
            .map(|client| {
                scope.spawn(move || {
                    scene.server.send(&token_request(client, &[])).assert_unavailable();
                    began.elapsed()
                })
            })
            .collect();
        eventually("callers wait for a connection", Duration::from_secs(2), || {
            let pool = scene.statistics("pool");
            (pool["in_use"] == 2 && pool["waiting"].as_u64() > Some(0)).then_some(())
        });
        while waiting.iter().any(|thread| !thread.is_finished()) {
            scene.statistics("pool");
            assert_eq!(scene.server.send(&Request::get("/livez")).status, 200);
            assert!([200, 503].contains(&scene.readiness()));
            std::thread::sleep(Duration::from_millis(20));
        }
        for thread in waiting {
            // The default connection_timeout and query_timeout, plus an allowance for a busy
            // machine.
            let waited = thread.join().unwrap();
            assert!(waited < Duration::from_secs(4), "{waited:?}");
        }
    });
    assert!(scene.statistics("pool")["timeouts_total"].as_u64() > Some(0));
    lock_holder.batch_execute("ROLLBACK").unwrap();
    eventually("all clients get tokens", Duration::from_secs(15), || {
        let issued = |client| scene.server.send(&token_request(client, &[])).status == 200;
        clients.iter().all(issued).then_some(())
    });
}

/// All connections of a server die while they are idle. No request fails afterwards, neither the
/// first one nor any other.
fn dead_connections(environment: &[(&str, &str)], kill: impl Fn(&Scene)) {
    let scene = Scene::new(environment);
    let route = ["route", "add", "--path", "/orders", "--scope", "orders:read"];
    scene.server.run_json(&route);
    let uncached: Vec<TestClient> = (0..12).map(|_| scene.client()).collect();
    let client = scene.client();
    let token = scene.token(&client);
    let one_time = scene.server.send(&token_request(&client, &[("one_time", "true")]));
    let revoke_all = Request::post(&format!("/admin/clients/{}/revoke-tokens", client.id));
    let first = [
        forwarded("GET", "/orders").bearer(&one_time.access_token()),
        about_token("/revoke", &client, &token),
        scene.operator(revoke_all),
        token_request(&uncached[0], &[]),
    ];
    for request in first {
        scene.wait_until_all_is_written();
        eventually("there are idle connections", Duration::from_secs(10), || {
            (scene.statistics("pool")["idle"].as_u64() >= Some(5)).then_some(())
        });
        kill(&scene);
        let answer = scene.server.send(&request);
        assert!([200, 204].contains(&answer.status), "{request:?}: {}", answer.text());
    }
    let answers = std::thread::scope(|scope| {
        let ask = |client| {
            let scene = &scene;
            scope.spawn(move || scene.server.send(&token_request(client, &[])).status)
        };
        let asking: Vec<_> = uncached[1..].iter().map(ask).collect();
        asking
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<u16>>()
    });
    assert_eq!(answers, [200; 11]);
}

#[test]
fn no_request_fails_after_postgres_has_ended_every_connection() {
    dead_connections(&[], |scene| scene.cluster.end_all_connections());
}

#[test]
fn no_request_fails_after_postgres_was_restarted_while_idle() {
    // The window is longer than all calls. Otherwise a slow restart would open the breaker, because
    // the change feed calls meanwhile, and the next request would rightly fail.
    dead_connections(&[("MINTAGE_DATABASE__BREAKER__WINDOW", "1000")], |scene| {
        scene.cluster.stop();
        scene.cluster.start_again();
    });
}

/// The distinct states of the breaker in order, until it is closed again. They are read from the
/// metrics, which are available even while the change log is too old to authorize an operator.
fn watch_breaker(scene: &Scene) -> Vec<&'static str> {
    let mut seen = Vec::new();
    eventually("the breaker opens and closes", Duration::from_secs(30), || {
        let state = scene.server.metrics().value("mintage_breaker_state").unwrap();
        seen.push(["closed", "half_open", "open"][state as usize]);
        seen.dedup();
        (seen.len() > 1 && seen.last() == Some(&"closed")).then_some(())
    });
    seen
}

#[test]
fn an_open_breaker_sends_nothing_but_probes_to_the_database() {
    const OPEN_FOR: Duration = Duration::from_secs(1);
    let scene = Scene::new(&[("MINTAGE_DATABASE__BREAKER__OPEN_FOR", "1s")]);
    let uncached: Vec<TestClient> = (0..8).map(|_| scene.client()).collect();
    let assert_fails = |client: &TestClient| scene.server.send(&token_request(client, &[])).assert_unavailable();
    let (asked, statements, seen) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch_breaker(&scene));
        // Longer than a call may take.
        scene.proxy.set(Conduct::Delay(Duration::from_millis(2500)));
        std::thread::scope(|scope| {
            for client in &uncached {
                scope.spawn(move || assert_fails(client));
            }
        });
        let (began, statements) = (Instant::now(), scene.proxy.statements());
        let mut asked = 0;
        for client in uncached
            .iter()
            .cycle()
            .take_while(|_| began.elapsed() < Duration::from_secs(5))
        {
            assert_fails(client);
            asked += 1;
        }
        let statements = scene.proxy.statements() - statements;
        scene.proxy.set(Conduct::Pass);
        (asked, statements, watching.join().unwrap())
    });
    // A probe takes as long as a call may take, so there is at most one per open period plus call
    // timeout.
    let probes = 1 + Duration::from_secs(5).as_millis() / (OPEN_FOR + Duration::from_secs(2)).as_millis();
    // Each call is three statements: connection check, client, secrets. The calls in progress when
    // the breaker opened have two left.
    let allowed = 3 * probes as usize + 2 * (uncached.len() + 1);
    assert!(statements <= allowed, "{statements} statements, {allowed} allowed");
    // Otherwise each takes as long as a call may take, so there are two or three. The probes may be
    // among them and take most of the time, so a busy machine does not have time for many more.
    assert!(asked > 20, "{asked} were rejected immediately");
    assert_eq!(seen[..3], ["closed", "open", "half_open"]);
    assert_eq!(scene.server.send(&token_request(&uncached[0], &[])).status, 200);
    let state = eventually("the operator is authorized", Duration::from_secs(15), || {
        let answer = scene.ask_statistics("pool");
        (answer.status == 200).then(|| answer.json()["breaker"].clone())
    });
    assert_eq!(state, "closed");
}
