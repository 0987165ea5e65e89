//! A commit whose response is lost: the change is done, but the caller does not know.

use std::time::Duration;

use serde_json::json;
use testkit::gateway::forwarded;
use testkit::http::Request;
use testkit::load::Load;
use testkit::token::{about_token, jti, token_request};
use testkit::{TestClient, eventually};

use crate::scene::Scene;

/// The batch is written again, and each of its rows exists once.
fn lost_batches(durability: &str) {
    let scene = Scene::new(&[("MINTAGE_WRITER__DURABILITY", durability)]);
    let client = scene.client();
    scene.token(&client);
    scene.wait_until_all_is_written();
    scene.proxy.cut_commits(3);
    let load = Load::start(scene.server.address, &[client], 4, Duration::from_millis(5));
    eventually(
        "the responses to three batches were lost",
        Duration::from_secs(20),
        || (scene.proxy.cuts_left() == 0).then_some(()),
    );
    let receipts = load.stop();
    scene.assert_all_recorded(&receipts);
    let recorded = scene.cluster.recorded();
    let twice = recorded.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert_eq!(twice, 0);
    let writer = scene.statistics("writer");
    // A flush is retried immediately, so two lost responses are one failure.
    assert!(writer["flush_failures_total"].as_u64() >= Some(1), "{writer}");
    assert_eq!(writer["dead_lettered_total"], 0);
}

#[test]
fn g4_a_batch_whose_commit_response_is_lost_is_written_once() {
    lost_batches("async");
}

#[test]
fn g3_a_batch_whose_commit_response_is_lost_is_written_once() {
    lost_batches("group");
}

/// Loses the responses to the next `count` commits. All token records are written before, so the
/// commits are those of the caller.
fn cut_next_commits(scene: &Scene, count: usize) {
    scene.wait_until_all_is_written();
    scene.proxy.cut_commits(count);
}

/// An idempotent call is retried once: it fails only if two responses are lost.
const ONE_OR_BOTH_TRIES: [usize; 2] = [1, 2];

fn introspected(scene: &Scene, client: &TestClient, token: &str) -> serde_json::Value {
    scene.server.send(&about_token("/introspect", client, token)).json()
}

#[test]
fn g1_a_revocation_whose_commit_response_is_lost_is_not_acknowledged_before_it_is_in_effect() {
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
fn g1_a_revocation_whose_commit_response_is_lost_takes_effect_without_a_retry() {
    let scene = Scene::new(&[]);
    let client = scene.client();
    let token = scene.token(&client);
    cut_next_commits(&scene, 2);
    scene
        .server
        .send(&about_token("/revoke", &client, &token))
        .assert_unavailable();
    eventually("the database and the server agree", Duration::from_secs(10), || {
        (introspected(&scene, &client, &token) == json!({"active": false})).then_some(())
    });
}

/// A second try would find that the operator has lost the right, by the first.
#[test]
fn g1_a_revocation_of_the_operators_own_token_whose_commit_response_is_lost_is_not_denied() {
    let scene = Scene::new(&[]);
    let scope = "mintage:tokens";
    let operator = scene.server.client(scope, &[]);
    let token = || {
        let request = token_request(&operator, &[("scope", scope)]);
        scene.server.send(&request).access_token()
    };
    let (one, all) = (token(), token());
    let revocations = [
        (
            Request::new("DELETE", &format!("/admin/tokens/{}", jti(&one))),
            &one,
            format!("SELECT count(*) FROM revocations WHERE jti = '{}'", jti(&one)),
        ),
        (
            Request::post(&format!("/admin/clients/{}/revoke-tokens", operator.id)),
            &all,
            "SELECT count(*) FROM audit WHERE action = 'client.revoke_tokens'".to_owned(),
        ),
    ];
    for (revocation, token, committed) in revocations {
        cut_next_commits(&scene, 1);
        scene.server.send(&revocation.bearer(token)).assert_unavailable();
        assert_eq!(scene.proxy.cuts_left(), 0);
        assert_eq!(scene.cluster.number(&committed), 1);
        eventually("the revocation is in effect", Duration::from_secs(10), || {
            let answer = scene.server.send(&Request::get("/admin/self").bearer(token));
            (answer.status == 401).then_some(())
        });
    }
}

#[test]
fn g5_a_redemption_whose_commit_response_is_lost_is_denied_and_the_token_stays_redeemed() {
    let scene = Scene::new(&[]);
    let client = scene.client();
    scene
        .server
        .run_json(&["route", "add", "--path", "/orders", "--scope", "orders:read"]);
    let ordinary = scene.token(&client);
    eventually("the route is in effect", Duration::from_secs(5), || {
        (scene.server.send(&forwarded("GET", "/orders").bearer(&ordinary)).status == 200).then_some(())
    });
    for cuts in ONE_OR_BOTH_TRIES {
        let token = scene
            .server
            .send(&token_request(&client, &[("one_time", "true")]))
            .access_token();
        cut_next_commits(&scene, cuts);
        let status = scene.server.send(&forwarded("GET", "/orders").bearer(&token)).status;
        assert!([401, 503].contains(&status), "{status}");
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
fn a_command_whose_commit_response_is_lost_fails_without_reporting_success() {
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
    // The client was created all the same, and a second attempt reports that.
    let outcome = scene.server.program.run_with(&[], &create);
    let exists = "mintage: client \"new\" already exists: ";
    assert!(outcome.stderr.starts_with(exists), "{outcome:?}");
}
