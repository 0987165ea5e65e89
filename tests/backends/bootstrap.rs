//! The first operator from the configuration: created once, and never in place of what operators
//! have done.

use mintage::api::client_fields::ClientFields;
use mintage::db::bootstrap::{Bootstrapped, FirstOperator, first_operator};
use mintage::db::{Db, audit, clients, secrets, transactions};
use mintage::oauth::client::Client;
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::scope::Scope;
use mintage::oauth::stored_secret::StoredSecret;
use mintage::time::UnixMillis;
use testkit::sample::{NOW, client, id, operator, set_enabled};

use crate::{Store, on_both_backends};

on_both_backends! {
    the_first_operator_is_created_once_and_audited_without_its_secret
    an_existing_operator_even_a_disabled_one_prevents_another
    similar_scopes_and_other_duties_are_no_operators
    a_client_with_the_id_but_without_the_scope_is_not_changed
    the_secret_is_reported_until_it_is_replaced
}

fn start(store: &Store, secret: &ClientSecret) -> Bootstrapped {
    store.run(|conn| first_operator(conn, &id("first"), secret, NOW))
}

fn operator_of(store: &Store, scope: &str) -> Client {
    let mut client = client("other");
    client.scope = Scope::parse(scope).unwrap();
    client.default_scope = Scope::empty();
    store.run(|conn| transactions::create_client(conn, &operator(), &client));
    client
}

fn find(store: &Store, name: &str) -> Option<Client> {
    store.run(|conn| clients::find(conn, &id(name)))
}

const CREATED: Bootstrapped = Bootstrapped {
    operator: FirstOperator::Created,
    has_secret: true,
};
const ABSENT: Bootstrapped = Bootstrapped {
    operator: FirstOperator::NotNeeded,
    has_secret: false,
};

fn the_first_operator_is_created_once_and_audited_without_its_secret(store: Store) {
    let store = store.migrated();
    let secret = ClientSecret::generate();
    assert_eq!(start(&store, &secret), CREATED);
    let created = find(&store, "first").unwrap();
    assert_eq!(
        (created.scope.as_str(), created.default_scope.as_str()),
        ("mintage:admin", "")
    );
    let again = start(&store, &secret);
    assert_eq!((again.operator, again.has_secret), (FirstOperator::NotNeeded, true));
    let lines = store.run(|conn| audit::since(conn, None, 100));
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert_eq!(
        (
            line.actor.as_str(),
            line.source.as_str(),
            line.action.as_str(),
            line.subject.as_str()
        ),
        ("mintage", "bootstrap.client_id", "client.create", "first")
    );
    let text = serde_json::to_string(line).unwrap();
    assert!(!text.contains(secret.reveal()), "{text}");
    assert!(text.contains(&*created.secrets[0].id), "{text}");
}

fn an_existing_operator_even_a_disabled_one_prevents_another(store: Store) {
    let store = store.migrated();
    operator_of(&store, "orders mintage:admin");
    assert_eq!(start(&store, &ClientSecret::generate()), ABSENT);
    assert!(store.run(|conn| set_enabled(conn, &id("other"), false, NOW)));
    assert_eq!(start(&store, &ClientSecret::generate()), ABSENT);
    assert!(find(&store, "first").is_none());
    store.run(|conn| transactions::delete_client(conn, &operator(), &id("other"), NOW));
    assert_eq!(start(&store, &ClientSecret::generate()), CREATED);
}

fn similar_scopes_and_other_duties_are_no_operators(store: Store) {
    let store = store.migrated();
    operator_of(
        &store,
        "mintage:read mintage:clients xmintage:admin mintage:administrator",
    );
    assert_eq!(start(&store, &ClientSecret::generate()), CREATED);
}

fn a_client_with_the_id_but_without_the_scope_is_not_changed(store: Store) {
    let store = store.migrated();
    store.run(|conn| transactions::create_client(conn, &operator(), &client("first")));
    let before = find(&store, "first").unwrap();
    let found = start(&store, &ClientSecret::generate());
    assert_eq!((found.operator, found.has_secret), (FirstOperator::IdTaken, false));
    let after = find(&store, "first").unwrap();
    assert_eq!(
        (after.scope.as_str(), after.updated_at),
        (before.scope.as_str(), before.updated_at)
    );
    assert_eq!(after.secrets.len(), before.secrets.len());
}

fn the_secret_is_reported_until_it_is_replaced(store: Store) {
    let store = store.migrated();
    let secret = ClientSecret::generate();
    assert!(start(&store, &secret).has_secret);
    let rename = ClientFields {
        name: Some("Ops".into()),
        ..ClientFields::default()
    };
    store.run(|conn| {
        transactions::change_client(conn, &operator(), &id("first"), NOW, |client| {
            rename.applied_to(client, NOW)
        })
    });
    assert!(start(&store, &secret).has_secret);
    let new = StoredSecret::new(&ClientSecret::generate(), UnixMillis(NOW.0 - 1));
    store.run(|conn| secrets::add(conn, &id("first"), &new, Some(NOW)));
    assert_eq!(start(&store, &secret), ABSENT);
}

#[test]
fn instances_that_start_together_on_postgresql_create_one_operator() {
    const INSTANCES: usize = 4;
    let store = Store::postgres().migrated();
    let secret = ClientSecret::generate();
    for round in 0..10 {
        let name = id(&format!("first{round}"));
        let barrier = std::sync::Barrier::new(INSTANCES);
        let results: Vec<Bootstrapped> = std::thread::scope(|scope| {
            let instance = || {
                let db = Db::open(&store.settings);
                db.run_here(|conn| {
                    barrier.wait();
                    first_operator(conn, &name, &secret, NOW)
                })
                .unwrap()
            };
            let running: Vec<_> = (0..INSTANCES).map(|_| scope.spawn(instance)).collect();
            running.into_iter().map(|instance| instance.join().unwrap()).collect()
        });
        let created = results
            .iter()
            .filter(|result| result.operator == FirstOperator::Created);
        assert_eq!(created.count(), 1, "{results:?}");
        assert!(results.iter().all(|result| result.has_secret), "{results:?}");
        store.run(|conn| transactions::delete_client(conn, &operator(), &name, NOW));
    }
    let created = store.number("SELECT count(*) AS value FROM audit WHERE action = 'client.create'");
    assert_eq!(created, 10);
}
