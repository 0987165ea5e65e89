//! An operator is authorized again in the transaction of its change: what was taken away before
//! the commit is not there any more.

use std::sync::Barrier;
use std::time::Duration;

use mintage::api::audit::Principal;
use mintage::api::authority::{Authority, TokenAuthority};
use mintage::api::client_fields::ClientFields;
use mintage::clock::Clock;
use mintage::db::clients::{self, Changed};
use mintage::db::transactions;
use mintage::db::{Conn, DbError, NotAuthorized, audit, client_status, revocations, secrets, signing_keys};
use mintage::oauth::activity::InvalidatedToken;
use mintage::oauth::client::Client;
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::duty::{Duties, Duty};
use mintage::oauth::scope::Scope;
use mintage::oauth::stored_secret::StoredSecret;
use mintage::oauth::token_id::TokenId;
use mintage::time::UnixMillis;
use testkit::sample::{self, NOW, client, id};

use crate::{Store, on_both_backends};

on_both_backends! {
    a_change_needs_what_the_operator_has_at_that_moment
    a_global_not_before_ends_the_authority_of_every_earlier_token
    no_one_grants_what_they_do_not_hold
    keys_are_rotated_only_by_who_may_do_so_at_that_moment
    a_change_waits_for_the_one_that_takes_its_right_away
    a_revocation_waits_for_the_one_that_takes_its_right_away
    an_operator_can_revoke_its_own_token_once
    two_who_revoke_the_same_token_do_not_deadlock
    two_who_create_the_same_client_do_not_deadlock
    an_import_and_another_write_of_the_same_client_do_not_deadlock
    one_who_creates_and_one_who_replaces_the_same_client_do_not_deadlock
}

const SECRET: &str = "secret-of-ops";

/// A database with an operator `ops` that may do everything, and its authority.
fn with_operator(store: Store, needs: Duty) -> (Store, Principal) {
    let store = store.migrated();
    let mut ops = with_scope("ops", "mintage:admin");
    let mut secret = StoredSecret::new(&ClientSecret::generate(), NOW);
    secret.id = SECRET.into();
    ops.secrets.push(secret);
    store.run(|conn| clients::insert(conn, &ops));
    (store, by("ops", Duties::ALL, needs))
}

fn with_scope(name: &str, scope: &str) -> Client {
    let scope = Scope::parse(scope).unwrap();
    Client {
        default_scope: scope.without_prefix("mintage:"),
        scope,
        ..client(name)
    }
}

fn by(operator: &str, duties: Duties, needs: Duty) -> Principal {
    Principal {
        authority: Authority::Token(TokenAuthority {
            client: id(operator),
            jti: token().jti,
            secret_id: SECRET.into(),
            duties,
            needs,
        }),
        ..sample::operator()
    }
}

/// The token of the operator.
fn token() -> InvalidatedToken {
    InvalidatedToken {
        jti: TokenId::new(NOW, [7; 10]),
        expires_at: NOW.seconds() + 3600,
    }
}

fn set_scope(conn: &mut Conn, name: &str, scope: &str) -> Result<(), DbError> {
    let fields = ClientFields {
        scope: Some(scope.into()),
        ..ClientFields::default()
    };
    let changed = clients::change(conn, &id(name), NOW, |client| fields.applied_to(client, NOW))?;
    assert!(matches!(changed, Changed::Done { .. }));
    Ok(())
}

fn lost(duty: Duty) -> Result<(), DbError> {
    Err(DbError::NotAuthorized(NotAuthorized::Lost(duty)))
}

const NOT_HELD: Result<(), DbError> = Err(DbError::NotAuthorized(NotAuthorized::NotHeld));

fn a_change_needs_what_the_operator_has_at_that_moment(store: Store) {
    let (store, by) = with_operator(store, Duty::Clients);
    let mut number = 0;
    let mut create = |store: &Store| {
        number += 1;
        store.try_run(|conn| transactions::create_client(conn, &by, &client(&format!("new-{number}"))))
    };
    assert_eq!(create(&store), Ok(()));
    store.run(|conn| set_scope(conn, "ops", "mintage:keys x"));
    assert_eq!(create(&store), lost(Duty::Clients));
    store.run(|conn| set_scope(conn, "ops", "mintage:clients"));
    assert_eq!(create(&store), Ok(()));
    store.run(|conn| sample::set_enabled(conn, &id("ops"), false, NOW));
    assert_eq!(create(&store), lost(Duty::Clients));
    store.run(|conn| sample::set_enabled(conn, &id("ops"), true, NOW));
    assert_eq!(create(&store), Ok(()));
    store.run(|conn| revocations::revoke(conn, token(), NOW));
    assert_eq!(create(&store), lost(Duty::Clients));
    store.execute("DELETE FROM revocations", "DELETE FROM revocations");
    let other = StoredSecret::new(&ClientSecret::generate(), NOW);
    store.run(|conn| secrets::add(conn, &id("ops"), &other, Some(UnixMillis(NOW.0 + 1))));
    assert_eq!(create(&store), Ok(()), "the old secret is still valid");
    store.execute(
        "UPDATE secrets SET expires_at_ms = 1",
        "UPDATE secrets SET expires_at_ms = 1",
    );
    assert_eq!(create(&store), lost(Duty::Clients));
    store.execute(
        "UPDATE secrets SET expires_at_ms = NULL",
        "UPDATE secrets SET expires_at_ms = NULL",
    );
    assert_eq!(create(&store), Ok(()));
    store.run(|conn| client_status::revoke_until(conn, Some(&id("ops")), NOW));
    assert_eq!(create(&store), lost(Duty::Clients));
    store.run(|conn| clients::delete(conn, &id("ops"), NOW));
    assert_eq!(create(&store), lost(Duty::Clients));
    // Only what succeeded has an event.
    let created = store.run(|conn| audit::since(conn, 0, 100));
    let subjects: Vec<&str> = created.iter().map(|event| event.subject.as_str()).collect();
    assert_eq!(subjects, ["new-1", "new-3", "new-5", "new-7", "new-9"]);
}

fn a_global_not_before_ends_the_authority_of_every_earlier_token(store: Store) {
    let (store, by) = with_operator(store, Duty::Routes);
    store.run(|conn| client_status::revoke_until(conn, None, NOW));
    let removed = store.try_run(|conn| transactions::remove_route(conn, &by, "nobody", NOW).map(drop));
    assert_eq!(removed, lost(Duty::Routes));
}

fn no_one_grants_what_they_do_not_hold(store: Store) {
    let (store, _) = with_operator(store, Duty::Clients);
    store.run(|conn| set_scope(conn, "ops", "mintage:clients mintage:read"));
    store.run(|conn| clients::insert(conn, &with_scope("boss", "mintage:admin")));
    store.run(|conn| clients::insert(conn, &with_scope("reader", "mintage:read")));
    // What the token lacks does not help, even if the client has it.
    for (duties, reader) in [(Duties::held(&Duty::Clients.scope()), NOT_HELD), (Duties::ALL, Ok(()))] {
        let by = by("ops", duties, Duty::Clients);
        let name = |conn: &mut Conn, whose: &str| {
            let fields = ClientFields {
                name: Some("other".into()),
                ..ClientFields::default()
            };
            transactions::change_client(conn, &by, &id(whose), NOW, |client| fields.applied_to(client, NOW)).map(drop)
        };
        let secret = StoredSecret::new(&ClientSecret::generate(), NOW);
        let add =
            |conn: &mut Conn, whose: &str| transactions::add_secret(conn, &by, &id(whose), &secret, None).map(drop);
        assert_eq!(store.try_run(|conn| name(conn, "boss")), NOT_HELD);
        assert_eq!(store.try_run(|conn| add(conn, "boss")), NOT_HELD);
        let delete = |conn: &mut Conn| transactions::delete_client_if(conn, &by, &id("boss"), NOW, |_| true).map(drop);
        assert_eq!(store.try_run(delete), NOT_HELD);
        let create = with_scope("created", "a mintage:admin");
        assert_eq!(
            store.try_run(|conn| transactions::create_client(conn, &by, &create)),
            NOT_HELD
        );
        assert_eq!(store.try_run(|conn| name(conn, "reader")), reader);
        assert_eq!(store.try_run(|conn| add(conn, "reader")), reader);
    }
    let boss = store.run(|conn| clients::find(conn, &id("boss"))).unwrap();
    assert_eq!((boss.name.as_str(), boss.secrets.len()), ("the client boss", 0));
    assert!(store.run(|conn| clients::find(conn, &id("created"))).is_none());
}

fn keys_are_rotated_only_by_who_may_do_so_at_that_moment(store: Store) {
    let (store, by) = with_operator(store, Duty::Keys);
    let rotate = |by: &Principal| {
        let clock = Clock::mock(NOW);
        store.try_run(|conn| signing_keys::rotate(conn, &clock, by, Vec::new(), None, |_, _| Vec::new()).map(drop))
    };
    assert_eq!(rotate(&by), Ok(()));
    store.run(|conn| set_scope(conn, "ops", "mintage:clients"));
    assert_eq!(rotate(&by), lost(Duty::Keys));
    assert_eq!(rotate(&sample::operator()), Ok(()), "the command line needs no duty");
}

/// One transaction takes the right away and is not committed yet while the other begins.
fn a_change_waits_for_the_one_that_takes_its_right_away(store: Store) {
    const ROUNDS: usize = 30;
    let (store, by) = with_operator(store, Duty::Clients);
    for round in 0..ROUNDS {
        store.run(|conn| set_scope(conn, "ops", "mintage:admin"));
        let backdoor = with_scope(&format!("backdoor-{round}"), "mintage:admin");
        let together = Barrier::new(2);
        let (taken, granted) = std::thread::scope(|scope| {
            let taken = scope.spawn(|| {
                store.run(|conn| {
                    conn.write(|conn| {
                        set_scope(conn, "ops", "x")?;
                        together.wait();
                        mintage::db::changes::last(conn)
                    })
                })
            });
            // The right is taken away in a transaction that holds the lock. It may commit before or
            // after the other begins.
            together.wait();
            let granted = store.try_run(|conn| transactions::create_client(conn, &by, &backdoor));
            (taken.join().unwrap(), granted)
        });
        assert_eq!(granted, lost(Duty::Clients), "round {round}, change {taken}");
    }
    assert_eq!(store.number("SELECT count(*) AS value FROM clients"), 1);
}

/// A revocation locks the row first. What counts is still what the operator may do at the commit.
fn a_revocation_waits_for_the_one_that_takes_its_right_away(store: Store) {
    let (store, by) = with_operator(store, Duty::Tokens);
    let other = InvalidatedToken {
        jti: TokenId::new(NOW, [8; 10]),
        ..token()
    };
    let together = Barrier::new(2);
    let revoked = std::thread::scope(|scope| {
        scope.spawn(|| {
            store.run(|conn| {
                conn.write(|conn| {
                    set_scope(conn, "ops", "x")?;
                    together.wait();
                    // So that the other has come as far as it can without the lock.
                    std::thread::sleep(Duration::from_millis(300));
                    mintage::db::changes::last(conn)
                })
            });
        });
        together.wait();
        store.try_run(|conn| transactions::revoke_token(conn, &by, other, NOW))
    });
    assert_eq!(revoked, lost(Duty::Tokens));
    for table in ["revocations", "audit"] {
        assert_eq!(store.number(&format!("SELECT count(*) AS value FROM {table}")), 0);
    }
}

fn an_operator_can_revoke_its_own_token_once(store: Store) {
    let (store, by) = with_operator(store, Duty::Tokens);
    let revoke = || store.try_run(|conn| transactions::revoke_token(conn, &by, token(), NOW));
    assert_eq!(revoke(), Ok(()));
    assert_eq!(revoke(), lost(Duty::Tokens));
    assert_eq!(store.number("SELECT count(*) AS value FROM audit"), 1);
}

/// The client itself locks the row first, and then the change log.
fn two_who_revoke_the_same_token_do_not_deadlock(store: Store) {
    let (store, by) = with_operator(store, Duty::Tokens);
    for n in 0..100 {
        let other = InvalidatedToken {
            jti: TokenId::new(NOW, [n; 10]),
            ..token()
        };
        if other.jti == token().jti {
            continue;
        }
        let together = Barrier::new(2);
        std::thread::scope(|scope| {
            let by_operator = scope.spawn(|| {
                together.wait();
                store.try_run(|conn| transactions::revoke_token(conn, &by, other, NOW))
            });
            together.wait();
            // So that it comes at each step of the other.
            std::thread::sleep(Duration::from_micros(50 * u64::from(n)));
            assert_eq!(store.try_run(|conn| revocations::revoke(conn, other, NOW)), Ok(()));
            assert_eq!(by_operator.join().unwrap(), Ok(()));
        });
    }
}

fn two_who_create_the_same_client_do_not_deadlock(store: Store) {
    let (store, by) = with_operator(store, Duty::Clients);
    for n in 0..50 {
        let new = client(&format!("new-{n}"));
        let together = Barrier::new(2);
        let create = |by: &Principal| {
            together.wait();
            store.try_run(|conn| transactions::create_client(conn, by, &new))
        };
        let outcomes = std::thread::scope(|scope| {
            let by_token = scope.spawn(|| create(&by));
            let by_machine = create(&sample::operator());
            [by_token.join().unwrap(), by_machine]
        });
        let succeeded = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(succeeded, 1, "{outcomes:?}");
        assert!(outcomes.contains(&Err(DbError::Conflict)), "{outcomes:?}");
    }
}

/// An import writes its rows first, and then waits for the lock of the change log.
fn an_import_and_another_write_of_the_same_client_do_not_deadlock(store: Store) {
    let (store, by) = with_operator(store, Duty::Clients);
    type Write = fn(&mut Conn, &Principal, &Client) -> Result<(), DbError>;
    let writes: [(Write, &Principal, Result<(), DbError>); 3] = [
        (transactions::create_client, &by, Err(DbError::Conflict)),
        (transactions::create_client, &sample::operator(), Err(DbError::Conflict)),
        (transactions::replace_client, &sample::operator(), Ok(())),
    ];
    for (n, (write, by, expected)) in writes.into_iter().enumerate() {
        let new = client(&format!("new-{n}"));
        let together = Barrier::new(2);
        let (imported, written) = std::thread::scope(|scope| {
            let imported = scope.spawn(|| {
                store.try_run(|conn| {
                    let all = std::slice::from_ref(&new);
                    transactions::import_clients(conn, &sample::operator(), all, NOW, false, |_| {
                        together.wait();
                        // So that the other has come as far as it can.
                        std::thread::sleep(Duration::from_millis(300));
                    })
                })
            });
            together.wait();
            let written = store.try_run(|conn| write(conn, by, &new));
            (imported.join().unwrap(), written)
        });
        assert!(imported.as_ref().is_ok_and(|imported| imported.done), "{imported:?}");
        assert_eq!(written, expected, "{n}");
    }
}

fn one_who_creates_and_one_who_replaces_the_same_client_do_not_deadlock(store: Store) {
    let (store, by) = with_operator(store, Duty::Clients);
    for n in 0..50 {
        let new = client(&format!("new-{n}"));
        let together = Barrier::new(2);
        std::thread::scope(|scope| {
            let created = scope.spawn(|| {
                together.wait();
                store.try_run(|conn| transactions::create_client(conn, &by, &new))
            });
            together.wait();
            let replaced = store.try_run(|conn| transactions::replace_client(conn, &sample::operator(), &new));
            assert_eq!(replaced, Ok(()));
            let created = created.join().unwrap();
            assert!([Ok(()), Err(DbError::Conflict)].contains(&created), "{created:?}");
        });
    }
}
