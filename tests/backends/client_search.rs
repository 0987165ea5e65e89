//! Labels of clients, and the search by name and label.

use mintage::api::client_search::ClientSearch;
use mintage::db::client_search::{self, WALK};
use mintage::db::{DbError, clients};
use mintage::oauth::client::{Client, ClientId};
use mintage::oauth::labels::Labels;
use testkit::sample::{client, id};

use crate::{Store, on_both_backends};

on_both_backends! {
    labels_are_written_read_and_removed
    a_cached_client_has_no_labels
    malformed_labels_are_inconsistent
    a_name_is_found_by_a_part_of_it_in_any_case
    the_characters_of_a_pattern_are_searched_for_as_they_are
    labels_are_found_by_key_and_value
    every_part_of_a_search_must_match
    a_search_visits_a_bounded_number_of_clients_and_continues
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Labels::of(pairs.collect()).unwrap()
}

fn insert(store: &Store, text: &str, name: &str, pairs: &[(&str, &str)]) {
    let client = Client {
        name: name.into(),
        labels: labels(pairs),
        ..client(text)
    };
    store.run(|conn| clients::insert(conn, &client));
}

fn labels_of(store: &Store, text: &str) -> Option<String> {
    let found = store.run(|conn| clients::find(conn, &id(text)));
    found.unwrap().labels.object()
}

/// The ids of all clients that match, with one page.
fn found(store: &Store, name: Option<&str>, labels: &[&str]) -> Vec<String> {
    let wanted = ClientSearch::new(name, labels.iter().copied()).unwrap();
    let page = store.run(|conn| client_search::search(conn, &wanted, None, 100, WALK));
    assert_eq!(page.next, None);
    page.clients.iter().map(|client| client.id.to_string()).collect()
}

fn labels_are_written_read_and_removed(store: Store) {
    let store = store.migrated();
    insert(&store, "a", "A", &[("team", "x \"y\" é"), ("env", "")]);
    insert(&store, "b", "B", &[]);
    assert_eq!(
        labels_of(&store, "a").as_deref(),
        Some(r#"{"env":"","team":"x \"y\" é"}"#)
    );
    assert_eq!(labels_of(&store, "b"), None);
    let change = |to: Labels| {
        let changed = store.run(|conn| {
            clients::change::<()>(conn, &id("a"), testkit::sample::NOW, |client| {
                assert!(!client.labels.is_empty(), "a change is given the labels");
                Ok(Client {
                    labels: to.clone(),
                    ..client.clone()
                })
            })
        });
        assert!(matches!(changed, clients::Changed::Done { .. }));
        labels_of(&store, "a")
    };
    assert_eq!(change(labels(&[("team", "z")])).as_deref(), Some(r#"{"team":"z"}"#));
    assert_eq!(change(Labels::default()), None);
    let other = Client {
        labels: labels(&[("env", "test")]),
        ..client("b")
    };
    store.run(|conn| clients::replace(conn, &other));
    let listed = store.run(|conn| clients::list(conn, None, 10));
    let listed: Vec<_> = listed.iter().map(|client| client.labels.object()).collect();
    assert_eq!(listed, [None, Some(r#"{"env":"test"}"#.to_owned())]);
    store.run(|conn| clients::replace(conn, &client("b")));
    assert_eq!(labels_of(&store, "b"), None);
}

fn a_cached_client_has_no_labels(store: Store) {
    let store = store.migrated();
    insert(&store, "a", "A", &[("team", "x")]);
    let loaded = store.run(|conn| clients::load(conn, &id("a"))).unwrap();
    assert!(loaded.labels.is_empty());
    assert!(
        store.run(|conn| clients::load_many(conn, &["a", "b"]))[0]
            .labels
            .is_empty()
    );
}

fn malformed_labels_are_inconsistent(store: Store) {
    let store = store.migrated();
    insert(&store, "a", "A", &[("team", "x")]);
    let spoil = "UPDATE clients SET labels = '{\"team\":1}'";
    store.execute(spoil, spoil);
    let outcome = store.try_run(|conn| clients::find(conn, &id("a")));
    let expected = DbError::Inconsistent("client \"a\" has malformed labels".into());
    assert_eq!(outcome.unwrap_err(), expected);
    assert!(
        store.run(|conn| clients::load(conn, &id("a"))).is_some(),
        "it gets its tokens"
    );
}

fn a_name_is_found_by_a_part_of_it_in_any_case(store: Store) {
    let store = store.migrated();
    insert(&store, "1", "Billing RB", &[]);
    insert(&store, "2", "rb", &[]);
    insert(&store, "3", "Orders", &[]);
    insert(&store, "4", "CAFÉ Über", &[]);
    assert_eq!(found(&store, Some("rB"), &[]), ["1", "2"]);
    assert_eq!(found(&store, Some("g r"), &[]), ["1"]);
    assert_eq!(found(&store, Some("cafÉ"), &[]), ["4"]);
    assert_eq!(found(&store, Some("café"), &[]), [""; 0], "only ASCII has no case");
    assert_eq!(found(&store, Some("x"), &[]), [""; 0]);
}

fn the_characters_of_a_pattern_are_searched_for_as_they_are(store: Store) {
    let store = store.migrated();
    insert(&store, "1", "100% (50_50)", &[]);
    insert(&store, "2", r"back\slash [a-z]* ' OR 1=1", &[]);
    for (part, expected) in [
        ("%", "1"),
        ("0% ", "1"),
        ("0_5", "1"),
        (r"k\s", "2"),
        ("[A-z]*", "2"),
        ("' or 1", "2"),
    ] {
        assert_eq!(found(&store, Some(part), &[]), [expected], "{part}");
    }
    for part in ["1%)", "5__0", r"\%", "?", "' OR '1'='1"] {
        assert_eq!(found(&store, Some(part), &[]), [""; 0], "{part}");
    }
}

fn labels_are_found_by_key_and_value(store: Store) {
    let store = store.migrated();
    insert(&store, "1", "A", &[("team", "x"), ("env", "prod")]);
    insert(&store, "2", "B", &[("team", "xy"), ("note", r#""team":"x","#)]);
    insert(&store, "3", "C", &[("team", ""), ("a.team", "x")]);
    insert(&store, "4", "D", &[]);
    assert_eq!(found(&store, None, &["team=x"]), ["1"]);
    assert_eq!(found(&store, None, &["team=X"]), [""; 0], "values have a case");
    assert_eq!(found(&store, None, &["team="]), ["3"]);
    assert_eq!(found(&store, None, &["team"]), ["1", "2", "3"]);
    assert_eq!(found(&store, None, &["note"]), ["2"]);
    assert_eq!(found(&store, None, &[r#"note="team":"x","#]), ["2"]);
    assert_eq!(found(&store, None, &["am"]), [""; 0]);
    assert_eq!(found(&store, None, &[]), ["1", "2", "3", "4"]);
}

fn every_part_of_a_search_must_match(store: Store) {
    let store = store.migrated();
    insert(&store, "1", "Billing", &[("team", "x"), ("env", "prod")]);
    insert(&store, "2", "Billing", &[("team", "x"), ("env", "test")]);
    insert(&store, "3", "Orders", &[("team", "x"), ("env", "prod")]);
    assert_eq!(found(&store, Some("bill"), &["team=x", "env=prod"]), ["1"]);
    assert_eq!(found(&store, None, &["team=x", "env=prod"]), ["1", "3"]);
    assert_eq!(found(&store, None, &["env=prod", "env=test"]), [""; 0]);
}

fn a_search_visits_a_bounded_number_of_clients_and_continues(store: Store) {
    let store = store.migrated();
    for number in 0..20 {
        let team = if number % 7 == 6 { "x" } else { "y" };
        insert(&store, &format!("c{number:02}"), "N", &[("team", team)]);
    }
    let wanted = ClientSearch::new(None, ["team=x"]).unwrap();
    let page = |after: Option<&ClientId>, limit: usize, walk: i64| {
        let page = store.run(|conn| client_search::search(conn, &wanted, after, limit, walk));
        let ids: Vec<String> = page.clients.iter().map(|client| client.id.to_string()).collect();
        (ids, page.next)
    };
    assert_eq!(page(None, 5, 6), (vec![], Some(id("c05"))), "six were visited");
    assert_eq!(page(Some(&id("c05")), 5, 6), (vec!["c06".into()], Some(id("c11"))));
    assert_eq!(
        page(None, 1, 20),
        (vec!["c06".into()], Some(id("c06"))),
        "another one matches"
    );
    for (limit, walk) in [(1, 1), (1, 3), (2, 20), (2, 100), (5, 7)] {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let (ids, next) = page(after.as_ref(), limit, walk);
            assert!(ids.len() <= limit);
            all.extend(ids);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(all, ["c06", "c13"], "{limit} {walk}");
    }
}
