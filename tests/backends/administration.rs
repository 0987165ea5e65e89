//! Operator actions: each change is committed together with its audit event, or not at all.

use diesel::RunQueryDsl;
use mintage::api::audit::AuditDocument;
use mintage::api::client_fields::ClientFields;
use mintage::db::changes::Change;
use mintage::db::clients::{self, Changed};
use mintage::db::secrets::{self, Added, MAX_SECRETS};
use mintage::db::transactions::{Deleted, Imported};
use mintage::db::{Conn, DbError, audit, changes, routes, transactions};
use mintage::gateway::route::NewRoute;
use mintage::oauth::client::Client;
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::secret_hash::SecretHash;
use mintage::oauth::stored_secret::StoredSecret;
use mintage::time::UnixMillis;
use serde_json::json;
use testkit::sample::{NOW, client, id, operator};

use crate::{Store, on_both_backends};

on_both_backends! {
    a_created_client_is_in_the_audit_log_without_its_secret
    the_audit_event_of_a_change_has_the_old_and_the_new_value
    a_rejected_change_leaves_no_trace
    a_change_of_something_unknown_leaves_no_audit_event
    a_public_route_is_read_as_it_was_written
    an_audit_event_that_cannot_be_written_rolls_the_change_back
    a_client_that_fails_the_precondition_is_not_deleted
    every_operator_change_is_in_the_change_log
    a_client_may_have_several_secrets_up_to_a_maximum
    adding_a_secret_can_set_an_expiry_on_the_others
    a_secret_is_revoked_only_for_its_own_client
    the_last_use_of_a_secret_is_recorded_and_never_moves_back
    the_audit_log_is_read_in_pages_from_both_ends
    each_imported_client_has_its_change_and_its_audit_event
    an_import_with_an_existing_id_writes_nothing_or_only_the_others
    an_import_that_fails_late_leaves_nothing
    a_hash_is_replaced_only_if_it_is_unchanged
}

fn audit_log(store: &Store) -> Vec<AuditDocument> {
    store.run(|conn| audit::since(conn, None, 100))
}

fn actions(store: &Store) -> Vec<String> {
    audit_log(store).into_iter().map(|line| line.action).collect()
}

/// A database with the client `a`, created by an operator.
fn with_client(store: Store) -> (Store, ClientSecret) {
    let store = store.migrated();
    let secret = ClientSecret::generate();
    let mut client = client("a");
    client.secrets.push(StoredSecret::new(&secret, NOW));
    store.run(|conn| transactions::create_client(conn, &operator(), &client));
    (store, secret)
}

fn rename(conn: &mut Conn, name: &str, whose: &str) -> Result<Changed<()>, DbError> {
    transactions::change_client(conn, &operator(), &id(whose), NOW, |client| {
        let fields = ClientFields {
            name: Some(name.into()),
            ..ClientFields::default()
        };
        fields.applied_to(client, NOW).map_err(|_| ())
    })
}

fn find(store: &Store) -> Client {
    store.run(|conn| clients::find(conn, &id("a"))).unwrap()
}

fn a_created_client_is_in_the_audit_log_without_its_secret(store: Store) {
    let (store, secret) = with_client(store);
    let lines = audit_log(&store);
    assert_eq!(lines.len(), 1);
    let line = serde_json::to_string(&lines[0]).unwrap();
    assert!(!line.contains(secret.reveal()) && !line.contains(&SecretHash::of(&secret).to_stored()[7..]));
    assert_eq!(
        (lines[0].actor.as_str(), lines[0].source.as_str()),
        ("ops", "127.0.0.1")
    );
    assert_eq!(
        (lines[0].action.as_str(), lines[0].subject.as_str()),
        ("client.create", "a")
    );
    assert_eq!(lines[0].detail["client"]["scope"], "orders:read orders:write");
    assert_eq!(lines[0].at, "2026-11-24T00:00:00.000Z");
}

fn the_audit_event_of_a_change_has_the_old_and_the_new_value(store: Store) {
    let (store, _) = with_client(store);
    assert!(matches!(
        store.run(|conn| rename(conn, "new", "a")),
        Changed::Done { .. }
    ));
    let detail = &audit_log(&store)[1].detail;
    assert_eq!(detail["name"], json!({ "before": "the client a", "after": "new" }));
    assert_eq!(detail.get("scope"), None, "unchanged fields are not listed");
    let after = find(&store);
    assert_eq!((after.name.as_str(), after.secrets.len()), ("new", 1));
}

fn a_rejected_change_leaves_no_trace(store: Store) {
    let (store, _) = with_client(store);
    assert!(matches!(store.run(|conn| rename(conn, "", "a")), Changed::Rejected(())));
    assert_eq!(actions(&store), ["client.create"]);
    assert_eq!(find(&store).name, "the client a");
}

fn a_change_of_something_unknown_leaves_no_audit_event(store: Store) {
    let store = store.migrated();
    assert!(matches!(
        store.run(|conn| rename(conn, "new", "unknown")),
        Changed::Missing
    ));
    assert!(!store.run(|conn| transactions::delete_client(conn, &operator(), &id("unknown"), NOW)));
    let revoked = store.run(|conn| transactions::revoke_client_tokens(conn, &operator(), &id("unknown"), NOW));
    assert_eq!(revoked, None);
    assert!(!store.run(|conn| transactions::revoke_secret(conn, &operator(), &id("unknown"), "s", NOW)));
    assert!(!store.run(|conn| transactions::remove_route(conn, &operator(), "none", NOW)));
    assert_eq!(actions(&store), [""; 0]);
}

fn a_public_route_is_read_as_it_was_written(store: Store) {
    let store = store.migrated();
    let route = |id: &str, public: bool| {
        let new = NewRoute {
            path: format!("/{id}/{{*rest}}"),
            public,
            scope: (!public).then(|| "a".to_owned()),
            ..NewRoute::default()
        };
        new.route(id.into(), NOW).unwrap()
    };
    let both = [route("a", true), route("b", false)];
    for route in &both {
        store.run(|conn| transactions::add_route(conn, &operator(), route));
    }
    assert_eq!(store.run(routes::list), both);
    assert_eq!(audit_log(&store)[0].detail["public"], true);
}

fn an_audit_event_that_cannot_be_written_rolls_the_change_back(store: Store) {
    let (store, _) = with_client(store);
    store.run(|conn| Ok(diesel::sql_query("ALTER TABLE audit RENAME TO elsewhere").execute(conn)?));
    assert!(store.try_run(|conn| rename(conn, "new", "a")).is_err());
    assert_eq!(find(&store).name, "the client a");
}

fn a_client_that_fails_the_precondition_is_not_deleted(store: Store) {
    let (store, _) = with_client(store);
    let delete_if = |whose: &str, name: &str| {
        store.run(|conn| {
            transactions::delete_client_if(conn, &operator(), &id(whose), NOW, |client| client.name == name)
        })
    };
    assert_eq!(delete_if("unknown", "x"), Deleted::Missing);
    assert_eq!(delete_if("a", "x"), Deleted::Rejected);
    assert_eq!(
        (actions(&store), find(&store).secrets.len()),
        (vec!["client.create".into()], 1)
    );
    assert_eq!(delete_if("a", "the client a"), Deleted::Done);
    assert_eq!(actions(&store), ["client.create", "client.delete"]);
    assert!(store.run(|conn| clients::find(conn, &id("a"))).is_none());
}

fn every_operator_change_is_in_the_change_log(store: Store) {
    let (store, _) = with_client(store);
    let mut before = store.run(changes::last);
    let mut grows = |what: &str| {
        let now = store.run(changes::last);
        assert!(now > before, "{what}");
        before = now;
    };
    let second = StoredSecret::new(&ClientSecret::generate(), NOW);
    store.run(|conn| transactions::add_secret(conn, &operator(), &id("a"), &second, None));
    grows("a secret is added");
    assert!(store.run(|conn| transactions::revoke_secret(conn, &operator(), &id("a"), &second.id, NOW)));
    grows("a secret is revoked");
    store.run(|conn| rename(conn, "new", "a"));
    grows("a client is changed");
    store.run(|conn| transactions::revoke_client_tokens(conn, &operator(), &id("a"), NOW));
    grows("tokens are revoked");
    assert!(store.run(|conn| transactions::delete_client(conn, &operator(), &id("a"), NOW)));
    grows("a client is deleted");
    assert_eq!(
        actions(&store),
        [
            "client.create",
            "secret.add",
            "secret.revoke",
            "client.update",
            "client.revoke_tokens",
            "client.delete"
        ]
    );
}

fn a_client_may_have_several_secrets_up_to_a_maximum(store: Store) {
    let (store, first) = with_client(store);
    let add = || {
        let secret = StoredSecret::new(&ClientSecret::generate(), NOW);
        store.run(|conn| transactions::add_secret(conn, &operator(), &id("a"), &secret, None))
    };
    for _ in 1..MAX_SECRETS {
        assert_eq!(add(), Added::Done);
    }
    assert_eq!(add(), Added::TooMany);
    let secrets = find(&store).secrets;
    assert_eq!(secrets.len() as i64, MAX_SECRETS);
    assert!(mintage::oauth::stored_secret::verify(&first, &secrets, NOW).is_some());
}

fn adding_a_secret_can_set_an_expiry_on_the_others(store: Store) {
    let (store, _) = with_client(store);
    let mut soon = StoredSecret::new(&ClientSecret::generate(), UnixMillis(NOW.0 + 1));
    soon.expires_at = Some(UnixMillis(NOW.0 + 10));
    let newest = StoredSecret::new(&ClientSecret::generate(), UnixMillis(NOW.0 + 2));
    let end = UnixMillis(NOW.0 + 1000);
    store.run(|conn| secrets::add(conn, &id("a"), &soon, None));
    store.run(|conn| secrets::add(conn, &id("a"), &newest, Some(end)));
    let ends: Vec<Option<UnixMillis>> = find(&store).secrets.iter().map(|secret| secret.expires_at).collect();
    assert_eq!(ends, [Some(end), soon.expires_at, None], "an earlier expiry stays");
}

fn a_secret_is_revoked_only_for_its_own_client(store: Store) {
    let (store, _) = with_client(store);
    store.run(|conn| clients::insert(conn, &client("b")));
    let secret_id = find(&store).secrets[0].id.clone();
    assert!(!store.run(|conn| secrets::revoke(conn, &id("b"), &secret_id, NOW)));
    assert!(store.run(|conn| secrets::revoke(conn, &id("a"), &secret_id, NOW)));
    assert!(find(&store).secrets.is_empty());
}

fn the_last_use_of_a_secret_is_recorded_and_never_moves_back(store: Store) {
    let (store, _) = with_client(store);
    let secret_id = find(&store).secrets[0].id.to_string();
    let used = |moment| store.run(|conn| secrets::used(conn, &[(secret_id.clone(), UnixMillis(moment))]));
    let last = || find(&store).secrets[0].last_used.moment();
    assert_eq!(last(), None);
    used(NOW.0 + 5);
    used(NOW.0 + 3);
    assert_eq!(last(), Some(UnixMillis(NOW.0 + 5)));
}

fn the_audit_log_is_read_in_pages_from_both_ends(store: Store) {
    let (store, _) = with_client(store);
    for name in ["one", "two", "three"] {
        store.run(|conn| rename(conn, name, "a"));
    }
    let newest = store.run(|conn| audit::list(conn, None, 2));
    let older = store.run(|conn| audit::list(conn, Some(newest[1].id), 2));
    let names = |lines: &[AuditDocument]| -> Vec<String> {
        let name = |line: &AuditDocument| line.detail["name"]["after"].as_str().unwrap_or("created").to_owned();
        lines.iter().map(name).collect()
    };
    assert_eq!(
        (names(&newest), names(&older)),
        (vec!["three".into(), "two".into()], vec!["one".into(), "created".into()])
    );
    let since = store.run(|conn| audit::since(conn, Some(older[0].id), 1));
    assert_eq!(names(&since), ["two"]);
}

/// More than one statement inserts, each with a secret.
fn clients_to_import(count: usize) -> Vec<Client> {
    let one = |number: usize| {
        let mut client = client(&format!("import-{number:04}"));
        client.secrets.push(StoredSecret::new(&ClientSecret::generate(), NOW));
        client
    };
    (0..count).map(one).collect()
}

fn import(conn: &mut Conn, all: &[Client], skip_taken: bool) -> Result<Imported, DbError> {
    transactions::import_clients(conn, &operator(), all, NOW, skip_taken, |_| {})
}

fn each_imported_client_has_its_change_and_its_audit_event(store: Store) {
    let store = store.migrated();
    let all = clients_to_import(1203);
    let mut written = 0;
    let imported =
        store.run(|conn| transactions::import_clients(conn, &operator(), &all, NOW, false, |count| written += count));
    assert!(imported.done && imported.taken.is_empty());
    assert_eq!(written, 1203);
    for table in ["clients", "secrets", "changes", "audit"] {
        let count = store.number(&format!("SELECT count(*) AS value FROM {table}"));
        assert_eq!(count, 1203, "{table}");
    }
    let last = store.run(|conn| clients::find(conn, &id("import-1202"))).unwrap();
    assert_eq!(last.secrets[0].hash.to_stored(), all[1202].secrets[0].hash.to_stored());
    let line = &store.run(|conn| audit::list(conn, None, 1))[0];
    assert_eq!(
        (line.action.as_str(), line.subject.as_str()),
        ("client.import", "import-1202")
    );
    let change = store.run(|conn| changes::from(conn, 1203, 10)).pop().unwrap();
    assert_eq!(change.change, Change::Client(id("import-1202")));
}

fn an_import_with_an_existing_id_writes_nothing_or_only_the_others(store: Store) {
    let store = store.migrated();
    let all = clients_to_import(3);
    store.run(|conn| clients::insert(conn, &client("import-0001")));
    let count = || store.number("SELECT count(*) AS value FROM clients");
    let strict = store.run(|conn| import(conn, &all, false));
    assert_eq!((strict.done, count()), (false, 1));
    assert_eq!(strict.taken.into_iter().collect::<Vec<_>>(), ["import-0001"]);
    assert!(store.run(|conn| import(conn, &all, true)).done);
    assert_eq!((count(), actions(&store).len()), (3, 2));
    let there = store.run(|conn| clients::find(conn, &id("import-0001"))).unwrap();
    assert!(there.secrets.is_empty(), "the existing client is unchanged");
}

fn an_import_that_fails_late_leaves_nothing(store: Store) {
    let store = store.migrated();
    store.execute("DROP TABLE changes", "DROP TABLE changes");
    assert!(
        store
            .try_run(|conn| import(conn, &clients_to_import(700), false))
            .is_err()
    );
    for table in ["clients", "secrets", "audit"] {
        assert_eq!(
            store.number(&format!("SELECT count(*) AS value FROM {table}")),
            0,
            "{table}"
        );
    }
}

fn a_hash_is_replaced_only_if_it_is_unchanged(store: Store) {
    let (store, old) = with_client(store);
    let (secret_id, new) = (find(&store).secrets[0].id.clone(), ClientSecret::generate());
    let rehash = |client: &str, secret_id: &str, from: &ClientSecret| {
        store.run(|conn| {
            secrets::rehash(
                conn,
                &id(client),
                secret_id,
                &SecretHash::of(from),
                &SecretHash::of(&new),
                NOW,
            )
        })
    };
    let before = store.run(changes::last);
    assert!(!rehash("a", &secret_id, &ClientSecret::generate()), "another hash");
    assert!(!rehash("b", &secret_id, &old), "another client");
    assert!(!rehash("a", "other", &old), "another secret");
    assert_eq!(store.run(changes::last), before);
    assert!(rehash("a", &secret_id, &old));
    assert!(!rehash("a", &secret_id, &old), "replaced already");
    assert_eq!(store.run(changes::last), before + 1);
    assert_eq!(
        find(&store).secrets[0].hash.to_stored(),
        SecretHash::of(&new).to_stored()
    );
}
