//! The change log.

use std::sync::atomic::{AtomicUsize, Ordering};

use mintage::db::DbError;
use mintage::db::changes::{self, Change};
use mintage::time::UnixMillis;
use testkit::sample::{NOW, id};

use crate::{Store, on_both_backends};

on_both_backends! {
    a_new_log_is_empty
    changes_are_read_in_order_and_in_pages
    a_change_that_was_rolled_back_is_not_in_the_log
    a_change_by_a_newer_version_reads_as_unknown
    a_reader_misses_no_change_of_concurrent_writers
    a_number_is_never_assigned_again
    entries_are_found_by_their_numbers
    recently_changed_clients_are_listed_with_their_last_numbers
    with_too_many_recent_changes_only_the_end_of_the_log_is_known
    an_unknown_change_limits_what_is_known_about_recent_changes
    of_a_pruned_log_the_remaining_changes_are_known
}

fn append(store: &Store, change: &Change) {
    store.run(|conn| changes::append(conn, change, NOW));
}

fn after(store: &Store, seq: i64, limit: i64) -> Vec<(i64, Change)> {
    let lines = store.run(|conn| changes::from(conn, seq + 1, limit));
    lines.into_iter().map(|line| (line.seq, line.change)).collect()
}

fn client(text: &str) -> Change {
    Change::Client(id(text))
}

fn a_new_log_is_empty(store: Store) {
    let store = store.migrated();
    assert_eq!(store.run(changes::last), 0);
    assert!(after(&store, 0, 100).is_empty());
}

fn changes_are_read_in_order_and_in_pages(store: Store) {
    let store = store.migrated();
    let written = [client("b"), Change::Keys, client("a b:%"), Change::Unknown, client("b")];
    written.iter().for_each(|change| append(&store, change));
    assert_eq!(store.run(changes::last), 5);
    let (mut read, mut seen) = (Vec::new(), 0);
    while seen < 5 {
        let page = after(&store, seen, 2);
        assert!((1..=2).contains(&page.len()) && page[0].0 == seen + 1);
        seen = page[page.len() - 1].0;
        read.extend(page.into_iter().map(|(_, change)| change));
    }
    assert_eq!(read, written);
    assert!(after(&store, 5, 2).is_empty());
}

fn a_change_that_was_rolled_back_is_not_in_the_log(store: Store) {
    let store = store.migrated();
    let outcome = store.try_run(|conn| {
        conn.write(|conn| {
            changes::append(conn, &Change::Keys, NOW)?;
            Err::<(), _>(DbError::Conflict)
        })
    });
    assert_eq!(outcome, Err(DbError::Conflict));
    assert!(after(&store, 0, 100).is_empty());
}

fn a_change_by_a_newer_version_reads_as_unknown(store: Store) {
    let store = store.migrated();
    for (kind, subject) in [("route", "r"), ("client", ""), ("client", "é"), ("CLIENT", "a")] {
        let insert = format!("INSERT INTO changes (kind, subject, at_ms) VALUES ('{kind}', '{subject}', 1)");
        store.execute(&insert, &insert);
    }
    let read: Vec<Change> = after(&store, 0, 100).into_iter().map(|(_, change)| change).collect();
    assert_eq!(read, [const { Change::Unknown }; 4]);
}

/// PostgreSQL numbers rows before they are committed: a number could become visible after a higher
/// one was read.
fn a_reader_misses_no_change_of_concurrent_writers(store: Store) {
    const WRITERS: usize = 3;
    const EACH: usize = 60;
    let store = store.migrated();
    let done = AtomicUsize::new(0);
    let read = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                for n in 0..EACH {
                    let change = client(&format!("{writer}-{n}"));
                    store.run(|conn| conn.write(|conn| changes::append(conn, &change, NOW)));
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        let (mut read, mut seen) = (Vec::new(), 0);
        loop {
            let over = done.load(Ordering::SeqCst) == WRITERS;
            let page = after(&store, seen, 10);
            if over && page.is_empty() {
                break read;
            }
            seen = page.last().map_or(seen, |(seq, _)| *seq);
            read.extend(page.into_iter().map(|(_, change)| change));
        }
    });
    assert_eq!(read.len(), WRITERS * EACH);
    for writer in 0..WRITERS {
        let own =
            |change: &&Change| matches!(change, Change::Client(id) if id.as_str().starts_with(&format!("{writer}-")));
        let expected: Vec<Change> = (0..EACH).map(|n| client(&format!("{writer}-{n}"))).collect();
        assert!(read.iter().filter(own).eq(expected.iter()), "writer {writer}");
    }
}

fn a_number_is_never_assigned_again(store: Store) {
    let store = store.migrated();
    (0..3).for_each(|_| append(&store, &Change::Keys));
    let prune = "DELETE FROM changes";
    store.execute(prune, prune);
    append(&store, &Change::Keys);
    assert_eq!(after(&store, 3, 100), [(4, Change::Keys)]);
}

fn entries_are_found_by_their_numbers(store: Store) {
    let store = store.migrated();
    (0..3).for_each(|_| append(&store, &Change::Keys));
    let found = |numbers: &[i64]| -> Vec<(i64, i64)> {
        let lines = store.run(|conn| changes::at(conn, numbers));
        lines.iter().map(|line| (line.seq, line.at.0)).collect()
    };
    assert_eq!(found(&[3, 7, 1]), [(1, NOW.0), (3, NOW.0)]);
    assert_eq!(found(&[]), []);
}

fn append_at(store: &Store, change: &Change, at_ms: i64) {
    store.run(|conn| changes::append(conn, change, UnixMillis(at_ms)));
}

/// The changes since 1000, with at most three clients.
fn recent(store: &Store) -> (i64, Vec<(String, i64)>) {
    let recent = store.run(|conn| changes::recent(conn, UnixMillis(1000), 3));
    let mut clients: Vec<_> = recent
        .clients
        .into_iter()
        .map(|(id, seq)| (id.to_string(), seq))
        .collect();
    clients.sort();
    (recent.after, clients)
}

fn recently_changed_clients_are_listed_with_their_last_numbers(store: Store) {
    let store = store.migrated();
    assert_eq!(recent(&store), (0, vec![]));
    append_at(&store, &client("old"), 900);
    append_at(&store, &client("a"), 999);
    assert_eq!(recent(&store), (2, vec![]));
    for change in [
        client("a"),
        Change::Keys,
        client("b"),
        client("a"),
        Change::GlobalNotBefore,
    ] {
        append_at(&store, &change, 1000);
    }
    assert_eq!(recent(&store), (2, vec![("a".into(), 6), ("b".into(), 5)]));
}

fn with_too_many_recent_changes_only_the_end_of_the_log_is_known(store: Store) {
    let store = store.migrated();
    ["a", "b", "c"]
        .iter()
        .for_each(|text| append_at(&store, &client(text), 1000));
    assert_eq!(recent(&store).1.len(), 3);
    append_at(&store, &client("d"), 1000);
    assert_eq!(recent(&store), (4, vec![]));
}

fn an_unknown_change_limits_what_is_known_about_recent_changes(store: Store) {
    let store = store.migrated();
    for change in [client("a"), Change::Unknown, client("b")] {
        append_at(&store, &change, 1000);
    }
    assert_eq!(recent(&store), (2, vec![("b".into(), 3)]));
}

fn of_a_pruned_log_the_remaining_changes_are_known(store: Store) {
    let store = store.migrated();
    ["a", "b", "c"]
        .iter()
        .for_each(|text| append_at(&store, &client(text), 1000));
    store.execute("DELETE FROM changes WHERE seq < 3", "DELETE FROM changes WHERE seq < 3");
    assert_eq!(recent(&store), (2, vec![("c".into(), 3)]));
}
