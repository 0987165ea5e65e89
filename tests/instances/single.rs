//! What one instance at a time does, and who does it when that one is killed, or stopped in the middle of it.

use std::time::Duration;

use testkit::cluster::Cluster;
use testkit::eventually;
use testkit::http::Request;

use crate::trio::Trio;

/// How long the others may take to notice and to do it.
const TAKEN_OVER: Duration = Duration::from_secs(20);

/// The advisory locks, in the two halves by which PostgreSQL shows them: of the change log, and of who removes.
const LOG: &str = "classid = 0 AND objid = 7106407";
const REMOVAL: &str = "classid = 115 AND objid = 2003133808";

/// The number of the instance that holds a lock, if one does.
fn holder(cluster: &Cluster, lock: &str) -> Option<usize> {
    let number = cluster.number(&format!(
        "SELECT coalesce(max(right(application_name, 1)::int), -1) FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE locktype = 'advisory' AND granted AND {lock} AND application_name LIKE 'instance%'"
    ));
    usize::try_from(number).ok()
}

/// Waits until an instance holds a lock.
fn wait_for_holder(cluster: &Cluster, lock: &str) -> usize {
    eventually("somebody is at it", Duration::from_secs(30), || holder(cluster, lock))
}

/// Makes whatever is done to a table take a while, so that one can be met in the middle of it, and notes when two do it at
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

/// That nobody was at it while another was.
#[track_caller]
fn assert_one_at_a_time(trio: &Trio) {
    assert_eq!(trio.cluster.number("SELECT count(*) FROM meetings"), 0);
}

/// So many revocations that ended long ago: several batches of the janitor.
const EXPIRED: i64 = 2000;

fn with_expired_revocations() -> Trio {
    let trio = Trio::with(&[("MINTAGE_JANITOR__INTERVAL", "100ms")]);
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

/// Rows that an instance says that it removed.
fn removed_by(trio: &Trio, number: usize) -> i64 {
    let ask = trio.operator(Request::get("/admin/janitor/stats"));
    let told = trio.instances[number].send(&ask).json();
    told["removed_total"]["revocations"].as_i64().unwrap()
}

#[test]
fn one_janitor_at_a_time_removes_each_row_once() {
    let trio = with_expired_revocations();
    eventually("all is removed", TAKEN_OVER, || (left(&trio) == 0).then_some(()));
    let removed = || (0..3).map(|number| removed_by(&trio, number)).sum::<i64>();
    eventually("all are counted", TAKEN_OVER, || (removed() == EXPIRED).then_some(()));
    assert_one_at_a_time(&trio);
}

#[test]
fn when_the_janitor_is_killed_another_goes_on() {
    let mut trio = with_expired_revocations();
    let number = wait_for_holder(&trio.cluster, REMOVAL);
    trio.instances[number].kill();
    assert!(left(&trio) > 0, "it was met in the middle of it");
    eventually("all is removed", TAKEN_OVER, || (left(&trio) == 0).then_some(()));
}

/// A process that is stopped keeps its connections, and PostgreSQL would wait for it for ever.
#[test]
fn when_the_janitor_is_stopped_another_goes_on() {
    let trio = with_expired_revocations();
    let number = wait_for_holder(&trio.cluster, REMOVAL);
    trio.instances[number].signal("STOP");
    assert!(left(&trio) > 0, "it was met in the middle of it");
    eventually("all is removed", TAKEN_OVER, || (left(&trio) == 0).then_some(()));
    assert_ne!(holder(&trio.cluster, REMOVAL), Some(number));
    trio.instances[number].signal("CONT");
    eventually("it is ready again", TAKEN_OVER, || {
        (trio.instances[number].send(&Request::get("/readyz")).status == 200).then_some(())
    });
}

/// Instances that all find at the same moment that a key must be made: somebody has removed the one for ES256.
fn with_a_key_that_is_due() -> Trio {
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

/// That there is one new key, and that there stays one while everybody looks a few times more.
fn assert_one_new_key(trio: &Trio) {
    eventually("there is a new key", TAKEN_OVER, || (keys(trio) == 1).then_some(()));
    let everybody = trio.operator(Request::get("/.well-known/jwks.json"));
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(keys(trio), 1);
    }
    let published = |answer: &testkit::http::Response| answer.text().matches("\"ES256\"").count() == 1;
    let running = trio
        .instances
        .iter()
        .filter(|instance| instance.send(&everybody).status == 200);
    for instance in running {
        eventually("it is published", TAKEN_OVER, || {
            published(&instance.send(&everybody)).then_some(())
        });
    }
}

#[test]
fn of_three_rotators_one_publishes() {
    let trio = with_a_key_that_is_due();
    assert_one_new_key(&trio);
    assert_one_at_a_time(&trio);
}

#[test]
fn when_the_rotator_is_killed_another_publishes() {
    let mut trio = with_a_key_that_is_due();
    let number = wait_for_holder(&trio.cluster, LOG);
    trio.instances[number].kill();
    eventually("there is a new key", TAKEN_OVER, || (keys(&trio) == 1).then_some(()));
}

#[test]
fn when_the_rotator_is_stopped_another_publishes() {
    let trio = with_a_key_that_is_due();
    let number = wait_for_holder(&trio.cluster, LOG);
    trio.instances[number].signal("STOP");
    eventually("there is a new key", TAKEN_OVER, || (keys(&trio) == 1).then_some(()));
    trio.instances[number].signal("CONT");
    assert_one_new_key(&trio);
}
