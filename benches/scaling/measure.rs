//! The costs that the model needs and that no other benchmark gives, measured on a true PostgreSQL and on SQLite.
//!
//! CPU is that of PostgreSQL's own process for the connection (its backend), from the kernel's accounting, so it does not
//! matter how this program was built. The disk is waited for (`fsync` on). The calls are the server's own functions.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Double, Integer};
use mintage::clock::Clock;
use mintage::config;
use mintage::db::changes;
use mintage::db::tokens::{self, TokenRecord};
use mintage::db::{Conn, Db, DbError, client_status, clients, migrations, partitions, revocations, secrets};
use mintage::oauth::activity::InvalidatedToken;
use mintage::oauth::client::ClientId;
use mintage::oauth::token_id::{TokenId, TokenIdSource};
use mintage::time::UnixMillis;

use crate::report::table::{Table, figure, whole};
use crate::{fill, postgres, redis};

/// Clients in the table while it is measured.
const CLIENTS: u64 = 200_000;

/// Token records whose bytes are counted.
const ROWS: usize = 200_000;

/// Measures all of it and prints it; the model has what came out as constants (`model/inputs.rs`).
pub fn run() {
    postgres::SETTINGS.get_or_init(|| "-c shared_buffers=256MB");
    let mut settings = postgres::empty();
    // One connection: what its process has used is what the calls cost.
    (settings.pool.max_size, settings.pool.min_idle) = (1, 1);
    let db = Db::open(&settings);
    db.run_here(migrations::up).expect("a new database");
    db.run_here(|conn| partitions::create_ahead(conn, Clock::System.now().seconds()))
        .expect("partitions");
    fill::clients(&settings.url, CLIENTS);
    calls(&db);
    flushes(&db);
    serialised(&settings);
    connections(&settings, &db);
    bytes_of_rows(&db);
    bytes_on_sqlite();
    redis::run();
}

/// What a call costs: CPU of PostgreSQL and time in µs, and bytes of its write-ahead log.
struct Cost {
    cpu: f64,
    time: f64,
    wal: f64,
}

/// Medians of this many rounds are what is printed: the disk of a shared machine has bad moments.
const ROUNDS: usize = 7;

/// Runs `call` so often in each round; the first round warms up.
fn cost(db: &Db, times: usize, mut call: impl FnMut(&mut Conn, usize) -> Result<(), DbError>) -> Cost {
    let mut number = 0;
    let rounds = db.run_here(|conn| {
        let backend = backend_pid(conn)?;
        let mut rounds = Vec::new();
        for _ in 0..=ROUNDS {
            let (cpu, wal, began) = (cpu_nanos(backend), wal_bytes(conn)?, Instant::now());
            for _ in 0..times {
                call(conn, number)?;
                number += 1;
            }
            let time = began.elapsed().as_secs_f64();
            rounds.push(Cost {
                cpu: (cpu_nanos(backend) - cpu) as f64 / 1e3 / times as f64,
                time: time * 1e6 / times as f64,
                wal: (wal_bytes(conn)? - wal) / times as f64,
            });
        }
        Ok(rounds)
    });
    let rounds = &rounds.expect("the calls succeed")[1..];
    let of = |part: fn(&Cost) -> f64| median(rounds.iter().map(part).collect());
    Cost {
        cpu: of(|cost| cost.cpu),
        time: of(|cost| cost.time),
        wal: of(|cost| cost.wal),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn calls(db: &Db) {
    let mut table = Table::new(&["a call", "PostgreSQL's CPU, µs", "time, µs", "WAL, bytes"]);
    let id = |number: usize| {
        // In no order, as they would come.
        let number = (number as u64).wrapping_mul(2_654_435_761) % CLIENTS;
        ClientId::parse(&fill::credentials(number).0).expect("an id")
    };
    let mut row = |name: &str, cost: Cost| {
        table.row(vec![
            name.to_owned(),
            figure(cost.cpu),
            figure(cost.time),
            whole(cost.wal),
        ]);
    };
    row(
        "nothing (SELECT 1)",
        cost(db, 2000, |conn, _| statement(conn, "SELECT 1")),
    );
    let last = db.run_here(changes::last).expect("it is asked");
    row(
        "a poll of the change log, nothing new",
        cost(db, 2000, |conn, _| changes::from(conn, last + 1, 1000).map(drop)),
    );
    row(
        "how one client stands",
        cost(db, 2000, |conn, number| {
            client_status::of_clients(conn, &[id(number)]).map(drop)
        }),
    );
    row(
        "how 25 clients stand",
        cost(db, 200, |conn, number| {
            let ids: Vec<ClientId> = (0..25).map(|place| id(number * 25 + place)).collect();
            client_status::of_clients(conn, &ids).map(drop)
        }),
    );
    row(
        "a client loaded",
        cost(db, 2000, |conn, number| clients::find(conn, &id(number)).map(drop)),
    );
    let used = |count: usize| {
        cost(db, 40, |conn, number| {
            let now = Clock::System.now();
            let uses: Vec<(String, UnixMillis)> = (0..count)
                .map(|place| (format!("secret_of_{}", id(number * count + place)), now))
                .collect();
            secrets::used(conn, &uses)
        })
    };
    row("last uses of 1 secret written", used(1));
    row("last uses of 100 secrets written", used(100));
    let mut ids = TokenIdSource::new();
    row(
        "a token revoked",
        cost(db, 300, |conn, _| {
            let now = Clock::System.now();
            revocations::revoke(conn, spent(&mut ids, now), now)
        }),
    );
    let last = db.run_here(changes::last).expect("it is asked");
    row(
        "a poll of the change log that reads 100 lines",
        cost(db, 500, |conn, _| changes::from(conn, last - 99, 1000).map(drop)),
    );
    println!("\n{table}");
}

fn flushes(db: &Db) {
    let mut table = Table::new(&[
        "rows a flush",
        "PostgreSQL's CPU, µs a flush",
        "time, µs a flush",
        "WAL, bytes a row",
    ]);
    for rows in [1, 10, 40, 100, 400, 1000] {
        let mut ids = TokenIdSource::new();
        let times = (4000 / rows).clamp(20, 300);
        let cost = cost(db, times, |conn, _| {
            let now = Clock::System.now();
            let records: Vec<TokenRecord> = (0..rows).map(|_| record(&mut ids, now)).collect();
            tokens::insert_batch(conn, &records)
        });
        table.row(vec![
            whole(rows as f64),
            figure(cost.cpu),
            figure(cost.time),
            whole(cost.wal / rows as f64),
        ]);
    }
    println!("\n{table}");
}

/// Revocations wait for each other, over all instances: the lock of the change log is held until the commit.
fn serialised(settings: &config::Database) {
    const TIME: Duration = Duration::from_secs(2);
    let mut table = Table::new(&["connections", "revocations a second", "flushes of 40 rows a second"]);
    for connections in [1, 4, 16] {
        let mut settings = settings.clone();
        (settings.pool.max_size, settings.pool.min_idle) = (connections, connections);
        let db = Db::open(&settings);
        let revoke = |conn: &mut Conn, ids: &mut TokenIdSource| {
            let now = Clock::System.now();
            revocations::revoke(conn, spent(ids, now), now)
        };
        let flush = |conn: &mut Conn, ids: &mut TokenIdSource| {
            let now = Clock::System.now();
            let records: Vec<TokenRecord> = (0..40).map(|_| record(ids, now)).collect();
            tokens::insert_batch(conn, &records)
        };
        // In turns, so that a bad moment of the disk does not fall on one of them.
        let (mut revoked, mut flushed) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            revoked.push(rate(&db, connections, TIME, revoke));
            flushed.push(rate(&db, connections, TIME, flush));
        }
        let (revoked, flushed) = (median(revoked), median(flushed));
        table.row(vec![connections.to_string(), whole(revoked), whole(flushed)]);
    }
    println!("\n{table}");
}

/// How often a second `call` is done, by so many threads at a time.
fn rate(
    db: &Db,
    threads: u32,
    time: Duration,
    call: impl Fn(&mut Conn, &mut TokenIdSource) -> Result<(), DbError> + Sync,
) -> f64 {
    let barrier = Barrier::new(threads as usize);
    let done: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut ids = TokenIdSource::new();
                    db.run_here(|conn| {
                        barrier.wait();
                        let (began, mut done) = (Instant::now(), 0);
                        while began.elapsed() < time {
                            call(conn, &mut ids)?;
                            done += 1;
                        }
                        Ok(done)
                    })
                    .expect("the calls succeed")
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it ends")).sum()
    });
    done as f64 / time.as_secs_f64()
}

fn connections(settings: &config::Database, busy: &Db) {
    const TIMES: usize = 50;
    let (mut cpu, began) = (0, Instant::now());
    let mut open = Vec::new();
    for _ in 0..TIMES {
        let mut conn = PgConnection::establish(&settings.url).expect("it connects");
        cpu += cpu_nanos(pid_of(&mut conn).expect("it is asked"));
        open.push(conn);
    }
    let took = began.elapsed().as_secs_f64() * 1e6 / TIMES as f64;
    let idle = open
        .iter_mut()
        .map(|conn| own_kilobytes(pid_of(conn).expect("it is asked")));
    let idle = idle.sum::<f64>() / TIMES as f64;
    let used = busy.run_here(backend_pid).map(own_kilobytes).expect("it is asked");
    println!(
        "\na connection is made in {} µs, of which PostgreSQL's process for it takes {} µs of CPU (the making of the process is not in \
         this); memory of its own: {} kB at first, {} kB after the calls above",
        whole(took),
        whole(cpu as f64 / 1e3 / TIMES as f64),
        whole(idle),
        whole(used)
    );
}

/// The bytes of token records on PostgreSQL: from one instance in order, and from a hundred in turns.
fn bytes_of_rows(db: &Db) {
    let mut table = Table::new(&[
        "200,000 rows",
        "table, bytes a row",
        "key, bytes a row",
        "WAL, bytes a row",
    ]);
    for instances in [1, 100] {
        let (table_before, key_before) = db.run_here(token_bytes).expect("it is asked");
        let wal_before = db.run_here(wal_bytes).expect("it is asked");
        for batch in batches(instances) {
            db.run_here(|conn| tokens::insert_batch(conn, &batch))
                .expect("it is written");
        }
        let (table_after, key_after) = db.run_here(token_bytes).expect("it is asked");
        let wal = db.run_here(wal_bytes).expect("it is asked") - wal_before;
        table.row(vec![
            format!("from {instances} instances"),
            figure((table_after - table_before) / ROWS as f64),
            figure((key_after - key_before) / ROWS as f64),
            figure(wal / ROWS as f64),
        ]);
        db.run_here(|conn| statement(conn, "TRUNCATE tokens"))
            .expect("it is emptied");
    }
    println!("\n{table}");
    let revoked = db.run_here(|conn| number(conn, "SELECT count(*)::float8 AS value FROM revocations"));
    let bytes = db.run_here(|conn| number(conn, "SELECT pg_total_relation_size('revocations')::float8 AS value"));
    let log = db.run_here(|conn| {
        number(
            conn,
            "SELECT pg_total_relation_size('changes')::float8 / greatest((SELECT count(*) FROM changes), 1) AS value",
        )
    });
    println!(
        "a revocation takes {} bytes with its indexes, a line of the change log {}",
        figure(bytes.expect("it is asked") / revoked.expect("it is asked")),
        figure(log.expect("it is asked"))
    );
}

fn bytes_on_sqlite() {
    for instances in [1, 100] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let db = Db::open(&config::Database {
            url: format!("sqlite:{}", folder.path().join("mintage.db").display()),
            ..Default::default()
        });
        db.run_here(migrations::up).expect("a new database");
        let pages = |conn: &mut Conn| {
            number(
                conn,
                "SELECT CAST(page_count * page_size AS REAL) AS value FROM pragma_page_count, pragma_page_size",
            )
        };
        let before = db.run_here(pages).expect("it is asked");
        for batch in batches(instances) {
            db.run_here(|conn| tokens::insert_batch(conn, &batch))
                .expect("it is written");
        }
        let after = db.run_here(pages).expect("it is asked");
        println!(
            "SQLite, rows from {instances}: {} bytes a row",
            figure((after - before) / ROWS as f64)
        );
    }
}

/// Batches as they would come from so many instances that issue 16,000 tokens a second together: each writes every 250 ms
/// what it issued since, and none in step with another.
fn batches(instances: usize) -> impl Iterator<Item = Vec<TokenRecord>> {
    const RATE: usize = 16_000;
    const BATCH_MILLIS: usize = 250;
    let rows = RATE * BATCH_MILLIS / 1000 / instances;
    let begin = Clock::System.now();
    let mut ids = TokenIdSource::new();
    (0..ROWS / rows).map(move |number| {
        let end = number * BATCH_MILLIS / instances;
        (0..rows)
            .map(|row| record(&mut ids, UnixMillis(begin.0 + (end + row * BATCH_MILLIS / rows) as i64)))
            .collect()
    })
}

/// A record as a usual client has it: 20 characters of id, 23 of scope, 22 of audience.
fn record(ids: &mut TokenIdSource, now: UnixMillis) -> TokenRecord {
    let jti: TokenId = ids.next(now);
    TokenRecord {
        jti,
        client_id: format!("AbCdEfGhIjKlMnOp{:04}", jti.low_byte()).into(),
        scope: "orders:read orders:write".into(),
        audience: "https://orders.example".into(),
        issued_at: now.seconds(),
        expires_at: now.seconds() + 3600,
        one_time: false,
    }
}

fn spent(ids: &mut TokenIdSource, now: UnixMillis) -> InvalidatedToken {
    InvalidatedToken {
        jti: ids.next(now),
        expires_at: now.seconds() + 3600,
    }
}

/// Bytes of all partitions of `tokens`: of the tables, and of their keys.
fn token_bytes(conn: &mut Conn) -> Result<(f64, f64), DbError> {
    let sum = |what: &str| {
        format!("SELECT sum({what}(inhrelid))::float8 AS value FROM pg_inherits WHERE inhparent = 'tokens'::regclass")
    };
    Ok((
        number(conn, &sum("pg_relation_size"))?,
        number(conn, &sum("pg_indexes_size"))?,
    ))
}

fn wal_bytes(conn: &mut Conn) -> Result<f64, DbError> {
    number(
        conn,
        "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 AS value",
    )
}

fn number(conn: &mut Conn, query: &str) -> Result<f64, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Double)]
        value: f64,
    }
    Ok(diesel::sql_query(query).get_result::<Row>(conn)?.value)
}

fn statement(conn: &mut Conn, statement: &str) -> Result<(), DbError> {
    match conn {
        Conn::Sqlite(conn) => conn.batch_execute(statement)?,
        Conn::Postgres(conn) => conn.batch_execute(statement)?,
    }
    Ok(())
}

fn backend_pid(conn: &mut Conn) -> Result<i32, DbError> {
    match conn {
        Conn::Postgres(conn) => Ok(pid_of(conn)?),
        Conn::Sqlite(_) => Ok(0),
    }
}

fn pid_of(conn: &mut PgConnection) -> QueryResult<i32> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        pid: i32,
    }
    Ok(diesel::sql_query("SELECT pg_backend_pid() AS pid")
        .get_result::<Row>(conn)?
        .pid)
}

/// CPU time that a process of one thread has used, in nanoseconds.
pub fn cpu_nanos(process: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/schedstat")).expect("it runs");
    let first = text.split_whitespace().next().and_then(|first| first.parse().ok());
    first.expect("a number")
}

/// Memory that a process shares with no other, without what it maps of the memory that all backends share.
fn own_kilobytes(process: i32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps")).expect("it runs, and may be looked at");
    let (mut is_shared, mut kilobytes) = (false, 0.0);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("Private_Clean:" | "Private_Dirty:"), Some(size)) if !is_shared => {
                kilobytes += size.parse::<f64>().unwrap_or(0.0);
            }
            // The head of a mapping: its addresses, then what it allows.
            (Some(addresses), Some(allows)) if addresses.contains('-') => is_shared = allows.ends_with('s'),
            _ => {}
        }
    }
    kilobytes
}
