//! Clients with their secrets.

use mintage::db::changes::{self, Change};
use mintage::db::{DbError, clients, tokens};
use mintage::oauth::alg::Alg;
use mintage::oauth::client::{AuthMethod, Client};
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::custom_claims::CustomClaims;
use mintage::oauth::labels::Labels;
use mintage::oauth::scope::Scope;
use mintage::oauth::secret_hash::SecretHash;
use mintage::oauth::stored_secret::{StoredSecret, verify};
use mintage::oauth::token_form::{ScopeClaim, TokenOptions, TokenType};
use mintage::time::UnixMillis;
use testkit::sample::{NOW, claims, client, id};

use crate::{Store, on_both_backends};

on_both_backends! {
    a_client_is_read_as_it_was_written
    a_client_without_optional_fields_is_read_as_it_was_written
    an_empty_default_scope_differs_from_an_unset_one
    an_unknown_id_finds_no_client
    client_ids_are_case_sensitive
    secrets_are_read_oldest_first_and_verify
    an_existing_id_is_a_conflict_and_changes_nothing
    a_secret_without_a_client_is_rejected
    existing_clients_are_found_among_many_ids
    a_list_is_ordered_by_id_and_continues_after_the_last_id
    the_most_recently_used_clients_come_first
    replace_adds_a_missing_client
    replace_leaves_nothing_of_the_old_client
    a_client_is_disabled_and_enabled_again
    a_deleted_client_is_gone_with_its_secrets
    every_write_appends_to_the_change_log
    a_malformed_client_row_is_inconsistent
    a_malformed_secret_hash_is_inconsistent
}

fn find(store: &Store, text: &str) -> Option<Client> {
    store.run(|conn| clients::find(conn, &id(text)))
}

fn insert(store: &Store, client: &Client) {
    store.run(|conn| clients::insert(conn, client));
}

fn ids(clients: Vec<Client>) -> Vec<String> {
    clients.into_iter().map(|client| client.id.to_string()).collect()
}

fn secret(text: &str, name: &str, created_at: i64) -> StoredSecret {
    StoredSecret {
        id: name.into(),
        hash: SecretHash::of(&ClientSecret::new(text.into())),
        created_at: UnixMillis(created_at),
        expires_at: None,
        last_used: Default::default(),
    }
}

/// A client whose every field differs from the sample's.
fn full(text: &str) -> Client {
    let mut expiring = secret("one", "secret-of-full", 7);
    expiring.expires_at = Some(UnixMillis(8));
    Client {
        id: id(text),
        name: "O'Brien \"& Söhne\" 🪙".into(),
        enabled: false,
        scope: Scope::parse("z a mintage:admin").unwrap(),
        default_scope: Scope::parse("a").unwrap(),
        audiences: vec!["https://a.example".into(), "urn:b".into()],
        introspection_audiences: vec!["https://c.example".into()],
        auth_methods: vec![AuthMethod::ClientSecretPost],
        ttl_seconds: Some(60),
        alg: Some(Alg::EdDsa),
        token: TokenOptions {
            default_audience: Some("kafka".into()),
            claims: CustomClaims::parse(r#"{"tenant":"O'Brien \"&\"","roles":[]}"#).unwrap(),
            scope_claim: Some(ScopeClaim::Scp),
            typ: Some(TokenType::Jwt),
        },
        labels: Labels::of([("team".into(), "O'Brien \"&\"".into())].into()).unwrap(),
        secrets: vec![expiring],
        created_at: UnixMillis(1),
        updated_at: UnixMillis(i64::MAX),
    }
}

/// The client as text, hashes included, so that the comparison covers every field.
fn shown(client: &Client) -> String {
    let hashes: Vec<String> = client.secrets.iter().map(|secret| secret.hash.to_stored()).collect();
    format!("{client:?} {hashes:?}")
}

fn a_client_is_read_as_it_was_written(store: Store) {
    let store = store.migrated();
    let written = full("a b:%+~");
    insert(&store, &written);
    assert_eq!(shown(&find(&store, "a b:%+~").unwrap()), shown(&written));
}

fn a_client_without_optional_fields_is_read_as_it_was_written(store: Store) {
    let store = store.migrated();
    let mut written = client("a");
    (written.scope, written.default_scope) = (Scope::empty(), Scope::empty());
    written.auth_methods = Vec::new();
    insert(&store, &written);
    assert_eq!(shown(&find(&store, "a").unwrap()), shown(&written));
}

fn an_empty_default_scope_differs_from_an_unset_one(store: Store) {
    let store = store.migrated();
    let (mut nothing, mut reserved) = (client("nothing"), client("reserved"));
    nothing.default_scope = Scope::empty();
    reserved.scope = Scope::parse("orders:read mintage:admin").unwrap();
    reserved.default_scope = Scope::parse("orders:read").unwrap();
    insert(&store, &nothing);
    insert(&store, &reserved);
    assert!(find(&store, "nothing").unwrap().default_scope.is_empty());
    assert_eq!(find(&store, "reserved").unwrap().default_scope.as_str(), "orders:read");
    assert_eq!(
        store.number("SELECT count(*) AS value FROM clients WHERE default_scope IS NULL"),
        1
    );
}

fn an_unknown_id_finds_no_client(store: Store) {
    let store = store.migrated();
    insert(&store, &client("a"));
    for unknown in ["b", "a ", "%", "' OR 1=1 --"] {
        assert!(find(&store, unknown).is_none(), "{unknown}");
    }
}

fn client_ids_are_case_sensitive(store: Store) {
    let store = store.migrated();
    insert(&store, &client("Reporter"));
    assert!(find(&store, "reporter").is_none());
    insert(&store, &client("reporter"));
    assert_eq!(find(&store, "reporter").unwrap().id, id("reporter"));
}

fn secrets_are_read_oldest_first_and_verify(store: Store) {
    let store = store.migrated();
    let mut written = client("a");
    written.secrets = vec![secret("new", "s-1", 20), secret("old", "s-2", 10)];
    insert(&store, &written);
    insert(&store, &full("b"));
    let found = find(&store, "a").unwrap().secrets;
    let names: Vec<&str> = found.iter().map(|secret| &*secret.id).collect();
    assert_eq!(names, ["s-2", "s-1"]);
    assert!(verify(&ClientSecret::new("old".into()), &found, NOW).is_some());
    assert!(verify(&ClientSecret::new("new".into()), &found, NOW).is_some());
    assert!(
        verify(&ClientSecret::new("one".into()), &found, NOW).is_none(),
        "the secret of b"
    );
}

fn an_existing_id_is_a_conflict_and_changes_nothing(store: Store) {
    let store = store.migrated();
    insert(&store, &client("a"));
    let outcome = store.try_run(|conn| clients::insert(conn, &full("a")));
    assert_eq!(outcome, Err(DbError::Conflict));
    assert_eq!(shown(&find(&store, "a").unwrap()), shown(&client("a")));
    assert_eq!(store.run(changes::last), 1);
    let mut same_secret = full("b");
    insert(&store, &same_secret);
    same_secret.id = id("c");
    let outcome = store.try_run(|conn| clients::insert(conn, &same_secret));
    assert_eq!(outcome, Err(DbError::Conflict));
    assert!(
        find(&store, "c").is_none(),
        "the row inserted before the rejected one is gone too"
    );
}

fn a_secret_without_a_client_is_rejected(store: Store) {
    let store = store.migrated();
    let orphan = "INSERT INTO secrets (secret_id, client_id, hash, created_at_ms) VALUES ('s', 'unknown', 'h', 1)";
    let outcome = store.try_run(|conn| Ok(diesel::RunQueryDsl::execute(diesel::sql_query(orphan), conn)?));
    assert!(matches!(outcome, Err(DbError::Query(_))), "{outcome:?}");
}

fn existing_clients_are_found_among_many_ids(store: Store) {
    let store = store.migrated();
    for text in ["a", "b", "c"] {
        insert(&store, &client(text));
    }
    let many: Vec<String> = (0..2000).map(|n| format!("unknown {n}")).collect();
    let asked: Vec<&str> = ["a", "c", "d"]
        .into_iter()
        .chain(many.iter().map(String::as_str))
        .collect();
    let mut found = ids(store.run(|conn| clients::load_many(conn, &asked)));
    found.sort();
    assert_eq!(found, ["a", "c"]);
    assert!(store.run(|conn| clients::load_many(conn, &[])).is_empty());
}

fn a_list_is_ordered_by_id_and_continues_after_the_last_id(store: Store) {
    let store = store.migrated();
    let in_order = ["10", "9", "B", "_x", "a", "a b", "a-b", "ab", "c"];
    for text in in_order.iter().rev() {
        insert(&store, &client(text));
    }
    let mut listed = Vec::new();
    loop {
        let after = listed.last().cloned();
        let page = ids(store.run(|conn| clients::list(conn, after.as_deref(), 2)));
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert_eq!(listed, in_order);
}

fn the_most_recently_used_clients_come_first(store: Store) {
    let store = store.migrated();
    let used = [("a", 1), ("b", 2), ("c", 3), ("a", 4), ("a", 5)];
    let records: Vec<_> = used
        .map(|(client, n)| tokens::TokenRecord::from(&claims(client, n)))
        .to_vec();
    store.run(|conn| tokens::insert_batch(conn, &records));
    assert_eq!(store.run(|conn| clients::recently_used(conn, 10)), ["a", "c", "b"]);
    assert_eq!(store.run(|conn| clients::recently_used(conn, 2)), ["a", "c"]);
    assert!(store.run(|conn| clients::recently_used(conn, 0)).is_empty());
}

fn replace_adds_a_missing_client(store: Store) {
    let store = store.migrated();
    store.run(|conn| clients::replace(conn, &full("a")));
    assert_eq!(shown(&find(&store, "a").unwrap()), shown(&full("a")));
}

fn replace_leaves_nothing_of_the_old_client(store: Store) {
    let store = store.migrated();
    insert(&store, &full("a"));
    insert(&store, &client("b"));
    let mut plain = client("a");
    plain.secrets = vec![secret("two", "s-2", 9)];
    store.run(|conn| clients::replace(conn, &plain));
    assert_eq!(shown(&find(&store, "a").unwrap()), shown(&plain));
    assert_eq!(shown(&find(&store, "b").unwrap()), shown(&client("b")));
    store.run(|conn| clients::replace(conn, &full("a")));
    assert_eq!(shown(&find(&store, "a").unwrap()), shown(&full("a")));
}

fn a_client_is_disabled_and_enabled_again(store: Store) {
    let store = store.migrated();
    insert(&store, &client("a"));
    insert(&store, &client("b"));
    let later = UnixMillis(NOW.0 + 5);
    assert!(store.run(|conn| testkit::sample::set_enabled(conn, &id("a"), false, later)));
    let found = find(&store, "a").unwrap();
    assert_eq!((found.enabled, found.created_at, found.updated_at), (false, NOW, later));
    assert!(find(&store, "b").unwrap().enabled);
    assert!(store.run(|conn| testkit::sample::set_enabled(conn, &id("a"), true, later)));
    assert!(find(&store, "a").unwrap().enabled);
    assert!(!store.run(|conn| testkit::sample::set_enabled(conn, &id("unknown"), true, later)));
}

fn a_deleted_client_is_gone_with_its_secrets(store: Store) {
    let store = store.migrated();
    insert(&store, &full("a"));
    insert(&store, &client("b"));
    assert!(store.run(|conn| clients::delete(conn, &id("a"), NOW)));
    assert!(find(&store, "a").is_none() && find(&store, "b").is_some());
    assert_eq!(store.number("SELECT count(*) AS value FROM secrets"), 0);
    assert!(!store.run(|conn| clients::delete(conn, &id("a"), NOW)));
}

fn every_write_appends_to_the_change_log(store: Store) {
    let store = store.migrated();
    insert(&store, &client("a"));
    store.run(|conn| clients::replace(conn, &client("b")));
    store.run(|conn| testkit::sample::set_enabled(conn, &id("a"), false, NOW));
    store.run(|conn| clients::delete(conn, &id("b"), NOW));
    let log = store.run(|conn| changes::from(conn, 0, 100));
    let changed: Vec<Change> = log.into_iter().map(|line| line.change).collect();
    assert_eq!(changed, ["a", "b", "a", "b"].map(|text| Change::Client(id(text))));
}

fn a_malformed_client_row_is_inconsistent(store: Store) {
    let store = store.migrated();
    insert(&store, &client("a"));
    let columns = [
        ("scope", "'a  b'"),
        ("default_scope", "'a\"b'"),
        ("auth_methods", "'none'"),
        ("alg", "'RS1'"),
    ];
    for (column, wrong) in columns {
        let spoil = format!("UPDATE clients SET {column} = {wrong}");
        store.execute(&spoil, &spoil);
        let outcome = store.try_run(|conn| clients::find(conn, &id("a")));
        let expected = format!("client \"a\" has a malformed {column}");
        assert_eq!(outcome.unwrap_err(), DbError::Inconsistent(expected));
        store.run(|conn| clients::replace(conn, &client("a")));
    }
}

fn a_malformed_secret_hash_is_inconsistent(store: Store) {
    let store = store.migrated();
    insert(&store, &full("a"));
    let spoil = "UPDATE secrets SET hash = 'md5:00'";
    store.execute(spoil, spoil);
    let outcome = store.try_run(|conn| clients::find(conn, &id("a")));
    assert!(matches!(outcome, Err(DbError::Inconsistent(_))));
}
