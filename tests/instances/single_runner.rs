//! Jobs that one instance runs at a time, and how another takes over when that instance is killed
//! or suspended.

use std::time::Duration;

use testkit::cluster::Cluster;
use testkit::eventually;
use testkit::http::Request;

use crate::trio::Trio;

/// How long the others may take to notice and to continue.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(20);

/// The advisory locks as `pg_locks` shows them: of the change log, and of the janitor.
const LOG: &str = "classid = 0 AND objid = 7106407";
const REMOVAL: &str = "classid = 115 AND objid = 2003133808";

/// The number of the instance that holds a lock, if any.
fn holder(cluster: &Cluster, lock: &str) -> Option<usize> {
    let number = cluster.number(&format!(
        "SELECT coalesce(max(right(application_name, 1)::int), -1) FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE locktype = 'advisory' AND granted AND {lock} AND application_name LIKE 'instance%'"
    ));
    usize::try_from(number).ok()
}

/// Waits until an instance holds a lock.
fn wait_for_holder(cluster: &Cluster, lock: &str) -> usize {
    eventually("an instance holds the lock", Duration::from_secs(30), || {
        holder(cluster, lock)
    })
}

/// Slows statements on a table down, so that a test can interrupt one, and records when two run at
/// the same time.
fn slow_down(cluster: &Cluster, event: &str, table: &str) {
    cluster.sql(&format!(
        "CREATE TABLE meetings (pid INT);
         CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM pg_sleep(0.5);
             INSERT INTO meetings SELECT pid FROM pg_locks WHERE relation = '{table}'::regclass
                 AND mode = 'RowExclusiveLock' AND pid <> pg_backend_pid();
             RETURN NULL;
         END $$;
         CREATE TRIGGER dawdle AFTER {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION dawdle()"
    ));
}

/// Asserts that no two instances ran the job at the same time.
#[track_caller]
fn assert_one_at_a_time(trio: &Trio) {
    assert_eq!(trio.cluster.number("SELECT count(*) FROM meetings"), 0);
}

/// Revocations that expired long ago: several batches of the janitor.
const EXPIRED: i64 = 2000;

fn with_expired_revocations(query_timeout: &str) -> Trio {
    let trio = Trio::with(&[
        ("MINTAGE_JANITOR__INTERVAL", "100ms"),
        ("MINTAGE_DATABASE__QUERY_TIMEOUT", query_timeout),
    ]);
    slow_down(&trio.cluster, "DELETE", "revocations");
    trio.cluster.sql(&format!(
        "INSERT INTO revocations (jti, expires_at, revoked_at_ms)
         SELECT 'expired-' || n, 1, 1 FROM generate_series(1, {EXPIRED}) AS n"
    ));
    trio
}

fn left(trio: &Trio) -> i64 {
    trio.cluster.number("SELECT count(*) FROM revocations")
}

/// The number of rows that an instance reports as removed.
fn removed_by(trio: &Trio, number: usize) -> i64 {
    let ask = trio.operator(Request::get("/admin/janitor/stats"));
    let stats = trio.instances[number].send(&ask).json();
    stats["removed_total"]["revocations"].as_i64().unwrap()
}

#[test]
fn one_janitor_at_a_time_removes_each_row_once() {
    // Rows whose removal is committed after its timeout are removed, but not counted.
    let trio = with_expired_revocations("20s");
    eventually("all rows are removed", TAKEOVER_TIMEOUT, || {
        (left(&trio) == 0).then_some(())
    });
    let removed = || (0..3).map(|number| removed_by(&trio, number)).sum::<i64>();
    eventually("all rows are counted", TAKEOVER_TIMEOUT, || {
        (removed() == EXPIRED).then_some(())
    });
    assert_one_at_a_time(&trio);
}

#[test]
fn when_the_janitor_is_killed_another_instance_continues() {
    let mut trio = with_expired_revocations("2s");
    let number = wait_for_holder(&trio.cluster, REMOVAL);
    trio.instances[number].kill();
    assert!(left(&trio) > 0, "the janitor was interrupted");
    eventually("all rows are removed", TAKEOVER_TIMEOUT, || {
        (left(&trio) == 0).then_some(())
    });
}

/// A suspended process keeps its connections, and PostgreSQL would wait for it indefinitely.
#[test]
fn when_the_janitor_is_suspended_another_instance_continues() {
    let trio = with_expired_revocations("2s");
    let number = wait_for_holder(&trio.cluster, REMOVAL);
    trio.instances[number].signal("STOP");
    assert!(left(&trio) > 0, "the janitor was interrupted");
    eventually("all rows are removed", TAKEOVER_TIMEOUT, || {
        (left(&trio) == 0).then_some(())
    });
    assert_ne!(holder(&trio.cluster, REMOVAL), Some(number));
    trio.instances[number].signal("CONT");
    eventually("the instance is ready again", TAKEOVER_TIMEOUT, || {
        (trio.instances[number].send(&Request::get("/readyz")).status == 200).then_some(())
    });
}

/// Instances that all find at the same moment that a key is missing: the one for ES256 was deleted.
fn with_a_missing_key() -> Trio {
    let trio = Trio::start();
    slow_down(&trio.cluster, "INSERT", "signing_keys");
    trio.cluster.sql(
        "DELETE FROM signing_keys WHERE alg = 'ES256'; INSERT INTO changes (kind, subject, at_ms) VALUES ('keys', '', 1)",
    );
    trio
}

fn keys(trio: &Trio) -> i64 {
    trio.cluster
        .number("SELECT count(*) FROM signing_keys WHERE alg = 'ES256'")
}

/// Asserts that there is one new key, and still only one after several more polls of all instances.
fn assert_one_new_key(trio: &Trio) {
    eventually("there is a new key", TAKEOVER_TIMEOUT, || {
        (keys(trio) == 1).then_some(())
    });
    let jwks = trio.operator(Request::get("/.well-known/jwks.json"));
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(keys(trio), 1);
    }
    let published = |answer: &testkit::http::Response| answer.text().matches("\"ES256\"").count() == 1;
    let running = trio
        .instances
        .iter()
        .filter(|instance| instance.send(&jwks).status == 200);
    for instance in running {
        eventually("the key is published", TAKEOVER_TIMEOUT, || {
            published(&instance.send(&jwks)).then_some(())
        });
    }
}

#[test]
fn one_of_three_key_rotators_publishes() {
    let trio = with_a_missing_key();
    assert_one_new_key(&trio);
    assert_one_at_a_time(&trio);
}

#[test]
fn when_the_key_rotator_is_killed_another_instance_publishes() {
    let mut trio = with_a_missing_key();
    let number = wait_for_holder(&trio.cluster, LOG);
    trio.instances[number].kill();
    eventually("there is a new key", TAKEOVER_TIMEOUT, || {
        (keys(&trio) == 1).then_some(())
    });
}

#[test]
fn when_the_key_rotator_is_suspended_another_instance_publishes() {
    let trio = with_a_missing_key();
    let number = wait_for_holder(&trio.cluster, LOG);
    trio.instances[number].signal("STOP");
    eventually("there is a new key", TAKEOVER_TIMEOUT, || {
        (keys(&trio) == 1).then_some(())
    });
    trio.instances[number].signal("CONT");
    assert_one_new_key(&trio);
}
