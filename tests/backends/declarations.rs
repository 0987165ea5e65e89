//! Clients that are declared: written together, and only if none has changed since the decision.

use mintage::api::audit::Action;
use mintage::db::changes::Change;
use mintage::db::declarations::{self, Declared};
use mintage::db::secrets::{self, Added};
use mintage::db::{DbError, audit, changes, clients, transactions};
use mintage::oauth::client::Client;
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::stored_secret::StoredSecret;
use mintage::time::UnixMillis;
use testkit::sample::{NOW, client, id, operator};

use crate::{Store, on_both_backends};

on_both_backends! {
    clients_are_created_and_changed_together_and_an_unchanged_one_leaves_no_trace
    a_client_that_has_changed_since_the_decision_aborts_all
}

const LATER: UnixMillis = UnixMillis(NOW.0 + 1000);

/// A database with the clients `a` and `b`.
fn with_clients(store: Store) -> Store {
    let store = store.migrated();
    for name in ["a", "b"] {
        let mut client = client(name);
        client.secrets.push(StoredSecret::new(&ClientSecret::generate(), NOW));
        store.run(|conn| transactions::create_client(conn, &operator(), &client));
    }
    store
}

fn find(store: &Store, name: &str) -> Option<Client> {
    store.run(|conn| clients::find(conn, &id(name)))
}

fn new(name: &str) -> Declared {
    Declared {
        before: None,
        after: client(name),
    }
}

fn renamed(store: &Store, name: &str) -> Declared {
    let before = find(store, name).unwrap();
    let mut after = before.clone();
    after.name = "renamed".to_owned();
    after.updated_at = LATER;
    after.secrets.push(StoredSecret::new(&ClientSecret::generate(), LATER));
    Declared {
        before: Some(before),
        after,
    }
}

fn unchanged(store: &Store, name: &str) -> Declared {
    let before = find(store, name).unwrap();
    Declared {
        after: before.clone(),
        before: Some(before),
    }
}

fn write(store: &Store, all: &[Declared]) -> Result<(), DbError> {
    store.try_run(|conn| declarations::write(conn, &operator(), LATER, Action::ClientImport, all, |_| {}))
}

fn events(store: &Store) -> Vec<(String, String)> {
    let lines = store.run(|conn| audit::since(conn, None, 100)).into_iter();
    lines.skip(2).map(|line| (line.action, line.subject)).collect()
}

fn clients_are_created_and_changed_together_and_an_unchanged_one_leaves_no_trace(store: Store) {
    let store = with_clients(store);
    let position = store.run(changes::last);
    write(&store, &[new("c"), unchanged(&store, "b"), renamed(&store, "a")]).unwrap();
    let a = find(&store, "a").unwrap();
    assert_eq!((a.name.as_str(), a.updated_at, a.secrets.len()), ("renamed", LATER, 2));
    assert!(find(&store, "c").is_some());
    assert_eq!(find(&store, "b").unwrap().updated_at, NOW);
    let event = |action: &str, subject: &str| (action.to_owned(), subject.to_owned());
    let mut expected = vec![
        event("client.import", "c"),
        event("client.update", "a"),
        event("secret.add", "a"),
    ];
    let mut found = events(&store);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let lines = store.run(|conn| changes::from(conn, position + 1, 100));
    let mut changed: Vec<String> = lines
        .into_iter()
        .map(|line| match line.change {
            Change::Client(id) => id.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    changed.sort();
    assert_eq!(changed, ["a", "c"]);
}

fn a_client_that_has_changed_since_the_decision_aborts_all(store: Store) {
    let store = with_clients(store);
    let decided = [new("c"), renamed(&store, "a")];
    let more = StoredSecret::new(&ClientSecret::generate(), LATER);
    assert_eq!(store.run(|conn| secrets::add(conn, &id("a"), &more, None)), Added::Done);
    let conflicts = |all: &[Declared]| matches!(write(&store, all), Err(DbError::Conflict));
    assert!(conflicts(&decided));
    let decided = [new("c"), unchanged(&store, "b")];
    store.run(|conn| transactions::delete_client(conn, &operator(), &id("b"), LATER));
    assert!(conflicts(&decided));
    let taken = [new("a")];
    assert!(conflicts(&taken));
    assert!(find(&store, "c").is_none());
    assert_eq!(find(&store, "a").unwrap().name, client("a").name);
    assert_eq!(events(&store), [("client.delete".to_owned(), "b".to_owned())]);
}
