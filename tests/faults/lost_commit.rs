//! A commit whose answer is lost: it is done, and whoever asked for it does not know.

use std::time::Duration;

use serde_json::json;
use testkit::gateway::forwarded;
use testkit::load::Load;
use testkit::token::{about_token, jti, token_request};
use testkit::{TestClient, eventually};

use crate::scene::Scene;

/// The batch is written again, and its rows are there once.
fn lost_batches(durability: &str) {
    let scene = Scene::new(&[("MINTAGE_WRITER__DURABILITY", durability)]);
    let client = scene.client();
    scene.token(&client);
    scene.wait_until_all_is_written();
    scene.proxy.cut_commits(3);
    let load = Load::start(scene.server.address, &[client], 4, Duration::from_millis(5));
    eventually("three batches were written in vain", Duration::from_secs(20), || {
        (scene.proxy.cuts_left() == 0).then_some(())
    });
    let receipts = load.stop();
    scene.assert_all_recorded(&receipts);
    let recorded = scene.cluster.recorded();
    let twice = recorded.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert_eq!(twice, 0);
    let writer = scene.statistics("writer");
    // A flush is tried a second time at once: two cuts are one failure.
    assert!(writer["flush_failures_total"].as_u64() >= Some(1), "{writer}");
    assert_eq!(writer["dead_lettered_total"], 0);
}

#[test]
fn g4_a_batch_whose_commit_is_not_answered_is_written_once() {
    lost_batches("async");
}

#[test]
fn g3_a_batch_whose_commit_is_not_answered_is_written_once() {
    lost_batches("group");
}

/// Loses the answers to the next commits of one who asks. The records of tokens are written by then, so they are no
/// others'.
fn cut_next_commits(scene: &Scene, count: usize) {
    scene.wait_until_all_is_written();
    scene.proxy.cut_commits(count);
}

/// A call that may be done twice is: two answers must be lost for it to fail.
const ONE_OR_BOTH_TRIES: [usize; 2] = [1, 2];

fn introspected(scene: &Scene, client: &TestClient, token: &str) -> serde_json::Value {
    scene.server.send(&about_token("/introspect", client, token)).json()
}

#[test]
fn g1_a_revocation_whose_commit_is_not_answered_is_not_reported_as_done_before_it_counts() {
    let scene = Scene::new(&[]);
    let client = scene.client();
    for cuts in ONE_OR_BOTH_TRIES {
        let token = scene.token(&client);
        cut_next_commits(&scene, cuts);
        let revocation = about_token("/revoke", &client, &token);
        let answer = scene.server.send(&revocation);
        assert_eq!(scene.proxy.cuts_left(), 0);
        if answer.status != 200 {
            answer.assert_unavailable();
            assert_eq!(scene.server.send(&revocation).status, 200);
        }
        assert_eq!(introspected(&scene, &client, &token), json!({"active": false}));
        let rows = format!("SELECT count(*) FROM revocations WHERE jti = '{}'", jti(&token));
        assert_eq!(scene.cluster.number(&rows), 1);
    }
}

#[test]
fn g1_a_revocation_whose_commit_is_not_answered_counts_even_if_nobody_tries_again() {
    let scene = Scene::new(&[]);
    let client = scene.client();
    let token = scene.token(&client);
    cut_next_commits(&scene, 2);
    scene
        .server
        .send(&about_token("/revoke", &client, &token))
        .assert_unavailable();
    eventually("the database and the server agree", Duration::from_secs(2), || {
        (introspected(&scene, &client, &token) == json!({"active": false})).then_some(())
    });
}

#[test]
fn g5_a_use_whose_commit_is_not_answered_is_refused_and_there_is_no_other() {
    let scene = Scene::new(&[]);
    let client = scene.client();
    scene
        .server
        .run_json(&["route", "add", "--path", "/orders", "--scope", "orders:read"]);
    let ordinary = scene.token(&client);
    eventually("the route counts", Duration::from_secs(5), || {
        (scene.server.send(&forwarded("GET", "/orders").bearer(&ordinary)).status == 200).then_some(())
    });
    for cuts in ONE_OR_BOTH_TRIES {
        let token = scene
            .server
            .send(&token_request(&client, &[("one_time", "true")]))
            .access_token();
        cut_next_commits(&scene, cuts);
        let refused = scene.server.send(&forwarded("GET", "/orders").bearer(&token)).status;
        assert!([401, 503].contains(&refused), "{refused}");
        assert_eq!(scene.proxy.cuts_left(), 0);
        for _ in 0..20 {
            assert_eq!(
                scene.server.send(&forwarded("GET", "/orders").bearer(&token)).status,
                401
            );
        }
        let rows = format!("SELECT count(*) FROM redemptions WHERE jti = '{}'", jti(&token));
        assert_eq!(scene.cluster.number(&rows), 1);
    }
}

#[test]
fn a_command_whose_commit_is_not_answered_does_not_say_that_it_is_done() {
    let scene = Scene::new(&[]);
    cut_next_commits(&scene, 1);
    let create = [
        "client", "create", "--id", "new", "--name", "n", "--scope", "a", "--json",
    ];
    let outcome = scene.server.program.run_with(&[], &create);
    assert_eq!(scene.proxy.cuts_left(), 0);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome:?}");
    assert!(
        outcome
            .stderr
            .starts_with("mintage: the connection to the database was lost: ")
            && outcome.stderr.lines().count() == 1,
        "{outcome:?}"
    );
    // It was done all the same, and who tries again is told so.
    let outcome = scene.server.program.run_with(&[], &create);
    assert_eq!(outcome.stderr, "mintage: client \"new\" already exists\n");
}
