//! The pool and its breaker: all connections busy, all of them dead, and a database that is left alone while it is away.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use testkit::gateway::forwarded;
use testkit::http::Request;
use testkit::proxy::Conduct;
use testkit::token::{about_token, token_request};
use testkit::{TestClient, eventually};

use crate::scene::Scene;

#[test]
fn with_every_connection_busy_callers_wait_for_a_bounded_time_and_are_told_to_come_again() {
    let scene = Scene::new(&[
        ("MINTAGE_DATABASE__POOL__MAX_SIZE", "2"),
        ("MINTAGE_DATABASE__POOL__MIN_IDLE", "1"),
    ]);
    let strangers: Vec<TestClient> = (0..8).map(|_| scene.client()).collect();
    let mut holder = scene.cluster.connect();
    holder
        .batch_execute("BEGIN; LOCK TABLE clients IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let scene = &scene;
        let waiting: Vec<_> = strangers
            .iter()
            .map(|stranger| {
                scope.spawn(move || {
                    scene.server.send(&token_request(stranger, &[])).assert_unavailable();
                    began.elapsed()
                })
            })
            .collect();
        eventually("callers wait for a connection", Duration::from_secs(1), || {
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
            // The default connection_timeout and query_timeout, and what a busy machine adds.
            let waited = thread.join().unwrap();
            assert!(waited < Duration::from_secs(4), "{waited:?}");
        }
    });
    assert!(scene.statistics("pool")["timeouts_total"].as_u64() > Some(0));
    holder.batch_execute("ROLLBACK").unwrap();
    eventually("all of them get tokens", Duration::from_secs(15), || {
        let tokens = |stranger| scene.server.send(&token_request(stranger, &[])).status == 200;
        strangers.iter().all(tokens).then_some(())
    });
}

/// All connections of a server die while nobody uses them; whoever asks first afterwards does not notice, and nobody else.
fn dead_connections(kill: impl Fn(&Scene)) {
    let scene = Scene::new(&[]);
    let route = ["route", "add", "--path", "/orders", "--scope", "orders:read"];
    scene.server.run_json(&route);
    let strangers: Vec<TestClient> = (0..12).map(|_| scene.client()).collect();
    let known = scene.client();
    let revoked = scene.token(&known);
    let once = scene.server.send(&token_request(&known, &[("one_time", "true")]));
    let revoke_all = Request::post(&format!("/admin/clients/{}/revoke-tokens", known.id));
    let first = [
        forwarded("GET", "/orders").bearer(&once.access_token()),
        about_token("/revoke", &known, &revoked),
        scene.operator(revoke_all),
        token_request(&strangers[0], &[]),
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
        let ask = |stranger| {
            let scene = &scene;
            scope.spawn(move || scene.server.send(&token_request(stranger, &[])).status)
        };
        let asking: Vec<_> = strangers[1..].iter().map(ask).collect();
        asking
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<u16>>()
    });
    assert_eq!(answers, [200; 11]);
}

#[test]
fn nobody_notices_that_every_connection_was_ended() {
    dead_connections(|scene| scene.cluster.end_all_connections());
}

#[test]
fn nobody_notices_that_the_server_was_restarted_in_a_quiet_moment() {
    dead_connections(|scene| {
        scene.cluster.stop();
        scene.cluster.start_again();
    });
}

/// The states of the breaker, each once, until it is closed again: from the metrics, which are there also while the change
/// log is too old to authorize an operator.
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
fn an_open_breaker_leaves_the_database_alone_but_for_probes() {
    const OPEN_FOR: Duration = Duration::from_secs(1);
    let scene = Scene::new(&[("MINTAGE_DATABASE__BREAKER__OPEN_FOR", "1s")]);
    let strangers: Vec<TestClient> = (0..8).map(|_| scene.client()).collect();
    let ask_in_vain = |stranger: &TestClient| scene.server.send(&token_request(stranger, &[])).assert_unavailable();
    let (asked, statements, seen) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch_breaker(&scene));
        // Longer than a call may take.
        scene.proxy.set(Conduct::Delay(Duration::from_millis(2500)));
        std::thread::scope(|scope| {
            for stranger in &strangers {
                scope.spawn(move || ask_in_vain(stranger));
            }
        });
        let (began, statements) = (Instant::now(), scene.proxy.statements());
        let mut asked = 0;
        for stranger in strangers
            .iter()
            .cycle()
            .take_while(|_| began.elapsed() < Duration::from_secs(5))
        {
            ask_in_vain(stranger);
            asked += 1;
        }
        let statements = scene.proxy.statements() - statements;
        scene.proxy.set(Conduct::Pass);
        (asked, statements, watching.join().unwrap())
    });
    // A probe takes as long as a call may, so there is at most one in that time and what it was open for.
    let probes = 1 + Duration::from_secs(5).as_millis() / (OPEN_FOR + Duration::from_secs(2)).as_millis();
    // Three to a call: whether the connection lives, a client, its secrets. Those under way when it opened have two left.
    let allowed = 3 * probes as usize + 2 * (strangers.len() + 1);
    assert!(statements <= allowed, "{statements} statements, {allowed} allowed");
    assert!(asked > 100, "{asked} were refused at once");
    assert_eq!(seen[..3], ["closed", "open", "half_open"]);
    assert_eq!(scene.server.send(&token_request(&strangers[0], &[])).status, 200);
    let state = eventually("the operator is authorized", Duration::from_secs(15), || {
        let answer = scene.ask_statistics("pool");
        (answer.status == 200).then(|| answer.json()["breaker"].clone())
    });
    assert_eq!(state, "closed");
}
