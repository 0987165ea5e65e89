//! The secret of a deployment.

use mintage::db::{DbError, deployment};
use testkit::sample::NOW;

use crate::{Store, on_both_backends};

on_both_backends! {
    the_secret_is_created_once
    each_deployment_has_its_own_secret
    a_malformed_secret_is_an_error
}

fn secret(store: &Store) -> [u8; 32] {
    *store.run(|conn| deployment::secret(conn, NOW))
}

fn the_secret_is_created_once(store: Store) {
    let store = store.migrated();
    let first = secret(&store);
    assert_eq!(secret(&store), first);
    assert_ne!(first, [0; 32]);
    assert_eq!(store.number("SELECT count(*) AS value FROM deployment"), 1);
}

fn each_deployment_has_its_own_secret(store: Store) {
    let store = store.migrated();
    let first = secret(&store);
    store.execute("DELETE FROM deployment", "DELETE FROM deployment");
    assert_ne!(secret(&store), first);
}

fn a_malformed_secret_is_an_error(store: Store) {
    let store = store.migrated();
    let insert = |bytes: &str| format!("INSERT INTO deployment VALUES (1, {bytes}, 0)");
    store.execute(&insert("x'0102'"), &insert("'\\x0102'"));
    let read = store.try_run(|conn| deployment::secret(conn, NOW));
    assert!(matches!(read, Err(DbError::Inconsistent(_))));
}
