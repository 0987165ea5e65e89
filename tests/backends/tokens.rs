//! Token records.

use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::{QueryableByName, RunQueryDsl};
use mintage::db::DbError;
use mintage::db::tokens::{self, TokenRecord, Wanted};
use mintage::oauth::claims::Audience;
use testkit::sample::{NOW, claims, id, origin};

use crate::{Store, on_both_backends};

on_both_backends! {
    a_record_is_written_with_every_column
    an_empty_batch_writes_nothing
    a_batch_may_be_larger_than_one_statement
    an_existing_record_is_not_changed
    a_batch_may_contain_a_record_twice
    a_batch_with_a_rejected_record_writes_nothing
    texts_are_read_as_they_were_written
    a_connection_is_usable_after_a_repeated_batch
    concurrent_batches_do_not_interfere
    the_records_of_a_client_are_listed_newest_first_within_a_bound
    a_walk_reads_back_every_column
    the_origin_of_a_record_may_be_unknown_in_part
    the_records_of_one_secret_are_listed_alone
    a_row_of_the_previous_version_has_no_origin
}

/// A row as stored in the database.
#[derive(QueryableByName, Debug, PartialEq)]
struct Row {
    #[diesel(sql_type = Text)]
    jti: String,
    #[diesel(sql_type = Text)]
    client_id: String,
    #[diesel(sql_type = Text)]
    scope: String,
    #[diesel(sql_type = Text)]
    audience: String,
    #[diesel(sql_type = BigInt)]
    issued_at: i64,
    #[diesel(sql_type = BigInt)]
    expires_at: i64,
    #[diesel(sql_type = Bool)]
    one_time: bool,
    #[diesel(sql_type = Nullable<Text>)]
    secret_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    client_ip: Option<String>,
}

fn rows(store: &Store) -> Vec<Row> {
    store.run(|conn| Ok(diesel::sql_query("SELECT * FROM tokens ORDER BY jti").load(conn)?))
}

fn records(numbers: std::ops::Range<u32>) -> Vec<TokenRecord> {
    numbers.map(|n| TokenRecord::from(&claims("demo", n))).collect()
}

fn insert(store: &Store, records: &[TokenRecord]) {
    store.run(|conn| tokens::insert_batch(conn, records));
}

fn wanted(secret_id: Option<&str>) -> Wanted {
    Wanted {
        client_id: id("demo"),
        secret_id: secret_id.map(str::to_owned),
    }
}

fn count(store: &Store) -> i64 {
    store.run(tokens::count)
}

fn the_records_of_a_client_are_listed_newest_first_within_a_bound(store: Store) {
    let store = store.migrated();
    // Every third record is the client's: 0, 3, 6, …
    let client_of = |n: u32| if n.is_multiple_of(3) { "demo" } else { "other" };
    let all: Vec<TokenRecord> = (0..20).map(|n| TokenRecord::from(&claims(client_of(n), n))).collect();
    insert(&store, &all);
    let walk = |before, limit, walk| {
        let walked = store.run(|conn| tokens::of_client(conn, &wanted(None), before, limit, walk));
        let numbers: Vec<usize> = walked
            .records
            .iter()
            .map(|record| all.iter().position(|known| known == record).unwrap())
            .collect();
        (numbers, walked.next)
    };
    assert_eq!(walk(None, 100, 100), (vec![18, 15, 12, 9, 6, 3, 0], None));
    assert_eq!(walk(None, 2, 100), (vec![18, 15], Some(all[15].jti)));
    assert_eq!(walk(Some(all[15].jti), 5, 100), (vec![12, 9, 6, 3, 0], None));
    assert_eq!(walk(Some(all[15].jti), 4, 100), (vec![12, 9, 6, 3], Some(all[3].jti)));
    // Two records at a time, whether or not one of them is the client's.
    let (mut found, mut before, mut steps) = (Vec::new(), None, 0);
    while steps < 20 {
        let (numbers, next) = walk(before, 100, 2);
        found.extend(numbers);
        steps += 1;
        if next.is_none() {
            break;
        }
        before = next;
    }
    assert_eq!((found, steps), (vec![18, 15, 12, 9, 6, 3, 0], 11));
}

fn a_walk_reads_back_every_column(store: Store) {
    let store = store.migrated();
    let mut claims = claims("demo", 7);
    claims.aud = Audience::Many(vec!["https://a.example".into(), "urn:b".into()]);
    claims.one_time = true;
    let record = TokenRecord::new(&claims, origin());
    insert(&store, std::slice::from_ref(&record));
    let walked = store.run(|conn| tokens::of_client(conn, &wanted(None), None, 10, 10));
    assert_eq!(walked.records, [record]);
}

fn a_record_is_written_with_every_column(store: Store) {
    let store = store.migrated();
    let mut claims = claims("demo", 7);
    claims.aud = Audience::Many(vec!["https://a.example".into(), "urn:b".into()]);
    claims.one_time = true;
    insert(&store, &[TokenRecord::new(&claims, origin())]);
    let expected = Row {
        jti: claims.jti.to_string(),
        client_id: "demo".into(),
        scope: "orders:read".into(),
        audience: "https://a.example urn:b".into(),
        issued_at: NOW.seconds(),
        expires_at: NOW.seconds() + 3600,
        one_time: true,
        secret_id: Some("first".into()),
        client_ip: Some("192.0.2.7".into()),
    };
    assert_eq!(rows(&store), [expected]);
}

/// In batches of one, of a whole statement, and written again.
fn the_origin_of_a_record_may_be_unknown_in_part(store: Store) {
    let store = store.migrated();
    let addresses = [
        Some([192, 0, 2, 255].into()),
        None,
        Some("2001:db8::1:0".parse().unwrap()),
    ];
    let mut all: Vec<TokenRecord> = (0..130)
        .map(|n| TokenRecord {
            secret_id: (n % 2 == 0).then(|| format!("secret{n}").into()),
            client_ip: addresses[n as usize % 3],
            ..TokenRecord::from(&claims("demo", n))
        })
        .collect();
    insert(&store, &all[..50]);
    insert(&store, &all);
    all.reverse();
    let walked = store.run(|conn| tokens::of_client(conn, &wanted(None), None, 200, 200));
    assert_eq!(walked.records, all);
    let texts: Vec<_> = rows(&store).into_iter().map(|row| row.client_ip).take(3).collect();
    assert_eq!(texts, [Some("192.0.2.255".into()), None, Some("2001:db8::1:0".into())]);
}

fn the_records_of_one_secret_are_listed_alone(store: Store) {
    let store = store.migrated();
    let of = |secret: &str, n| TokenRecord {
        secret_id: Some(secret.into()),
        ..TokenRecord::from(&claims("demo", n))
    };
    let all = [
        of("first", 1),
        of("second", 2),
        of("first", 3),
        TokenRecord::from(&claims("demo", 4)),
    ];
    insert(&store, &all);
    let walk = |secret: &str| store.run(|conn| tokens::of_client(conn, &wanted(Some(secret)), None, 10, 10));
    assert_eq!(walk("first").records, [all[2].clone(), all[0].clone()]);
    assert_eq!(walk("third").records, []);
}

/// Version 0.1 names its seven columns, also while both versions run.
fn a_row_of_the_previous_version_has_no_origin(store: Store) {
    let store = store.migrated();
    let jti = claims("demo", 1).jti;
    store.run(|conn| {
        let columns = "jti, client_id, scope, audience, issued_at, expires_at, one_time";
        let values = format!("'{jti}', 'demo', 'a', 'urn:a', 1, 2, FALSE");
        Ok(diesel::sql_query(format!("INSERT INTO tokens ({columns}) VALUES ({values})")).execute(conn)?)
    });
    let walked = store.run(|conn| tokens::of_client(conn, &wanted(None), None, 10, 10));
    let record = &walked.records[0];
    assert_eq!((record.jti, &record.secret_id, record.client_ip), (jti, &None, None));
}

fn an_empty_batch_writes_nothing(store: Store) {
    let store = store.migrated();
    insert(&store, &[]);
    assert_eq!(count(&store), 0);
}

fn a_batch_may_be_larger_than_one_statement(store: Store) {
    let store = store.migrated();
    insert(&store, &records(0..2501));
    assert_eq!(count(&store), 2501);
    let written: Vec<String> = rows(&store).into_iter().map(|row| row.jti).collect();
    let expected: Vec<String> = records(0..2501).iter().map(|record| record.jti.to_string()).collect();
    assert_eq!(written, expected);
}

fn an_existing_record_is_not_changed(store: Store) {
    let store = store.migrated();
    insert(&store, &records(0..3));
    let mut again = records(0..5);
    again[0].client_id = "other".into();
    insert(&store, &again);
    assert_eq!(count(&store), 5);
    assert_eq!(rows(&store)[0].client_id, "demo");
}

fn a_batch_may_contain_a_record_twice(store: Store) {
    let store = store.migrated();
    let twice = [records(0..3), records(0..3)].concat();
    insert(&store, &twice);
    assert_eq!(count(&store), 3);
}

fn a_batch_with_a_rejected_record_writes_nothing(store: Store) {
    let store = store.migrated();
    store.execute(
        "CREATE TRIGGER poison BEFORE INSERT ON tokens WHEN new.client_id = 'poison'
         BEGIN SELECT raise(ABORT, 'poison'); END",
        "ALTER TABLE tokens ADD CONSTRAINT poison CHECK (client_id <> 'poison')",
    );
    let mut batch = records(0..2000);
    batch[1999].client_id = "poison".into();
    let outcome = store.try_run(|conn| tokens::insert_batch(conn, &batch));
    assert!(matches!(outcome, Err(DbError::Query(_))), "{outcome:?}");
    assert_eq!(count(&store), 0);
    insert(&store, &batch[..1999]);
    assert_eq!(count(&store), 1999);
}

fn texts_are_read_as_they_were_written(store: Store) {
    let store = store.migrated();
    let mut written = records(0..2);
    for (record, scope) in written.iter_mut().zip(["", "Orders:READ ~!#"]) {
        record.client_id = "a\tb\\N".into();
        record.scope = scope.into();
        record.audience = "urn:ü,\"{}\" '\n\\.".into();
    }
    insert(&store, &written);
    for (row, record) in rows(&store).iter().zip(&written) {
        assert_eq!(row.client_id, *record.client_id);
        assert_eq!(row.scope, *record.scope);
        assert_eq!(row.audience, *record.audience);
    }
}

/// As in a retry after a commit whose response was lost.
fn a_connection_is_usable_after_a_repeated_batch(store: Store) {
    let store = store.migrated();
    store.run(|conn| {
        for _ in 0..3 {
            tokens::insert_batch(conn, &records(0..1500))?;
        }
        tokens::insert_batch(conn, &records(1400..1600))?;
        tokens::insert_batch(conn, &records(1600..1601))
    });
    assert_eq!(count(&store), 1601);
}

fn concurrent_batches_do_not_interfere(store: Store) {
    let store = store.migrated();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for batch in 0..10 {
                    // Half of each batch is also in the next one, and the workers share the last of
                    // their records.
                    let first = worker * 1000 + batch * 50;
                    insert(store, &[records(first..first + 100), records(9000..9010)].concat());
                }
            });
        }
    });
    assert_eq!(count(&store), 4 * 550 + 10);
}
