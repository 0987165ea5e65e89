//! The chain of hashes over the audit log: a change of the table is found, and all writers, also
//! those of the previous version, add to one chain.

use std::time::Duration;

use diesel::RunQueryDsl;
use mintage::api::audit::AuditDocument;
use mintage::db::audit_chain::{Break, Verification};
use mintage::db::{Backend, Conn, Db, audit, transactions};
use mintage::oauth::client::Client;
use testkit::poll::until;
use testkit::sample::{NOW, client, id, operator};

use crate::{Store, on_both_backends};

on_both_backends! {
    every_line_has_a_hash_and_the_chain_verifies
    a_changed_line_breaks_the_chain
    a_removed_line_breaks_the_chain
    two_swapped_lines_break_the_chain
    a_line_added_by_hand_breaks_the_chain
    a_stripped_tail_is_reported
    lines_of_concurrent_writers_form_one_chain
    a_trail_of_the_previous_version_begins_once
    lines_of_the_previous_version_are_covered
    a_late_line_of_the_previous_version_keeps_its_place
}

/// The statement by which version 0.1 adds an audit event.
const OLD_LINE: &str = "INSERT INTO audit (at_ms, who, origin, action, subject, detail)
    VALUES (1, 'ops', '127.0.0.1', 'client.delete', 'old', '{}')";

fn create(store: &Store, name: &str) {
    store.run(|conn| transactions::create_client(conn, &operator(), &client(name)));
}

/// With four lines: 1 to 4.
fn with_trail(store: Store) -> Store {
    let store = store.migrated();
    for name in ["a", "b", "c", "d"] {
        create(&store, name);
    }
    assert_eq!(verify(&store), Ok(()));
    store
}

fn lines(store: &Store) -> Vec<AuditDocument> {
    store.run(|conn| audit::since(conn, 0, 10_000))
}

fn verify(store: &Store) -> Result<(), Break> {
    verify_accepting(store, 0)
}

fn verify_accepting(store: &Store, unhashed_until: i64) -> Result<(), Break> {
    let mut chain = Verification::new(None, unhashed_until);
    for line in store.run(|conn| audit::lines(conn, 0, 10_000)) {
        chain.next(line.id(), &line.content(), line.stored_hash())?;
    }
    chain.finish()
}

fn execute(store: &Store, statement: &str) {
    store.execute(statement, statement);
}

fn every_line_has_a_hash_and_the_chain_verifies(store: Store) {
    let store = with_trail(store);
    let hashes: Vec<String> = lines(&store).into_iter().map(|line| line.hash.unwrap()).collect();
    assert!(hashes.iter().all(|hash| hash.len() == 64), "{hashes:?}");
    create(&store, "e");
    assert_eq!(verify(&store), Ok(()));
}

fn a_changed_line_breaks_the_chain(store: Store) {
    let store = with_trail(store);
    for change in [
        "at_ms = at_ms + 1",
        "who = 'bob'",
        "kind = 'user'",
        "kind = NULL",
        "origin = '::1'",
        "action = 'client.delete'",
        "subject = 'x'",
        "detail = '{}'",
        "context = NULL",
    ] {
        let keep = "CREATE TABLE kept AS SELECT * FROM audit WHERE id = 3";
        execute(&store, keep);
        execute(&store, &format!("UPDATE audit SET {change} WHERE id = 3"));
        let broken = Break::Differs { previous: 2, id: 3 };
        assert_eq!(verify(&store), Err(broken), "{change}");
        let columns = "at_ms, who, kind, origin, action, subject, detail, context";
        execute(
            &store,
            &format!("UPDATE audit SET ({columns}) = (SELECT {columns} FROM kept) WHERE id = 3"),
        );
        execute(&store, "DROP TABLE kept");
        assert_eq!(verify(&store), Ok(()));
    }
}

fn a_removed_line_breaks_the_chain(store: Store) {
    let store = with_trail(store);
    execute(&store, "DELETE FROM audit WHERE id = 2");
    assert_eq!(verify(&store), Err(Break::Differs { previous: 1, id: 3 }));
    execute(&store, "DELETE FROM audit WHERE id = 1");
    assert_eq!(verify(&store), Err(Break::BeginningMissing { first: 3 }));
}

fn two_swapped_lines_break_the_chain(store: Store) {
    let store = with_trail(store);
    for (column, type_name) in [("subject", "TEXT"), ("detail", "TEXT"), ("hash", "BYTEA")] {
        let swap = format!(
            "UPDATE audit SET {column} = (SELECT CAST(other.{column} AS {type_name}) FROM audit AS other
                WHERE other.id = 5 - audit.id) WHERE id IN (2, 3)"
        );
        store.execute(&swap.replace("BYTEA", "BLOB"), &swap);
    }
    assert_eq!(verify(&store), Err(Break::Differs { previous: 1, id: 2 }));
}

fn a_line_added_by_hand_breaks_the_chain(store: Store) {
    let store = with_trail(store);
    execute(&store, OLD_LINE);
    assert_eq!(verify(&store), Err(Break::Unhashed(5..=5)));
    create(&store, "e");
    assert_eq!(verify(&store), Err(Break::Unhashed(5..=5)));
    let with_hash = OLD_LINE
        .replace("detail)", "detail, hash)")
        .replace("'{}')", "'{}', (SELECT hash FROM audit WHERE id = 4))");
    execute(&store, &with_hash);
    assert_eq!(verify_accepting(&store, 5), Err(Break::Differs { previous: 6, id: 7 }));
}

/// Otherwise the last lines could be changed once the next line covers them.
fn a_stripped_tail_is_reported(store: Store) {
    let store = with_trail(store);
    execute(&store, "UPDATE audit SET hash = NULL, who = 'bob' WHERE id > 2");
    create(&store, "e");
    assert_eq!(verify(&store), Err(Break::Unhashed(3..=4)));
}

fn lines_of_concurrent_writers_form_one_chain(store: Store) {
    let store = with_trail(store);
    let handles = [Db::open(&store.settings), Db::open(&store.settings)];
    let write = |thread: usize| {
        for n in 0..25 {
            let client = client(&format!("c-{thread}-{n}"));
            let create = |conn: &mut Conn| transactions::create_client(conn, &operator(), &client);
            handles[thread % 2].run_here(create).unwrap();
        }
    };
    let all: Vec<Client> = (0..700).map(|n| client(&format!("import-{n}"))).collect();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || write(thread));
        }
        store.run(|conn| transactions::import_clients(conn, &operator(), &all, NOW, false, |_| {}));
    });
    assert_eq!(lines(&store).len(), 4 + 8 * 25 + 700);
    assert_eq!(verify(&store), Ok(()));
}

fn a_trail_of_the_previous_version_begins_once(store: Store) {
    let store = store.migrated();
    store.run(|conn| audit::begin(conn, NOW));
    assert_eq!(lines(&store), [], "an empty log needs no beginning");
    // More than a page.
    for _ in 0..1203 {
        execute(&store, OLD_LINE);
    }
    for _ in 0..2 {
        store.run(|conn| audit::begin(conn, NOW));
    }
    let last = lines(&store).pop().unwrap();
    assert_eq!((last.id, last.action.as_str()), (1204, "audit.begin"));
    assert_eq!(last.detail, serde_json::json!({ "lines": 1203, "last_id": 1203 }));
    assert_eq!((last.actor.as_str(), last.actor_kind.name()), ("mintage", "server"));
    assert_eq!(verify(&store), Ok(()));
    execute(&store, "UPDATE audit SET who = 'bob' WHERE id = 700");
    let broken = Break::Differs {
        previous: 1203,
        id: 1204,
    };
    assert_eq!(verify(&store), Err(broken));
}

/// During a rolling upgrade, both versions write.
fn lines_of_the_previous_version_are_covered(store: Store) {
    let store = with_trail(store);
    execute(&store, OLD_LINE);
    execute(&store, OLD_LINE);
    create(&store, "e");
    assert_eq!(verify(&store), Err(Break::Unhashed(5..=6)));
    assert_eq!(verify_accepting(&store, 6), Ok(()));
    execute(&store, OLD_LINE);
    store.run(|conn| audit::begin(conn, NOW));
    let last = lines(&store).pop().unwrap();
    assert_eq!(last.detail, serde_json::json!({ "lines": 1, "last_id": 8 }));
    assert_eq!(verify_accepting(&store, 8), Ok(()));
    execute(&store, "UPDATE audit SET who = 'bob' WHERE id = 6");
    assert_eq!(verify_accepting(&store, 8), Err(Break::Differs { previous: 6, id: 7 }));
}

/// Version 0.1 revokes a token again, or imports, without the lock of the change log until the end.
/// Its line must not appear between lines that are chained already.
fn a_late_line_of_the_previous_version_keeps_its_place(store: Store) {
    let store = with_trail(store);
    std::thread::scope(|scope| {
        let new_version = store.run(|conn| {
            conn.write(|conn| {
                diesel::sql_query(OLD_LINE).execute(conn)?;
                let new_version = scope.spawn(|| create(&store, "e"));
                until("the new version waits or is done", Duration::from_secs(10), || {
                    new_version.is_finished() || is_waiting(&store)
                });
                Ok(new_version)
            })
        });
        new_version.join().unwrap();
    });
    let subjects: Vec<String> = lines(&store).into_iter().map(|line| line.subject).collect();
    assert_eq!(subjects, ["a", "b", "c", "d", "old", "e"]);
    assert_eq!(verify_accepting(&store, 5), Ok(()));
    assert!(store.run(|conn| mintage::db::clients::find(conn, &id("e"))).is_some());
}

/// SQLite shows no waiting writers; there, a transaction that writes is the lock.
fn is_waiting(store: &Store) -> bool {
    match store.backend {
        Backend::Sqlite => true,
        Backend::Postgres => {
            const WAITING: &str = "SELECT count(*) AS value FROM pg_locks WHERE NOT granted AND locktype = 'advisory'
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            store.number(WAITING) > 0
        }
    }
}
