//! The removal of expired rows, and the partitions of the token records.

use diesel::RunQueryDsl;
use mintage::db::changes::{self, Change};
use mintage::db::expired::{self, BATCH, Leftover, Waiting, Walk};
use mintage::db::partitions::{self, WIDTH};
use mintage::db::tokens::{self, TokenRecord};
use mintage::db::{Backend, Conn, revocations};
use mintage::oauth::activity::InvalidatedToken;
use mintage::time::UnixMillis;
use testkit::sample::{NOW, claims};

use crate::{Store, on_both_backends};

on_both_backends! {
    expired_records_are_removed_and_others_stay
    a_batch_is_bounded
    a_walk_skips_unexpired_records_and_returns_to_them
    revocations_and_redemptions_are_removed_by_their_expiry
    the_last_entry_of_the_change_log_stays
    entries_of_the_change_log_are_removed_oldest_first
    entries_of_the_change_log_are_removed_in_batches
    rows_due_for_removal_are_counted
    a_duplicate_record_is_one_row_with_any_partition
    the_statements_of_the_previous_version_still_work
}

/// Record number `n`, which expires `after` seconds after [`NOW`].
fn record(n: u32, after: i64) -> TokenRecord {
    TokenRecord {
        expires_at: NOW.seconds() + after,
        ..TokenRecord::from(&claims("demo", n))
    }
}

fn insert(store: &Store, records: &[TokenRecord]) {
    store.run(|conn| tokens::insert_batch(conn, records));
}

fn left(store: &Store) -> i64 {
    store.run(tokens::count)
}

/// Removes token records as the janitor does, until none is left to remove; returns the number of
/// batches.
fn sweep(conn: &mut Conn, before: i64) -> Result<usize, mintage::db::DbError> {
    let mut walk = Walk::default();
    for batches in 0..100 {
        let more = match conn {
            Conn::Sqlite(_) => expired::walk(conn, &mut walk, before)?.is_some(),
            Conn::Postgres(_) => expired::remove(conn, Leftover::Tokens, before)?.is_some_and(|rows| rows > 0),
        };
        if !more {
            return Ok(batches);
        }
    }
    panic!("the removal does not end");
}

fn expired_records_are_removed_and_others_stay(store: Store) {
    let store = store.migrated();
    insert(&store, &[record(0, 10), record(1, 20), record(2, 30)]);
    store.run(|conn| sweep(conn, NOW.seconds() + 20));
    let expiries: Vec<String> = store.texts("SELECT CAST(expires_at AS TEXT) AS value FROM tokens ORDER BY jti");
    assert_eq!(
        expiries,
        [NOW.seconds() + 20, NOW.seconds() + 30].map(|at| at.to_string())
    );
}

fn a_batch_is_bounded(store: Store) {
    let store = store.migrated();
    let number = BATCH as u32 * 2 + 1;
    insert(&store, &(0..number).map(|n| record(n, 10)).collect::<Vec<_>>());
    assert_eq!(store.run(|conn| sweep(conn, NOW.seconds() + 20)), 3);
    assert_eq!(left(&store), 0);
}

fn a_walk_skips_unexpired_records_and_returns_to_them(store: Store) {
    let store = store.migrated();
    insert(&store, &[record(0, 1000), record(1, 10)]);
    store.run(|conn| sweep(conn, NOW.seconds() + 20));
    assert_eq!(left(&store), 1);
    store.run(|conn| sweep(conn, NOW.seconds() + 1001));
    assert_eq!(left(&store), 0);
}

fn invalidated(n: u32, after: i64) -> InvalidatedToken {
    InvalidatedToken {
        jti: claims("demo", n).jti,
        expires_at: NOW.seconds() + after,
    }
}

fn revocations_and_redemptions_are_removed_by_their_expiry(store: Store) {
    let store = store.migrated();
    for (n, after) in [(0, 10), (1, 30)] {
        store.run(|conn| revocations::revoke(conn, invalidated(n, after), NOW));
        store.run(|conn| revocations::redeem(conn, invalidated(n, after), NOW));
    }
    for what in [Leftover::Revocations, Leftover::Redemptions] {
        assert_eq!(
            store.run(|conn| expired::remove(conn, what, NOW.seconds() + 20)),
            Some(1)
        );
        assert_eq!(
            store.run(|conn| expired::remove(conn, what, NOW.seconds() + 20)),
            Some(0)
        );
    }
    let mut kept = Vec::new();
    store.run(|conn| revocations::for_each(conn, 0, |token| kept.push(token.expires_at)));
    assert_eq!(kept, [NOW.seconds() + 30; 2]);
}

fn append(store: &Store, at: i64) {
    store.run(|conn| conn.write(|conn| changes::append(conn, &Change::Keys, UnixMillis(at))));
}

fn the_last_entry_of_the_change_log_stays(store: Store) {
    let store = store.migrated();
    for at in [1, 2, 3] {
        append(&store, at);
    }
    assert_eq!(store.run(|conn| expired::remove_changes(conn, NOW)), Some(2));
    assert_eq!(store.run(|conn| expired::remove_changes(conn, NOW)), Some(0));
    assert_eq!(store.run(changes::last), 3, "the last number is still known");
}

fn entries_of_the_change_log_are_removed_oldest_first(store: Store) {
    let store = store.migrated();
    for at in [10, 20, 30, 40] {
        append(&store, at);
    }
    assert_eq!(store.run(|conn| expired::remove_changes(conn, UnixMillis(30))), Some(1));
    let left: Vec<i64> = store
        .run(|conn| changes::from(conn, 0, 10))
        .iter()
        .map(|line| line.at.0)
        .collect();
    assert_eq!(left, [20, 30, 40], "a reader of the last old entry still finds it");
}

fn entries_of_the_change_log_are_removed_in_batches(store: Store) {
    let store = store.migrated();
    let many = |conn: &mut Conn| (0..=BATCH).try_for_each(|at| changes::append(conn, &Change::Keys, UnixMillis(at)));
    store.run(|conn| conn.write(many));
    assert_eq!(
        store.run(|conn| expired::remove_changes(conn, NOW)),
        Some(BATCH as usize)
    );
    assert_eq!(store.run(|conn| expired::remove_changes(conn, NOW)), Some(0));
}

fn rows_due_for_removal_are_counted(store: Store) {
    let store = store.migrated();
    insert(&store, &[record(0, 10), record(1, 10), record(2, 30)]);
    store.run(|conn| revocations::revoke(conn, invalidated(0, 10), NOW));
    let waiting = |before| store.run(|conn| expired::waiting(conn, NOW.seconds() + before));
    let expected = Waiting {
        tokens: 2,
        revocations: 1,
        redemptions: 0,
    };
    assert_eq!(waiting(20), expected);
    assert_eq!(waiting(0), Waiting::default());
}

fn a_duplicate_record_is_one_row_with_any_partition(store: Store) {
    let store = store.migrated();
    store.run(|conn| partitions::create_ahead(conn, NOW.seconds()));
    // Into three partitions, one of them the default partition.
    let records: Vec<TokenRecord> = [(0, 10), (1, WIDTH + 10), (2, 90 * 24 * 3600)]
        .map(|(n, after)| record(n, after))
        .into();
    insert(&store, &records);
    insert(&store, &[records.clone(), records].concat());
    assert_eq!(left(&store), 3);
}

/// The statements of the previous version on the tables that this version has changed.
/// Writes records as version 0.1 does: it names its seven columns.
fn insert_as_before(store: &Store, records: &[TokenRecord]) {
    let row = |record: &TokenRecord| format!("('{}', 'demo', 'a', 'b', 1, {}, false)", record.jti, record.expires_at);
    let rows: Vec<String> = records.iter().map(row).collect();
    let insert = format!(
        "INSERT INTO tokens (jti, client_id, scope, audience, issued_at, expires_at, one_time) VALUES {} ON CONFLICT DO NOTHING",
        rows.join(", ")
    );
    store.run(|conn| Ok(diesel::sql_query(&insert).execute(conn)?));
}

fn the_statements_of_the_previous_version_still_work(store: Store) {
    let store = store.migrated();
    for _ in 0..2 {
        insert_as_before(&store, &[record(0, 10), record(1, 10)]);
    }
    assert_eq!(left(&store), 2);
    let jti = record(1, 10).jti;
    assert_eq!(store.run(|conn| tokens::expiry(conn, jti)), Some(NOW.seconds() + 10));
    let newest = store.texts("SELECT jti AS value FROM tokens ORDER BY jti DESC LIMIT 10000");
    assert_eq!(newest[0], jti.to_string());
    store.run(|conn| revocations::revoke(conn, invalidated(1, 10), NOW));
}

fn partition_count(store: &Store) -> i64 {
    store.number("SELECT count(*) AS value FROM pg_inherits WHERE inhparent = 'tokens'::regclass")
}

#[test]
fn postgres_partitions_cover_the_longest_token_lifetime() {
    let store = Store::postgres().migrated();
    let created = store.run(|conn| partitions::create_ahead(conn, NOW.seconds()));
    assert_eq!(partition_count(&store), created as i64 + 1, "and the default partition");
    insert(&store, &[record(0, 1), record(1, 30 * 24 * 3600)]);
    assert_eq!(store.number("SELECT count(*) AS value FROM tokens_default"), 0);
    assert_eq!(
        store.run(|conn| partitions::create_ahead(conn, NOW.seconds())),
        0,
        "they exist already"
    );
    let later = NOW.seconds() + WIDTH;
    assert_eq!(
        store.run(|conn| partitions::create_ahead(conn, later)),
        1,
        "one more at the end"
    );
}

#[test]
fn postgres_rows_in_the_default_partition_prevent_the_creation_of_their_partition() {
    let store = Store::postgres().migrated();
    insert(&store, &[record(0, 1)]);
    let created = store.run(|conn| partitions::create_ahead(conn, NOW.seconds()));
    store.run(|conn| expired::remove(conn, Leftover::StrayTokens, NOW.seconds() + 2));
    assert_eq!(store.run(|conn| partitions::create_ahead(conn, NOW.seconds())), 1);
    assert_eq!(partition_count(&store), created as i64 + 2);
}

#[test]
fn postgres_a_partition_is_dropped_when_all_its_rows_have_expired() {
    let store = Store::postgres().migrated();
    store.run(|conn| partitions::create_ahead(conn, NOW.seconds()));
    insert(&store, &[record(0, 1), record(1, WIDTH + 1)]);
    let start = NOW.seconds() - NOW.seconds().rem_euclid(WIDTH);
    let drop_one = |before| store.run(|conn| partitions::drop_one(conn, before));
    assert_eq!(drop_one(start + WIDTH - 1), Some(false));
    assert_eq!(left(&store), 2);
    assert_eq!(drop_one(start + WIDTH), Some(true));
    assert_eq!(drop_one(start + WIDTH), Some(false));
    assert_eq!(left(&store), 1);
    // A late record is not lost: the default partition accepts it.
    insert(&store, &[record(0, 1)]);
    assert_eq!(left(&store), 2);
}

#[test]
fn postgres_one_instance_removes_at_a_time() {
    let store = Store::postgres().migrated();
    store.run(|conn| partitions::create_ahead(conn, NOW.seconds()));
    insert(&store, &[record(0, 1)]);
    let far = NOW.seconds() + 40 * 24 * 3600;
    store.run(|conn| {
        conn.write(|conn| {
            assert_eq!(expired::remove(conn, Leftover::Tokens, NOW.seconds())?, Some(0));
            // Another instance, before the batch of this one is committed.
            assert_eq!(store.run(|conn| expired::remove(conn, Leftover::Tokens, far)), None);
            assert_eq!(store.run(|conn| expired::remove_changes(conn, NOW)), None);
            assert_eq!(store.run(|conn| partitions::drop_one(conn, far)), None);
            Ok(())
        })
    });
    assert_eq!(store.run(|conn| expired::remove(conn, Leftover::Tokens, far)), Some(1));
}

#[test]
fn postgres_migrating_down_keeps_every_row() {
    let store = Store::postgres().migrated();
    insert(&store, &[record(0, 1)]);
    store.run(|conn| partitions::create_ahead(conn, NOW.seconds()));
    insert(&store, &[record(1, WIDTH + 1)]);
    store.run(mintage::db::migrations::down);
    assert_eq!(left(&store), 2);
    store.run(mintage::db::migrations::up);
    assert_eq!(left(&store), 2);
}

#[test]
fn only_postgres_has_partitions() {
    let store = Store::sqlite().migrated();
    assert_eq!(store.backend, Backend::Sqlite);
    assert_eq!(store.run(|conn| partitions::create_ahead(conn, NOW.seconds())), 0);
    assert_eq!(store.run(|conn| partitions::drop_one(conn, NOW.seconds())), Some(false));
}

#[test]
fn postgres_existing_records_become_one_partition() {
    let store = Store::postgres().migrated();
    // Down to the unpartitioned table, and up again with rows in it.
    while store.number("SELECT count(*) AS value FROM pg_class WHERE relname = 'tokens_default'") > 0 {
        store.run(mintage::db::migrations::down);
    }
    insert_as_before(&store, &[record(0, 1), record(1, 2 * WIDTH)]);
    store.run(mintage::db::migrations::up);
    assert_eq!(store.number("SELECT count(*) AS value FROM tokens_default"), 0);
    store.run(|conn| partitions::create_ahead(conn, NOW.seconds()));
    insert(&store, &[record(1, 2 * WIDTH), record(2, 1), record(3, 4 * WIDTH)]);
    assert_eq!(left(&store), 4, "existing records are not duplicated");
    let end = NOW.seconds() - NOW.seconds().rem_euclid(WIDTH) + 3 * WIDTH;
    assert_eq!(store.run(|conn| partitions::drop_one(conn, end - 1)), Some(false));
    assert_eq!(store.run(|conn| partitions::drop_one(conn, end)), Some(true));
    assert_eq!(left(&store), 1);
}

#[test]
fn postgres_a_long_read_does_not_block_the_creation_of_partitions() {
    let store = Store::postgres().migrated();
    store.run(|conn| {
        conn.write(|conn| {
            diesel::sql_query("SELECT 1 FROM tokens_default").execute(conn)?;
            let created = store.try_run(|conn| partitions::create_ahead(conn, NOW.seconds()));
            assert!(created.is_err_and(|error| error.is_unavailable()));
            Ok(())
        })
    });
    assert!(store.run(|conn| partitions::create_ahead(conn, NOW.seconds())) > 100);
}
