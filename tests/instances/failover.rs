//! The database fails over: it is stopped during operation and continues at another address.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use mintage::clock::Clock;
use mintage::oauth::client::ClientId;
use testkit::cluster::Cluster;
use testkit::http::Request;
use testkit::load::{Load, received};
use testkit::port;
use testkit::sample::set_enabled;
use testkit::token::{about_token, token_request};
use testkit::{Server, eventually};

use crate::trio::{CONVERGENCE_TIMEOUT, Trio, validation};

/// How long instances may take to be ready again.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// Instances that know both addresses, and the port of the standby.
fn with_a_standby() -> (Trio, u16) {
    let standby = port::free();
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
fn g2_g5_revocations_and_redemptions_survive_a_database_failover() {
    let (trio, standby) = with_a_standby();
    let client = trio.client();
    let usual = trio.add_route(&client, "/once");
    // Every worker has cached the client, and there is traffic during the failover.
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
    let mut invalidated = Vec::new();
    for (number, instance) in trio.instances.iter().enumerate() {
        let (revoked, one_time) = (trio.token(&client), token_request(&client, &[("one_time", "true")]));
        assert_eq!(instance.send(&about_token("/revoke", &client, &revoked)).status, 200);
        let redeemed = instance.send(&one_time).access_token();
        assert_eq!(instance.send(&validation(&redeemed, "/once")).status, 200);
        invalidated.extend([(number, revoked), (number, redeemed)]);
    }
    trio.cluster.stop();
    let failed = trio.instances[1].send(&about_token("/revoke", &client, &usual));
    assert_eq!(failed.status, 503, "{}", failed.text());
    trio.cluster.start_elsewhere(standby);
    for instance in &trio.instances {
        eventually("the instance is ready again", RECOVERY_TIMEOUT, || {
            (instance.send(&Request::get("/readyz")).status == 200).then_some(())
        });
    }
    for (number, token) in &invalidated {
        let ask = about_token("/introspect", &client, token);
        let here = &trio.instances[*number];
        assert_ne!(
            here.send(&ask).json()["active"],
            true,
            "the instance that revoked it knows"
        );
        trio.assert_soon("all instances know it", &ask, |answer| {
            answer.status == 200 && answer.json()["active"] == false
        });
        trio.assert_soon("the token is denied", &validation(token, "/once"), |answer| {
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
            "a request of a cached client failed"
        );
        let tokens = received(&receipts);
        eventually("every token is recorded", RECOVERY_TIMEOUT, || {
            let recorded: HashSet<String> = trio.cluster.recorded().into_iter().collect();
            tokens.iter().all(|token| recorded.contains(token)).then_some(())
        });
    }
}

/// A replica that was promoted too early, or a restored backup: its change log is shorter, and it
/// assigns numbers that instances have already read to other changes.
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
    // An instance that has not yet recorded the change as read would not notice its absence.
    trio.instances.iter().for_each(Server::wait_for_change_feed);
    trio.cluster.sql(&format!(
        "BEGIN; DELETE FROM changes WHERE seq > {kept}; DELETE FROM revocations; UPDATE clients SET enabled = true;
         SELECT setval(pg_get_serial_sequence('changes', 'seq'), {kept}); COMMIT"
    ));
    trio.assert_soon("the client is enabled again", &ask, |answer| answer.status == 200);
    let introspection = about_token("/introspect", &before, &token);
    for instance in &trio.instances {
        assert_eq!(
            instance.send(&introspection).json()["active"],
            false,
            "a token that an instance has revoked stays revoked"
        );
    }
    set(&after, false);
    let ask = token_request(&after, &[]);
    trio.assert_soon("a new change is known", &ask, |answer| answer.status == 401);
    eventually("every instance is ready", CONVERGENCE_TIMEOUT, || {
        let ready = |instance: &Server| instance.send(&Request::get("/readyz")).status == 200;
        trio.instances.iter().all(ready).then_some(())
    });
}
