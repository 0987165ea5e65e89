//! The database fails over: it is stopped in the middle of whatever it does, and goes on elsewhere.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mintage::clock::Clock;
use mintage::oauth::client::ClientId;
use testkit::cluster::Cluster;
use testkit::http::Request;
use testkit::load::{Load, received};
use testkit::postgres::free_port;
use testkit::sample::set_enabled;
use testkit::token::{about_token, token_request};
use testkit::{Server, eventually};

use crate::trio::{PATIENCE, Trio, lag, question, route};

/// How long instances may take to be ready again.
const BACK: Duration = Duration::from_secs(20);

/// Instances that know both places, and the port of the other one.
fn with_a_standby() -> (Trio, u16) {
    let standby = free_port();
    let trio = Trio::of(Cluster::start(), |cluster, _| {
        let SocketAddr::V4(first) = cluster.address() else {
            panic!("it has an address of IPv4");
        };
        let url = format!("postgres://postgres@{first},127.0.0.1:{standby}/mintage?target_session_attrs=read-write");
        testkit::program!().on(&url, &[]).serve(&[])
    });
    (trio, standby)
}

#[test]
fn g2_g5_when_the_database_goes_on_elsewhere_all_that_was_promised_holds() {
    let (trio, standby) = with_a_standby();
    let client = trio.client();
    let add = Request::post("/admin/routes").json(&route("/once"));
    assert_eq!(trio.instances[0].send(&trio.operator(add)).status, 201);
    let usual = trio.token(&client);
    trio.assert_soon("the route is known", &question(&usual, "/once"), |answer| {
        answer.status == 200
    });
    // Every worker knows the client, and there is traffic when it happens.
    trio.assert_soon("the client is known", &token_request(&client, &[]), |answer| {
        answer.status == 200
    });
    let loads = trio.instances.each_ref().map(|instance| {
        Load::start(
            instance.address,
            std::slice::from_ref(&client),
            2,
            Duration::from_millis(5),
        )
    });
    let mut spent = Vec::new();
    for (number, instance) in trio.instances.iter().enumerate() {
        let (revoked, used) = (trio.token(&client), token_request(&client, &[("one_time", "true")]));
        assert_eq!(instance.send(&about_token("/revoke", &client, &revoked)).status, 200);
        let used = instance.send(&used).access_token();
        assert_eq!(instance.send(&question(&used, "/once")).status, 200);
        spent.extend([(number, revoked), (number, used)]);
    }
    trio.cluster.stop();
    let refused = trio.instances[1].send(&about_token("/revoke", &client, &usual));
    assert_eq!(refused.status, 503, "{}", refused.text());
    trio.cluster.start_elsewhere(standby);
    for instance in &trio.instances {
        eventually("it is ready again", BACK, || {
            (instance.send(&Request::get("/readyz")).status == 200).then_some(())
        });
    }
    for (number, token) in &spent {
        let ask = about_token("/introspect", &client, token);
        let here = &trio.instances[*number];
        assert_ne!(here.send(&ask).json()["active"], true, "who took it back knows it");
        trio.assert_soon("all know it", &ask, |answer| {
            answer.status == 200 && answer.json()["active"] == false
        });
        trio.assert_soon("it opens nothing", &question(token, "/once"), |answer| {
            answer.status == 401
        });
    }
    assert_eq!(
        trio.instances[1].send(&about_token("/revoke", &client, &usual)).status,
        200
    );
    let ask = about_token("/introspect", &client, &usual);
    trio.assert_soon("the revocation is known", &ask, |answer| {
        answer.json()["active"] == false
    });
    for load in loads {
        let receipts = load.stop();
        assert!(
            receipts.iter().all(|receipt| receipt.status == 200),
            "a known client was refused"
        );
        let tokens = received(&receipts);
        eventually("every token is recorded", BACK, || {
            let recorded: HashSet<String> = trio.cluster.recorded().into_iter().collect();
            tokens.iter().all(|token| recorded.contains(token)).then_some(())
        });
    }
}

/// A replica that was promoted before it had everything, or a backup: its change log ends earlier, and numbers that were
/// read are given out again for other changes.
#[test]
fn g2_instances_follow_a_database_that_has_lost_commits() {
    let trio = Trio::start();
    let (before, after) = (trio.client(), trio.client());
    let token = trio.token(&before);
    let id = |client: &testkit::TestClient| ClientId::parse(&client.id).unwrap();
    let set = |client, enabled| {
        assert!(trio.elsewhere(|conn| set_enabled(conn, &id(client), enabled, Clock::System.now())));
    };
    let kept = trio.cluster.number("SELECT max(seq) FROM changes");
    assert_eq!(
        trio.instances[0].send(&about_token("/revoke", &before, &token)).status,
        200
    );
    set(&before, false);
    let ask = token_request(&before, &[]);
    trio.assert_soon("the change is known", &ask, |answer| answer.status == 401);
    // What has been done but not yet noted as read would not be missed.
    let known = Instant::now();
    for instance in &trio.instances {
        eventually("a poll that began after that has ended", PATIENCE, || {
            (lag(instance) < known.elapsed().as_secs_f64()).then_some(())
        });
    }
    trio.cluster.sql(&format!(
        "BEGIN; DELETE FROM changes WHERE seq > {kept}; DELETE FROM revocations; UPDATE clients SET enabled = true;
         SELECT setval(pg_get_serial_sequence('changes', 'seq'), {kept}); COMMIT"
    ));
    trio.assert_soon("the client is as it was", &ask, |answer| answer.status == 200);
    let asked = about_token("/introspect", &before, &token);
    for instance in &trio.instances {
        assert_eq!(
            instance.send(&asked).json()["active"],
            false,
            "what an instance has taken back stays so"
        );
    }
    set(&after, false);
    let ask = token_request(&after, &[]);
    trio.assert_soon("what comes now is known", &ask, |answer| answer.status == 401);
    eventually("nobody has lost its way", PATIENCE, || {
        let ready = |instance: &Server| instance.send(&Request::get("/readyz")).status == 200;
        trio.instances.iter().all(ready).then_some(())
    });
}
