//! Connections, transactions, and the handle's behavior with a slow, locked or unavailable
//! database.

use std::time::Duration;

use diesel::RunQueryDsl;
use mintage::config;
use mintage::db::changes::{self, Change};
use mintage::db::{Backend, Conn, Db, DbError};
use testkit::sample::NOW;

use crate::{Store, on_both_backends};

on_both_backends! {
    a_transaction_is_visible_to_others_once_it_is_committed
    a_failed_transaction_is_rolled_back
    a_connection_is_usable_after_a_failed_transaction
    transactions_that_read_before_they_write_are_serialized
    a_call_that_times_out_is_unavailable
    a_lock_held_by_another_connection_is_an_outage_and_times_out
    a_rejected_statement_is_not_an_outage
    a_missing_database_is_unavailable
    the_pool_stats_name_the_database
    killed_connections_are_not_handed_out
    idempotent_work_survives_the_loss_of_its_connection
    a_recently_used_connection_is_not_validated
    the_wait_for_a_connection_is_measured
    a_timeout_while_waiting_for_a_connection_is_counted
    every_statement_is_counted
}

fn append(conn: &mut Conn) -> Result<(), DbError> {
    changes::append(conn, &Change::Keys, NOW)
}

fn execute(conn: &mut Conn, statement: &str) -> Result<(), DbError> {
    diesel::sql_query(statement).execute(conn)?;
    Ok(())
}

/// A handle to the same database with short timeouts.
fn with_short_timeouts(store: &Store) -> Db {
    let mut settings = store.settings.clone();
    settings.query_timeout = config::Duration::seconds(1);
    Db::open(&settings)
}

/// As a handler calls it.
fn run<T: Send + 'static>(
    db: &Db,
    work: impl FnOnce(&mut Conn) -> Result<T, DbError> + Send + 'static,
) -> Result<T, DbError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let outcome = runtime.block_on(db.run(work));
    runtime.shutdown_background();
    outcome
}

fn a_transaction_is_visible_to_others_once_it_is_committed(store: Store) {
    let store = store.migrated();
    store.run(|conn| {
        conn.write(|conn| {
            append(conn)?;
            assert_eq!(store.run(changes::last), 0);
            Ok(())
        })
    });
    assert_eq!(store.run(changes::last), 1);
}

fn a_failed_transaction_is_rolled_back(store: Store) {
    let store = store.migrated();
    let outcome = store.try_run(|conn| {
        conn.write(|conn| {
            append(conn)?;
            execute(conn, "INSERT INTO nowhere VALUES (1)")
        })
    });
    assert!(matches!(outcome, Err(DbError::Query(_))), "{outcome:?}");
    assert_eq!(store.run(changes::last), 0);
}

fn a_connection_is_usable_after_a_failed_transaction(store: Store) {
    let store = store.migrated();
    store.run(|conn| {
        let failed = conn.write(|conn| execute(conn, "nonsense"));
        assert!(failed.is_err());
        conn.write(append)
    });
    assert_eq!(store.run(changes::last), 1);
}

fn transactions_that_read_before_they_write_are_serialized(store: Store) {
    let store = store.migrated();
    let read_and_write = |conn: &mut Conn| {
        changes::last(conn)?;
        append(conn)
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..50).for_each(|_| store.run(|conn| conn.write(read_and_write))));
        }
    });
    assert_eq!(store.run(changes::last), 150);
}

fn a_call_that_times_out_is_unavailable(store: Store) {
    let db = with_short_timeouts(&store);
    let outcome = run(&db, |conn| match conn {
        Conn::Postgres(_) => execute(conn, "SELECT pg_sleep(30)"),
        // SQLite has no sleep function; the caller must not wait for the call.
        Conn::Sqlite(_) => {
            std::thread::sleep(Duration::from_secs(5));
            Ok(())
        }
    });
    assert!(outcome.unwrap_err().is_unavailable());
}

fn a_lock_held_by_another_connection_is_an_outage_and_times_out(store: Store) {
    let store = store.migrated();
    let db = with_short_timeouts(&store);
    store.run(|conn| {
        conn.write(|conn| {
            append(conn)?;
            // On this thread, without the timeout of a call: the database's own limit must end it.
            let outcome = db.run_here(|conn| conn.write(append));
            assert!(outcome.as_ref().is_err_and(DbError::is_unavailable), "{outcome:?}");
            Ok(())
        })
    });
    db.run_here(|conn| conn.write(append)).unwrap();
}

fn a_rejected_statement_is_not_an_outage(store: Store) {
    let outcome = run(&store.db, |conn| execute(conn, "SELECT * FROM nowhere"));
    assert!(matches!(outcome, Err(DbError::Query(_))), "{outcome:?}");
}

fn a_missing_database_is_unavailable(store: Store) {
    let mut settings = store.settings.clone();
    settings.url.push_str("/nowhere");
    settings.pool.connection_timeout = config::Duration::millis(300);
    let outcome = run(&Db::open(&settings), append);
    assert!(outcome.unwrap_err().is_unavailable());
}

fn the_pool_stats_name_the_database(store: Store) {
    let stats = serde_json::to_value(store.db.stats()).unwrap();
    let expected = match store.backend {
        Backend::Sqlite => "sqlite",
        Backend::Postgres => "postgres",
    };
    assert_eq!(stats["backend"], expected);
    assert_eq!(stats["breaker"], "closed");
}

#[test]
fn sqlite_every_connection_has_its_settings() {
    let store = Store::sqlite();
    let settings = [("synchronous", 2), ("foreign_keys", 1), ("temp_store", 2)];
    for (name, expected) in settings {
        assert_eq!(
            store.number(&format!("SELECT {name} AS value FROM pragma_{name}")),
            expected,
            "{name}"
        );
    }
    assert_eq!(
        store.texts("SELECT journal_mode AS value FROM pragma_journal_mode"),
        ["wal"]
    );
    assert_eq!(store.number("SELECT timeout AS value FROM pragma_busy_timeout"), 15_000);
}

#[test]
fn postgres_every_connection_has_its_limits() {
    let store = Store::postgres();
    for setting in ["statement_timeout", "lock_timeout"] {
        let value = store.texts(&format!("SELECT current_setting('{setting}') AS value"));
        assert_eq!(value, ["20s"], "{setting}");
    }
}

#[test]
fn postgres_a_terminated_connection_is_an_outage_and_is_replaced() {
    let mut store = Store::postgres();
    (store.settings.pool.max_size, store.settings.pool.min_idle) = (1, 1);
    let db = Db::open(&store.settings);
    let cut = run(&db, |conn| {
        execute(conn, "SELECT pg_terminate_backend(pg_backend_pid())")
    });
    assert!(cut.as_ref().is_err_and(DbError::is_unavailable), "{cut:?}");
    assert_eq!(run(&db, |conn| execute(conn, "SELECT 1")), Ok(()));
}

/// More than the connections of a store.
const MAX_CONNECTIONS: usize = 20;

/// Ends every other connection to the database, as a restart of the database server would. Waits
/// for each: one that is still ending may answer a ping and be gone for the next statement.
fn kill_connections(store: &Store) {
    let kill = |conn: &mut Conn| match conn {
        Conn::Postgres(_) => execute(
            conn,
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        ),
        // A connection to a file cannot be cut.
        Conn::Sqlite(_) => Ok(()),
    };
    // The store has several connections, and an earlier call may have killed the one that it takes.
    let killed = (0..MAX_CONNECTIONS).any(|_| match store.try_run(kill) {
        Err(DbError::Disconnected(_)) => false,
        outcome => {
            outcome.unwrap();
            true
        }
    });
    assert!(killed, "every connection of the store was lost");
}

fn stats(db: &Db) -> serde_json::Value {
    serde_json::to_value(db.stats()).unwrap()
}

/// A pool of three connections, each of which has just been used.
fn three_connections(store: &Store) -> Db {
    let mut settings = store.settings.clone();
    (settings.pool.max_size, settings.pool.min_idle) = (3, 3);
    let db = Db::open(&settings);
    let all_at_once = std::sync::Barrier::new(3);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                db.run_here(|conn| {
                    all_at_once.wait();
                    execute(conn, "SELECT 1")
                })
                .unwrap()
            });
        }
    });
    db
}

fn killed_connections_are_not_handed_out(store: Store) {
    let db = three_connections(&store);
    kill_connections(&store);
    let outcomes: Vec<bool> = (0..10)
        .map(|_| run(&db, |conn| execute(conn, "SELECT 1")).is_ok())
        .collect();
    let failures = outcomes.iter().filter(|done| !**done).count();
    let allowed = usize::from(store.backend == Backend::Postgres);
    assert!(
        failures <= allowed,
        "the first dead connection is the last: {outcomes:?}"
    );
}

fn idempotent_work_survives_the_loss_of_its_connection(store: Store) {
    let db = three_connections(&store);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    for _ in 0..3 {
        kill_connections(&store);
        let outcome = runtime.block_on(db.run_repeatable(|conn| execute(conn, "SELECT 1")));
        assert_eq!(outcome, Ok(()));
    }
}

fn a_recently_used_connection_is_not_validated(store: Store) {
    let db = three_connections(&store);
    let before = stats(&db)["validations_total"].clone();
    for _ in 0..100 {
        db.run_here(|conn| execute(conn, "SELECT 1")).unwrap();
    }
    assert_eq!(stats(&db)["validations_total"], before);
    assert_eq!(stats(&db)["discarded_total"], 0);
}

/// A primary that was demoted still answers pings; a new connection reaches the new primary.
#[test]
fn postgres_a_read_only_connection_is_replaced() {
    let store = Store::postgres().migrated();
    store.run(|conn| execute(conn, "SET default_transaction_read_only = on"));
    let outcome = store.try_run(|conn| conn.write(append));
    assert!(matches!(outcome, Err(DbError::Disconnected(_))), "{outcome:?}");
    store.run(|conn| conn.write(append));
}

fn every_statement_is_counted(store: Store) {
    let store = store.migrated();
    let counted = || stats(&store.db)["statements_total"].as_u64().unwrap();
    let before = counted();
    store.run(|conn| execute(conn, "SELECT 1"));
    assert_eq!(counted() - before, 1);
    store.run(|conn| conn.write(|conn| execute(conn, "SELECT 1")));
    assert_eq!(counted() - before, 1 + 3, "BEGIN and COMMIT count");
}

/// One call holds the only connection for a while, another arrives meanwhile; returns the outcome
/// of the latter.
fn two_calls_for_one_connection(db: &Db, held: Duration) -> Result<(), DbError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let outcome = runtime.block_on(async {
        let holding = db.run(move |_| {
            std::thread::sleep(held);
            Ok(())
        });
        let (_, outcome) = tokio::join!(holding, db.run(|_| Ok(())));
        outcome
    });
    runtime.shutdown_background();
    outcome
}

fn pool_of_one(store: &Store, connection_timeout: config::Duration) -> Db {
    let mut settings = store.settings.clone();
    settings.pool.max_size = 1;
    settings.pool.min_idle = 1;
    settings.pool.connection_timeout = connection_timeout;
    Db::open(&settings)
}

/// The number of calls that waited longer than `seconds`, and of all calls.
fn waits_above(db: &Db, seconds: f64) -> (u64, u64) {
    let waits = db.stats().primary.waits;
    let within = waits.cumulative().filter(|(bound, _)| *bound <= seconds).last();
    (waits.count() - within.unwrap().1, waits.count())
}

/// One wait per call: for its turn and for the connection together.
fn the_wait_for_a_connection_is_measured(store: Store) {
    let db = pool_of_one(&store, config::Duration::seconds(10));
    // The first call waits for the pool to connect.
    run(&db, |_| Ok(())).unwrap();
    let (long_before, all_before) = waits_above(&db, 1.0);
    two_calls_for_one_connection(&db, Duration::from_secs(2)).unwrap();
    let (long, all) = waits_above(&db, 1.0);
    assert_eq!((long - long_before, all - all_before), (1, 2));
    let stats = db.stats().primary;
    assert!(stats.wait_seconds_total > 1.0, "{}", stats.wait_seconds_total);
    assert_eq!(stats.timeouts_total, 0);
}

fn a_timeout_while_waiting_for_a_connection_is_counted(store: Store) {
    let db = pool_of_one(&store, config::Duration::seconds(2));
    run(&db, |_| Ok(())).unwrap();
    let (long_before, _) = waits_above(&db, 1.0);
    let outcome = two_calls_for_one_connection(&db, Duration::from_secs(4));
    assert!(matches!(outcome, Err(DbError::Unavailable(_))), "{outcome:?}");
    assert_eq!(db.stats().primary.timeouts_total, 1);
    assert_eq!(waits_above(&db, 1.0).0 - long_before, 1);
}

/// Its locks would block every change on every instance.
#[test]
fn postgres_an_idle_transaction_is_ended() {
    let store = Store::postgres().migrated();
    let (stopped, others) = (with_short_timeouts(&store), &store);
    let outcome = stopped.run_here(|conn| {
        conn.write(|conn| {
            append(conn)?;
            // Waits for the change log's lock for longer than the holder's transaction may be idle.
            others.run(append);
            append(conn)
        })
    });
    assert!(matches!(outcome, Err(DbError::Disconnected(_))), "{outcome:?}");
    let lines = store.run(|conn| changes::from(conn, 0, 10));
    assert_eq!(lines.len(), 1, "the other transaction's");
}
