//! The roles of `ops/postgresql-roles.sql`, as shipped: the role that serves can do everything that
//! the server does, and can add to the audit log without changing it.

use mintage::mutex::lock;
use std::sync::Mutex;

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use mintage::clock::Clock;
use mintage::db::audit_chain::Verification;
use mintage::db::expired::{self, Leftover};
use mintage::db::{Conn, Db, DbError, audit, changes, deployment, migrations, partitions, revocations};
use mintage::db::{routes, secrets, signing_keys, tokens, transactions};
use mintage::gateway::route::NewRoute;
use mintage::keys::rotation::Publication;
use mintage::keys::{SigningKey, StoredKey};
use mintage::oauth::activity::InvalidatedToken;
use mintage::oauth::alg::Alg;
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::stored_secret::StoredSecret;
use testkit::sample::{NOW, claims, client, id, operator};

use crate::Store;

const ROLES: &str = include_str!("../../ops/postgresql-roles.sql");

/// The database as another role.
fn as_role(store: &Store, role: &str) -> Db {
    let mut settings = store.settings.clone();
    settings.url = settings.url.replacen("//postgres@", &format!("//{role}@"), 1);
    Db::open(&settings)
}

/// Runs the file. One at a time, because roles belong to the server and not to the database.
fn apply(store: &Store) {
    static ROLES_OF_THE_SERVER: Mutex<()> = Mutex::new(());
    let _one_at_a_time = lock(&ROLES_OF_THE_SERVER);
    store.run(|conn| conn.write(|conn| Ok(conn.batch_execute(ROLES)?)));
}

/// As documented: roles, `migrate up`, and the grants on the new tables.
fn with_roles() -> (Store, Db, Db) {
    let store = Store::postgres();
    apply(&store);
    let (migrate, serve) = (as_role(&store, "mintage_migrate"), as_role(&store, "mintage"));
    migrate.run_here(migrations::up).unwrap();
    apply(&store);
    apply(&store);
    (store, migrate, serve)
}

fn denied(db: &Db, statement: &str) {
    let outcome = db.run_here(|conn| Ok(diesel::sql_query(statement).execute(conn)?));
    let is_denied = |error: &DbError| {
        ["permission denied", "must be owner"]
            .iter()
            .any(|text| error.to_string().contains(text))
    };
    assert!(outcome.as_ref().is_err_and(is_denied), "{statement}: {outcome:?}");
}

/// What the server writes, from its start to the removal of expired rows.
fn serve(conn: &mut Conn) -> Result<(), DbError> {
    let by = operator();
    migrations::ensure_current(conn, false)?;
    audit::begin(conn, NOW)?;
    assert!(partitions::create_ahead(conn, NOW.seconds())? > 100);
    // One algorithm for all, because RSA keys are slow.
    let generate = |alg| -> Result<StoredKey, DbError> {
        let key = SigningKey::generate(Alg::Hs256, NOW, None).unwrap();
        Ok(StoredKey { alg, ..key })
    };
    signing_keys::complete(conn, NOW, None, generate)?;
    deployment::secret(conn, NOW)?;
    transactions::create_client(conn, &by, &client("a"))?;
    let secret = StoredSecret::new(&ClientSecret::generate(), NOW);
    transactions::add_secret(conn, &by, &id("a"), &secret, None)?;
    secrets::used(conn, &[(secret.id.to_string(), NOW)])?;
    tokens::insert_batch(conn, &[(&claims("a", 1)).into(), (&claims("a", 2)).into()])?;
    let token = InvalidatedToken {
        jti: claims("a", 1).jti,
        expires_at: NOW.seconds() + 10,
    };
    transactions::revoke_token(conn, &by, token, NOW)?;
    revocations::redeem(conn, token, NOW)?;
    transactions::revoke_client_tokens(conn, &by, &id("a"), NOW)?;
    let new = NewRoute {
        path: "/orders".into(),
        scope: Some("x".into()),
        ..NewRoute::default()
    };
    transactions::add_route(conn, &by, &new.route("r".into(), NOW).unwrap())?;
    routes::table(conn)?;
    transactions::remove_route(conn, &by, "r", NOW)?;
    let key = SigningKey::generate(Alg::Hs256, NOW, None).unwrap();
    let publication = Publication {
        alg: Alg::Hs256,
        activates_at: NOW,
        others_until: NOW,
    };
    signing_keys::rotate(conn, &Clock::mock(NOW), &by, vec![key], None, |_, _| vec![publication])?;
    let later = NOW.seconds() + 100 * 24 * 3600;
    while partitions::drop_one(conn, later)? == Some(true) {}
    for leftover in [Leftover::Tokens, Leftover::Revocations, Leftover::Redemptions] {
        expired::remove(conn, leftover, later)?;
    }
    expired::remove_changes(conn, NOW)?;
    transactions::delete_client(conn, &by, &id("a"), NOW)?;
    changes::last(conn)?;
    Ok(())
}

#[test]
fn the_serving_role_can_add_to_the_trail_and_not_change_it() {
    let (store, _, serve_role) = with_roles();
    serve_role.run_here(serve).unwrap();
    for statement in [
        "UPDATE audit SET who = 'bob'",
        "DELETE FROM audit WHERE id = 2",
        "TRUNCATE audit",
        "DROP TABLE audit",
        "ALTER TABLE audit DISABLE TRIGGER audit_in_order",
        "DROP TRIGGER audit_in_order ON audit",
        "CREATE OR REPLACE FUNCTION audit_in_order() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "INSERT INTO audit (id, at_ms, who, origin, action, subject, detail) OVERRIDING SYSTEM VALUE
            VALUES (-1, 1, 'x', 'x', 'x', 'x', '{}')",
        "DELETE FROM __diesel_schema_migrations",
        "DROP SCHEMA public CASCADE",
        "ALTER TABLE clients ADD COLUMN x TEXT",
    ] {
        denied(&serve_role, statement);
    }
    let lines = store.run(|conn| audit::lines(conn, None, 100));
    let mut chain = Verification::new(None, 0);
    for line in &lines {
        chain.next(line.id(), &line.content(), line.stored_hash()).unwrap();
    }
    assert_eq!(lines.len(), 8);
}

#[test]
fn the_migrating_role_changes_the_schema_also_of_what_the_server_owns() {
    let (store, migrate, serve_role) = with_roles();
    serve_role.run_here(serve).unwrap();
    while migrate.run_here(migrations::down).unwrap().is_some() {}
    migrate.run_here(migrations::up).unwrap();
    denied(&serve_role, "SELECT * FROM audit");
    apply(&store);
    serve_role.run_here(serve).unwrap();
}

/// A deployment that began with one role for everything.
#[test]
fn the_roles_can_be_separated_later() {
    let store = Store::postgres();
    apply(&store);
    store.run(|conn| Ok(diesel::sql_query("ALTER SCHEMA public OWNER TO mintage").execute(conn)?));
    let serve_role = as_role(&store, "mintage");
    serve_role.run_here(migrations::up).unwrap();
    serve_role.run_here(serve).unwrap();
    apply(&store);
    for statement in [
        "DELETE FROM audit",
        "DROP TABLE audit",
        "CREATE OR REPLACE FUNCTION audit_in_order() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ] {
        denied(&serve_role, statement);
    }
    serve_role.run_here(|conn| audit::begin(conn, NOW)).unwrap();
}
