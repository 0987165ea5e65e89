//! The change log out of order, with gaps, or on another database: no change is missed.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use serde_json::json;
use testkit::cluster::Cluster;
use testkit::http::{Request, Response};
use testkit::proxy::{Conduct, PostgresProxy};
use testkit::token::{about_token, token_request};
use testkit::{TestClient, eventually};

use crate::trio::{CONVERGENCE_TIMEOUT, Trio, lag, route};

/// Whether the response is 200 and the token inactive.
fn is_inactive(answer: &Response) -> bool {
    answer.status == 200 && answer.json() == json!({"active": false})
}

/// Revokes a token at one instance and waits until all instances know.
fn revoke_everywhere(trio: &Trio, client: &TestClient) {
    let token = trio.token(client);
    let revoked = trio.instances[0].send(&about_token("/revoke", client, &token));
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    let ask = about_token("/introspect", client, &token);
    trio.assert_soon("the revocation is known", &ask, is_inactive);
}

/// Disables a client with plain SQL, without taking the lock of the change log.
fn disable_with_sql(client: &TestClient) -> String {
    let id = &client.id;
    format!(
        "UPDATE clients SET enabled = false WHERE client_id = '{id}';
         INSERT INTO changes (kind, subject, at_ms) VALUES ('client', '{id}', 1)"
    )
}

#[test]
fn g2_a_change_that_commits_after_a_higher_number_was_read_is_not_missed() {
    let trio = Trio::start();
    let (client, other) = (trio.client(), trio.client());
    let mut conn = trio.cluster.connect();
    conn.batch_execute(&format!("BEGIN; {}", disable_with_sql(&client)))
        .unwrap();
    revoke_everywhere(&trio, &other);
    let ask = token_request(&client, &[]);
    assert_eq!(trio.instances[2].send(&ask).status, 200);
    conn.batch_execute("COMMIT").unwrap();
    trio.assert_soon("the late change is known", &ask, |answer| answer.status == 401);
}

#[test]
fn g2_an_instance_that_starts_before_a_late_commit_does_not_miss_it() {
    let trio = Trio::start();
    let (client, other) = (trio.client(), trio.client());
    assert_eq!(trio.instances[0].send(&token_request(&client, &[])).status, 200);
    let mut conn = trio.cluster.connect();
    conn.batch_execute(&format!("BEGIN; {}", disable_with_sql(&client)))
        .unwrap();
    revoke_everywhere(&trio, &other);
    let fourth = testkit::program!()
        .on(&trio.cluster.url(trio.cluster.address(), "mintage"), &[])
        .serve(&[]);
    let ask = token_request(&client, &[]);
    assert_eq!(fourth.send(&ask).status, 200);
    conn.batch_execute("COMMIT").unwrap();
    eventually("the late change is known", CONVERGENCE_TIMEOUT, || {
        (0..4).all(|_| fourth.send(&ask).status == 401).then_some(())
    });
}

#[test]
fn g2_gaps_that_are_never_filled_delay_no_change() {
    let trio = Trio::start();
    let client = trio.client();
    for _ in 0..3 {
        trio.cluster
            .sql(&format!("BEGIN; {}; ROLLBACK", disable_with_sql(&client)));
        revoke_everywhere(&trio, &client);
    }
    for instance in &trio.instances {
        assert_eq!(instance.send(&Request::get("/readyz")).status, 200);
        assert!(lag(instance) < 5.0);
    }
    assert_eq!(trio.instances[1].send(&token_request(&client, &[])).status, 200);
}

/// Another session holds the lock of the change log and does not release it.
#[test]
fn g2_a_revocation_that_cannot_be_written_to_the_change_log_is_not_acknowledged() {
    let trio = Trio::start();
    let client = trio.client();
    let token = trio.token(&client);
    let (revoke, ask) = (
        about_token("/revoke", &client, &token),
        about_token("/introspect", &client, &token),
    );
    let mut conn = trio.cluster.connect();
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock({})", 0x6c_6f67);
    conn.batch_execute(&lock).unwrap();
    trio.instances[0].send(&revoke).assert_unavailable();
    for instance in &trio.instances {
        assert_eq!(instance.send(&ask).json()["active"], true);
        assert_eq!(instance.send(&token_request(&client, &[])).status, 200);
        assert_eq!(instance.send(&Request::get("/readyz")).status, 200);
    }
    conn.batch_execute("COMMIT").unwrap();
    assert_eq!(trio.instances[0].send(&revoke).status, 200);
    trio.assert_soon("the revocation is known", &ask, is_inactive);
}

/// Three instances, of which the last one reaches the database through a proxy.
fn with_a_proxy() -> (Trio, PostgresProxy) {
    let cluster = Cluster::start();
    let proxy = PostgresProxy::before(cluster.address());
    let trio = Trio::of(cluster, |cluster, number| {
        let address = match number {
            2 => proxy.address(),
            _ => cluster.address(),
        };
        testkit::program!().on(&cluster.url(address, "mintage"), &[]).serve(&[])
    });
    (trio, proxy)
}

#[test]
fn g2_an_instance_cut_off_from_the_change_log_is_unready_and_then_misses_nothing() {
    let (trio, proxy) = with_a_proxy();
    let client = trio.client();
    let tokens = [trio.token(&client), trio.token(&client)];
    let last = &trio.instances[2];
    proxy.set(Conduct::Refuse);
    let introspections = tokens
        .each_ref()
        .map(|token| about_token("/introspect", &client, token));
    for token in &tokens {
        let answer = trio.instances[0].send(&about_token("/revoke", &client, token));
        assert_eq!(answer.status, 200);
    }
    trio.elsewhere(|conn| {
        let id = mintage::oauth::client::ClientId::parse(&client.id).unwrap();
        testkit::sample::set_enabled(conn, &id, false, mintage::clock::Clock::System.now())
    });
    let add = Request::post("/admin/routes").json(&route("/added"));
    assert_eq!(trio.instances[1].send(&trio.operator(add)).status, 201);
    let observer = TestClient {
        id: client.id.clone(),
        secret: client.secret.clone(),
    };
    let unavailable = eventually("the instance answers 503", CONVERGENCE_TIMEOUT, || {
        let answer = last.send(&about_token("/introspect", &observer, &tokens[0]));
        (answer.status == 503 && lag(last) > 4.9).then_some(answer)
    });
    unavailable.assert_unavailable();
    assert_eq!(last.send(&Request::get("/readyz")).status, 503);
    // The entries that the instance has not read are removed.
    trio.cluster
        .sql("DELETE FROM changes WHERE seq < (SELECT max(seq) FROM changes)");
    proxy.set(Conduct::Pass);
    eventually("the instance is ready", 2 * CONVERGENCE_TIMEOUT, || {
        (last.send(&Request::get("/readyz")).status == 200).then_some(())
    });
    for ask in &introspections {
        // The client is disabled, so it cannot introspect.
        assert_eq!(last.send(ask).status, 401);
    }
    assert_eq!(last.send(&token_request(&client, &[])).status, 401);
    let enable = ["client", "enable", &client.id];
    trio.instances[0].run_json(&enable);
    for ask in &introspections {
        trio.assert_soon("the tokens stay revoked", ask, is_inactive);
    }
    assert!(lag(last) < 5.0);
}

#[test]
fn g2_an_instance_that_was_suspended_does_not_guess_when_it_continues() {
    let trio = Trio::start();
    let client = trio.client();
    let token = trio.token(&client);
    let ask = about_token("/introspect", &client, &token);
    let stopped = &trio.instances[2];
    assert_eq!(stopped.send(&ask).json()["active"], true);
    stopped.signal("STOP");
    let revoked = trio.instances[0].send(&about_token("/revoke", &client, &token));
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    // The change log may be up to 5 s old.
    std::thread::sleep(Duration::from_secs(6));
    std::thread::scope(|scope| {
        // Sent while the process is suspended, so that it answers before it polls.
        let asking: Vec<_> = (0..4).map(|_| scope.spawn(|| stopped.send(&ask))).collect();
        std::thread::sleep(Duration::from_millis(100));
        stopped.signal("CONT");
        for answer in asking.into_iter().map(|thread| thread.join().unwrap()) {
            assert!(answer.status == 503 || is_inactive(&answer), "{}", answer.text());
        }
    });
    trio.assert_soon("the revocation is known", &ask, is_inactive);
}
