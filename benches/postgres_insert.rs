//! `cargo bench --bench postgres_insert`: ways to write a batch of token records to PostgreSQL. The
//! evidence for ADR 10 and 11.
//!
//! The figure to compare is this process's CPU per row, because in production it is the server's;
//! the elapsed time with the database is printed as well. The first way is the one in use
//! (`tokens::insert_batch`); the others are implemented here.

use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Text};
use loadtest::server::thread_cpu_nanos;
use mintage::db::tokens::{self as records, TokenRecord};
use mintage::db::{Conn, Db, DbError, migrations};
use mintage::oauth::token_id::TokenIdSource;
use mintage::time::UnixMillis;
use testkit::postgres;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

diesel::table! {
    tokens (jti) {
        jti -> Text,
        client_id -> Text,
        scope -> Text,
        audience -> Text,
        issued_at -> BigInt,
        expires_at -> BigInt,
        one_time -> Bool,
    }
}

type Way = (&'static str, fn(&mut Conn, &[TokenRecord]) -> Result<(), DbError>);

const WAYS: [Way; 4] = [
    ("in use", records::insert_batch),
    ("diesel's insert of several rows", several_rows),
    ("unnest of seven arrays, prepared once", unnest),
    ("COPY to a temporary table, then insert from it", copy_twice),
];

/// Rows per batch, and batches per round.
const SIZES: [(usize, usize); 4] = [(1, 400), (10, 200), (100, 100), (1000, 60)];

const ROUNDS: usize = 5;

fn main() {
    let mut settings = postgres::empty();
    // A temporary table belongs to one connection.
    (settings.pool.max_size, settings.pool.min_idle) = (1, 1);
    let db = Db::open(&settings);
    db.run_here(migrations::up).expect("a new database");
    db.run_here(|conn| write(conn, |conn| conn.batch_execute(TEMPORARY)))
        .expect("a temporary table");
    println!("| rows per batch | way | client CPU, µs per row | time, µs per row |\n| --- | --- | --- | --- |");
    for (rows, batches) in SIZES {
        let mut figures = vec![Vec::new(); WAYS.len()];
        // The ways take turns, so that other load on the machine affects all of them.
        for _ in 0..ROUNDS {
            for (way, figures) in WAYS.iter().zip(&mut figures) {
                figures.push(
                    db.run_here(|conn| measure(conn, way.1, rows, batches))
                        .expect("the batch is written"),
                );
            }
        }
        for ((name, _), figures) in WAYS.iter().zip(&mut figures) {
            let mut median = |part: fn(&(f64, f64)) -> f64| {
                figures.sort_by(|a, b| part(a).total_cmp(&part(b)));
                part(&figures[ROUNDS / 2])
            };
            println!("| {rows} | {name} | {:.2} | {:.2} |", median(|f| f.0), median(|f| f.1));
        }
    }
}

/// CPU of this thread and elapsed time per row, in microseconds.
fn measure(
    conn: &mut Conn,
    way: fn(&mut Conn, &[TokenRecord]) -> Result<(), DbError>,
    rows: usize,
    batches: usize,
) -> Result<(f64, f64), DbError> {
    let mut ids = TokenIdSource::new();
    let (mut cpu, mut time) = (0, 0);
    for batch in 0..batches {
        let records: Vec<TokenRecord> = (0..rows).map(|_| record(&mut ids)).collect();
        let (cpu_before, began) = (thread_cpu_nanos(), now());
        way(conn, &records)?;
        // The first batches open connections and fill caches and plans.
        if batch >= batches / 5 {
            cpu += thread_cpu_nanos() - cpu_before;
            time += began.elapsed().as_nanos() as u64;
        }
    }
    let per_row = |nanos: u64| nanos as f64 / 1000.0 / ((batches - batches / 5) * rows) as f64;
    Ok((per_row(cpu), per_row(time)))
}

fn record(ids: &mut TokenIdSource) -> TokenRecord {
    let now = now_millis();
    TokenRecord {
        jti: ids.next(now),
        client_id: "AbCdEfGhIjKlMnOpQrSt".into(),
        scope: "orders:read orders:write".into(),
        audience: "http://127.0.0.1:8080".into(),
        issued_at: now.seconds(),
        expires_at: now.seconds() + 3600,
        one_time: false,
        // The ways that are implemented here insert rows without an origin.
        secret_id: None,
        client_ip: None,
    }
}

fn several_rows(conn: &mut Conn, records: &[TokenRecord]) -> Result<(), DbError> {
    let rows: Vec<_> = records
        .iter()
        .map(|record| {
            (
                tokens::jti.eq(record.jti.to_string()),
                tokens::client_id.eq(&*record.client_id),
                tokens::scope.eq(&*record.scope),
                tokens::audience.eq(&*record.audience),
                tokens::issued_at.eq(record.issued_at),
                tokens::expires_at.eq(record.expires_at),
                tokens::one_time.eq(record.one_time),
            )
        })
        .collect();
    write(conn, |conn| {
        diesel::insert_into(tokens::table)
            .values(&rows)
            .on_conflict_do_nothing()
            .execute(conn)?;
        Ok(())
    })
}

/// The columns of a batch.
struct Columns<'a> {
    jti: Vec<String>,
    client_id: Vec<&'a str>,
    scope: Vec<&'a str>,
    audience: Vec<&'a str>,
    issued_at: Vec<i64>,
    expires_at: Vec<i64>,
    one_time: Vec<bool>,
}

impl QueryId for Columns<'_> {
    type QueryId = Columns<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<diesel::pg::Pg> for Columns<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, diesel::pg::Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO tokens (jti, client_id, scope, audience, issued_at, expires_at, one_time)");
        out.push_sql(" SELECT * FROM unnest(");
        out.push_bind_param::<Array<Text>, _>(&self.jti)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.client_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.scope)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.audience)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.issued_at)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.expires_at)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Bool>, _>(&self.one_time)?;
        out.push_sql(") ON CONFLICT DO NOTHING");
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for Columns<'_> {}

fn unnest(conn: &mut Conn, records: &[TokenRecord]) -> Result<(), DbError> {
    let columns = Columns {
        jti: records.iter().map(|record| record.jti.to_string()).collect(),
        client_id: records.iter().map(|record| &*record.client_id).collect(),
        scope: records.iter().map(|record| &*record.scope).collect(),
        audience: records.iter().map(|record| &*record.audience).collect(),
        issued_at: records.iter().map(|record| record.issued_at).collect(),
        expires_at: records.iter().map(|record| record.expires_at).collect(),
        one_time: records.iter().map(|record| record.one_time).collect(),
    };
    let Conn::Postgres(conn) = conn else { unreachable!() };
    // A single statement is a transaction.
    columns.execute(conn)?;
    Ok(())
}

const TEMPORARY: &str = "CREATE TEMPORARY TABLE batch (LIKE tokens) ON COMMIT DELETE ROWS";

mod temporary {
    diesel::table! {
        batch (jti) {
            jti -> Text,
            client_id -> Text,
            scope -> Text,
            audience -> Text,
            issued_at -> BigInt,
            expires_at -> BigInt,
            one_time -> Bool,
        }
    }
}

fn copy_twice(conn: &mut Conn, records: &[TokenRecord]) -> Result<(), DbError> {
    use temporary::batch;
    let rows: Vec<_> = records
        .iter()
        .map(|record| {
            (
                batch::jti.eq(record.jti.to_string()),
                batch::client_id.eq(&*record.client_id),
                batch::scope.eq(&*record.scope),
                batch::audience.eq(&*record.audience),
                batch::issued_at.eq(record.issued_at),
                batch::expires_at.eq(record.expires_at),
                batch::one_time.eq(record.one_time),
            )
        })
        .collect();
    write(conn, |conn| {
        diesel::copy_from(batch::table).from_insertable(rows).execute(conn)?;
        conn.batch_execute("INSERT INTO tokens SELECT * FROM batch ON CONFLICT DO NOTHING")
    })
}

fn write(conn: &mut Conn, work: impl FnOnce(&mut PgConnection) -> QueryResult<()>) -> Result<(), DbError> {
    conn.write(|conn| {
        let Conn::Postgres(conn) = conn else { unreachable!() };
        Ok(work(conn)?)
    })
}

fn now_millis() -> UnixMillis {
    mintage::clock::Clock::System.now()
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
