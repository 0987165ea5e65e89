//! Migrations: up, down, status, and several migrators at once.

use std::sync::Barrier;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use mintage::db::DbError;
use mintage::db::migrations::{self, MigrationStatus, Reverted};
use testkit::poll::until;

use crate::{Store, on_both_backends};

on_both_backends! {
    a_new_database_has_no_migrations
    up_applies_all_and_then_nothing
    down_reverts_the_last_migration
    down_on_a_new_database_does_nothing
    reverted_migrations_can_be_applied_again
    of_concurrent_migrators_one_applies_each_migration
    of_concurrent_migrators_on_an_older_database_one_applies_the_rest
    the_status_of_a_new_database_can_be_read_concurrently
    a_connection_keeps_its_limits_after_migrating
    down_waits_for_no_one_and_is_refused_while_another_connection_is_open
}

fn applied(store: &Store) -> Vec<bool> {
    let status = store.run(migrations::status);
    status.iter().map(|migration| migration.applied).collect()
}

fn names(store: &Store) -> Vec<String> {
    let status = store.run(migrations::status);
    status.into_iter().map(|migration| migration.name).collect()
}

fn a_new_database_has_no_migrations(store: Store) {
    let status = store.run(migrations::status);
    let first = MigrationStatus {
        name: "2026-11-24-000000_main_path".into(),
        applied: false,
    };
    assert_eq!(status.first(), Some(&first));
    assert!(status.iter().all(|migration| !migration.applied));
    assert!(status.is_sorted_by_key(|migration| &migration.name));
}

fn up_applies_all_and_then_nothing(store: Store) {
    let versions = store.run(migrations::up);
    assert_eq!(versions.len(), names(&store).len());
    assert!(applied(&store).iter().all(|applied| *applied));
    assert_eq!(store.run(migrations::up), Vec::<String>::new());
    assert_eq!(store.number("SELECT count(*) AS value FROM clients"), 0);
}

fn down_reverts_the_last_migration(store: Store) {
    let versions = store.run(migrations::up);
    assert_eq!(store.run(migrations::down), versions.last().cloned());
    let status = applied(&store);
    assert_eq!(status.iter().filter(|applied| !**applied).count(), 1);
    assert_eq!(status.last(), Some(&false));
}

fn down_on_a_new_database_does_nothing(store: Store) {
    assert_eq!(store.run(migrations::down), None);
}

fn reverted_migrations_can_be_applied_again(store: Store) {
    let versions = store.run(migrations::up);
    for version in versions.iter().rev() {
        assert_eq!(store.run(migrations::down).as_ref(), Some(version));
    }
    assert_eq!(store.run(migrations::down), None);
    assert_eq!(store.run(migrations::up), versions);
}

fn of_concurrent_migrators_one_applies_each_migration(store: Store) {
    let outcomes = four_at_once(&store, migrations::up);
    let applied: usize = outcomes.iter().map(|versions| versions.len()).sum();
    assert_eq!(applied, names(&store).len());
}

fn of_concurrent_migrators_on_an_older_database_one_applies_the_rest(store: Store) {
    store.run(migrations::up);
    store.run(migrations::down);
    let outcomes = four_at_once(&store, migrations::up);
    let applied: Vec<String> = outcomes.into_iter().flatten().collect();
    assert_eq!(applied.len(), 1, "{applied:?}");
}

fn the_status_of_a_new_database_can_be_read_concurrently(store: Store) {
    let outcomes = four_at_once(&store, migrations::status);
    assert!(outcomes.iter().flatten().all(|migration| !migration.applied));
}

/// Runs `work` on four connections that begin together; all must succeed.
fn four_at_once<T: Send>(store: &Store, work: fn(&mut mintage::db::Conn) -> Result<T, mintage::db::DbError>) -> Vec<T> {
    let start = Barrier::new(4);
    let at_once = || {
        store.run(|conn| {
            start.wait();
            work(conn)
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(at_once)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn down_waits_for_no_one_and_is_refused_while_another_connection_is_open(mut store: Store) {
    store.run(migrations::up);
    (store.settings.pool.max_size, store.settings.pool.min_idle) = (1, 0);
    // Only the connections that this test opens.
    store.db = mintage::db::Db::open(&store.settings);
    let other = mintage::db::Db::open(&store.settings);
    let while_open = other.run_here(|conn| {
        migrations::status(conn)?;
        Ok(store.run(migrations::down_if_alone))
    });
    assert_eq!(while_open.unwrap(), Reverted::InUse);
    assert!(applied(&store).iter().all(|applied| *applied));
    drop(other);
    until("the other connection is closed", Duration::from_secs(10), || {
        matches!(store.run(migrations::down_if_alone), Reverted::Last(_))
    });
}

/// A role that may not create tables can serve, and its commands work.
#[test]
fn postgres_a_role_without_the_right_to_create_reads_the_state_of_the_schema() {
    let store = Store::postgres();
    store.run(migrations::up);
    store.run(|conn| {
        let role = "CREATE ROLE reads_only LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
            GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO reads_only;
            GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO reads_only";
        Ok(conn.batch_execute(role)?)
    });
    let url = store.settings.url.replacen("//postgres@", "//reads_only@", 1);
    let program = testkit::program!().on(&url, &[("MINTAGE_DATABASE__AUTO_MIGRATE", "false")]);
    program.run(&["client", "list"]).done();
    let server = program.serve(&[]);
    server.client("a", &[]);
}

#[test]
fn postgres_a_server_does_not_wait_for_a_role_that_does_not_exist() {
    let store = Store::postgres();
    let url = store.settings.url.replacen("//postgres@", "//nobody@", 1);
    let outcome = testkit::program!().on(&url, &[]).run(&["serve"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let line = "the database cannot be used: cannot connect to PostgreSQL: ";
    assert!(outcome.stderr.contains(line), "{outcome:?}");
    assert!(outcome.stderr.contains("role \"nobody\" does not exist"), "{outcome:?}");
}

fn a_connection_keeps_its_limits_after_migrating(mut store: Store) {
    (store.settings.pool.max_size, store.settings.pool.min_idle) = (1, 1);
    store.db = mintage::db::Db::open(&store.settings);
    let limits = |store: &Store| match store.backend {
        mintage::db::Backend::Sqlite => store
            .number("SELECT timeout AS value FROM pragma_busy_timeout")
            .to_string(),
        mintage::db::Backend::Postgres => [
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
        ]
        .map(|limit| {
            store
                .texts(&format!("SELECT current_setting('{limit}') AS value"))
                .join("")
        })
        .join(" "),
    };
    let before = limits(&store);
    store.run(migrations::up);
    assert_eq!(limits(&store), before);
}

/// Otherwise a first start on a busy machine fails: its process pauses for longer than a
/// transaction may be idle.
#[test]
fn postgres_a_migration_may_pause_within_its_transaction() {
    let store = Store::postgres();
    store.run(|conn| {
        let in_the_session_of_the_migration = "CREATE FUNCTION check_limit() RETURNS event_trigger LANGUAGE plpgsql AS
            'BEGIN
                IF current_setting(''idle_in_transaction_session_timeout'') <> ''1min'' THEN RAISE ''too short''; END IF;
            END';
            CREATE EVENT TRIGGER check_limit ON ddl_command_start EXECUTE FUNCTION check_limit()";
        Ok(conn.batch_execute(in_the_session_of_the_migration)?)
    });
    assert!(!store.run(migrations::up).is_empty());
}

#[test]
fn postgres_a_connection_that_is_lost_during_a_migration_is_an_outage() {
    let store = Store::postgres().migrated();
    store.run(migrations::down);
    let outcome = std::thread::scope(|scope| {
        store.run(|conn| {
            conn.write(|conn| {
                conn.batch_execute("LOCK TABLE __diesel_schema_migrations IN ACCESS EXCLUSIVE MODE")?;
                let migrating = scope.spawn(|| store.try_run(migrations::up));
                until("the migration waits", Duration::from_secs(10), || {
                    store.number(&format!("SELECT count(*) AS value {WAITING}")) > 0
                });
                conn.batch_execute(&format!("SELECT pg_terminate_backend(pid) {WAITING}"))?;
                Ok(migrating.join().unwrap())
            })
        })
    });
    assert!(outcome.as_ref().is_err_and(DbError::is_unavailable), "{outcome:?}");
}

const WAITING: &str = "FROM pg_locks WHERE NOT granted AND relation = '__diesel_schema_migrations'::regclass";
