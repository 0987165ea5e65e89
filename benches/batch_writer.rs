//! `cargo bench --bench batch_writer`: the cost of a token record for the worker that queues it,
//! and for the BatchWriter that writes it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Arbiter;
use criterion::{Criterion, criterion_group, criterion_main};
use mintage::actors::batch_writer::BatchWriterHandle;
use mintage::clock::Clock;
use mintage::config::{Database, Writer};
use mintage::db::tokens::{self, TokenRecord};
use mintage::db::{Db, migrations};
use mintage::oauth::claims::{AccessTokenClaims, Audience};
use mintage::oauth::origin::Origin;
use mintage::oauth::scope::Scope;
use mintage::oauth::token_id::TokenIdSource;
use mintage::records::flush::Sink;
use mintage::time::UnixMillis;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 1000;

fn claims(ids: &mut TokenIdSource, now: UnixMillis) -> AccessTokenClaims {
    AccessTokenClaims {
        iss: "http://127.0.0.1:8080".into(),
        sub: "AbCdEfGhIjKlMnOpQrSt".into(),
        aud: Audience::One("http://127.0.0.1:8080".into()),
        client_id: "AbCdEfGhIjKlMnOpQrSt".into(),
        scope: Scope::parse("orders:read orders:write").unwrap(),
        iat: now.seconds(),
        exp: now.seconds() + 3600,
        jti: ids.next(now),
        one_time: false,
        secret_id: None,
        form: Default::default(),
    }
}

/// Where each token is issued to.
fn origin() -> Origin {
    Origin {
        secret_id: "AbCdEfGhIjKlMnOp".into(),
        client_ip: Some(std::net::Ipv4Addr::LOCALHOST.into()),
    }
}

/// `Recorder::record` with a writer on its own thread that writes nowhere: the worker's part alone.
fn add(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let db = database(&folder);
    actix::System::new().block_on(async {
        let arbiter = Arbiter::new();
        let settings = Writer {
            max_pending: 100_000_000,
            ..Writer::default()
        };
        let nowhere = || -> Sink { Rc::new(|_, _| Box::pin(async { Ok(()) })) };
        let (writer, _death) = BatchWriterHandle::start(&arbiter.handle(), &settings, Clock::System, 1, nowhere);
        let recorder = writer.recorder(db);
        let claims = claims(&mut TokenIdSource::new(), UnixMillis(1));
        let origin = origin();
        criterion.bench_function("batch_writer/add", |bencher| {
            bencher.iter(|| {
                let recording = std::pin::pin!(recorder.record(&claims, origin.clone(), UnixMillis(1)));
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                // With asynchronous durability, recording never waits, so it is ready at the first
                // poll.
                assert!(recording.poll(&mut context).is_ready());
            });
        });
        writer.stop().await;
        arbiter.stop();
    });
}

/// `tokens::insert_batch` of 1,000 rows into a growing SQLite table, committed to disk. The time is
/// per batch.
fn flush(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let db = database(&folder);
    let mut ids = TokenIdSource::new();
    let origin = origin();
    let millis = Cell::new(1_700_000_000_000);
    criterion.bench_function("batch_writer/flush_1000", |bencher| {
        bencher.iter_custom(|batches| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..batches {
                millis.set(millis.get() + 250);
                let now = UnixMillis(millis.get());
                let records: Arc<Vec<TokenRecord>> = Arc::new(
                    (0..ROWS)
                        .map(|_| TokenRecord::new(&claims(&mut ids, now), origin.clone()))
                        .collect(),
                );
                db.run_here(|conn| {
                    let began = now_for_benchmark();
                    tokens::insert_batch(conn, &records)?;
                    elapsed += began.elapsed();
                    Ok(())
                })
                .unwrap();
            }
            elapsed
        });
    });
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now_for_benchmark() -> Instant {
    Instant::now()
}

fn database(folder: &tempfile::TempDir) -> Db {
    let db = Db::open(&Database {
        url: format!("sqlite:{}", folder.path().join("bench.db").display()),
        ..Database::default()
    });
    db.run_here(migrations::up).unwrap();
    db
}

criterion_group!(benches, add, flush);
criterion_main!(benches);
