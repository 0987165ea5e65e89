//! `cargo bench --bench client_cache`: the client cache of one worker, and the cost of metrics per
//! request.
//!
//! `hit` and `miss` are the cache's work inside the handler: one map access, the check of the age,
//! the counters. `lookup` is a complete message on the same thread. `concurrent` is `hit` on two
//! threads at once, each with its own cache. It must not be slower than `hit`, because nothing is
//! shared. `memory_1000` prints bytes.
//!
//! `metrics/request` is the cost of counting a token request: two clock reads, its route, its
//! token. `metrics/cells` is the same without the clock. `metrics/concurrent` is `metrics/cells`
//! while another worker counts as fast as it can. It must not be slower, because nothing is shared.
//! `metrics/scrape` merges and writes the counts of 8 workers.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use mintage::actors::client_cache::{ClientCache, ClientCacheHandle, Remembered};
use mintage::config::Cache;
use mintage::metrics::{Metrics, RouteLabel, Text, WorkerMetrics};
use mintage::oauth::alg::Alg;
use mintage::oauth::client::{AuthMethod, Client, ClientId};
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::scope::Scope;
use mintage::oauth::secret_hash::SecretHash;
use mintage::oauth::stored_secret::StoredSecret;
use mintage::time::UnixMillis;

/// Counts the bytes that are allocated and not freed.
struct Counting;

static IN_USE: AtomicIsize = AtomicIsize::new(0);

#[allow(
    unsafe_code,
    reason = "an allocator cannot be written without it; this one only counts and delegates"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        unsafe { mimalloc::MiMalloc.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLIENTS: usize = 1000;
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn client(id: ClientId) -> Client {
    let scope = Scope::parse("orders:read orders:write").unwrap();
    Client {
        id,
        name: "bench".into(),
        enabled: true,
        default_scope: scope.clone(),
        scope,
        audiences: vec![],
        introspection_audiences: vec![],
        auth_methods: AuthMethod::ALL.to_vec(),
        ttl_seconds: None,
        alg: None,
        token: Default::default(),
        labels: Default::default(),
        secrets: vec![StoredSecret {
            id: "secret".into(),
            hash: SecretHash::of(&ClientSecret::generate()),
            created_at: NOW,
            expires_at: None,
            last_used: Default::default(),
        }],
        created_at: NOW,
        updated_at: NOW,
    }
}

fn ids() -> Vec<ClientId> {
    (0..CLIENTS).map(|_| ClientId::generate()).collect()
}

fn empty_cache() -> ClientCache {
    let no_client = Rc::new(|_| -> futures_util::future::LocalBoxFuture<'static, _> { Box::pin(async { Ok(None) }) });
    ClientCache::new(&Cache::default(), no_client, Rc::new(|| false))
}

fn full_cache(ids: &[ClientId]) -> ClientCache {
    let mut cache = empty_cache();
    for id in ids {
        cache.remember(Arc::new(client(id.clone())), NOW);
    }
    cache
}

fn hit(criterion: &mut Criterion) {
    let ids = ids();
    let mut cache = full_cache(&ids);
    let mut next = 0;
    criterion.bench_function("client_cache/hit", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % CLIENTS;
            matches!(
                black_box(cache.remembered(ids[next].as_str(), NOW)),
                Remembered::Known(_)
            )
        });
    });
}

fn miss(criterion: &mut Criterion) {
    let (known, unknown) = (ids(), ids());
    let mut cache = full_cache(&known);
    let mut next = 0;
    criterion.bench_function("client_cache/miss", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % CLIENTS;
            matches!(
                black_box(cache.remembered(unknown[next].as_str(), NOW)),
                Remembered::Nothing
            )
        });
    });
}

/// Counts one successful token request.
fn count(worker: &WorkerMetrics, route: RouteLabel, took: Duration) {
    worker.issued(black_box(Alg::Es256), black_box(false));
    worker.answered(black_box(route), black_box("POST"), black_box(200), took);
}

fn metrics_request(criterion: &mut Criterion) {
    let metrics = Metrics::default();
    let (route, worker) = (metrics.route("/token"), metrics.worker());
    criterion.bench_function("metrics/request", |bencher| {
        bencher.iter(|| {
            let began = tokio::time::Instant::now();
            count(&worker, route, began.elapsed());
        });
    });
    let cells = || count(&worker, route, black_box(Duration::from_micros(25)));
    criterion.bench_function("metrics/cells", |bencher| bencher.iter(cells));
    let stop = Arc::new(AtomicBool::new(false));
    let other = std::thread::spawn({
        let (stop, other) = (stop.clone(), metrics.worker());
        move || {
            while !stop.load(Ordering::Relaxed) {
                count(&other, route, Duration::from_micros(25));
            }
        }
    });
    criterion.bench_function("metrics/concurrent", |bencher| bencher.iter(cells));
    stop.store(true, Ordering::Relaxed);
    other.join().unwrap();
}

fn metrics_scrape(criterion: &mut Criterion) {
    let metrics = Metrics::default();
    for _ in 0..8 {
        let worker = metrics.worker();
        for pattern in ["/token", "/introspect", "/validate", "/metrics"] {
            count(&worker, metrics.route(pattern), Duration::from_micros(25));
        }
    }
    criterion.bench_function("metrics/scrape", |bencher| {
        bencher.iter(|| {
            let mut text = Text::default();
            metrics.write(&mut text);
            text.finish().len()
        });
    });
}

/// A hit on this thread while another thread has hits in its own cache all the time.
fn concurrent(criterion: &mut Criterion) {
    let stop = Arc::new(AtomicBool::new(false));
    let other = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let ids = ids();
            let mut cache = full_cache(&ids);
            while !stop.load(Ordering::Relaxed) {
                for id in &ids {
                    black_box(cache.remembered(id.as_str(), NOW));
                }
            }
        }
    });
    let ids = ids();
    let mut cache = full_cache(&ids);
    let mut next = 0;
    criterion.bench_function("client_cache/concurrent", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % CLIENTS;
            matches!(
                black_box(cache.remembered(ids[next].as_str(), NOW)),
                Remembered::Known(_)
            )
        });
    });
    stop.store(true, Ordering::Relaxed);
    other.join().unwrap();
}

fn lookup(criterion: &mut Criterion) {
    let ids = ids();
    let system = actix::System::new();
    let handle = system.block_on(async { ClientCacheHandle::start(full_cache(&ids)) });
    criterion.bench_function("client_cache/lookup", |bencher| {
        bencher.iter_custom(|lookups| {
            system.block_on(async {
                let began = now_for_benchmark();
                for number in 0..lookups {
                    let id = ids[number as usize % CLIENTS].clone();
                    black_box(handle.lookup(id, NOW).await).unwrap();
                }
                began.elapsed()
            })
        });
    });
}

fn memory(criterion: &mut Criterion) {
    let ids = ids();
    let before = IN_USE.load(Ordering::Relaxed);
    let cache = full_cache(&ids);
    let bytes = IN_USE.load(Ordering::Relaxed) - before;
    println!(
        "client_cache/memory_1000: {bytes} bytes for 1,000 entries, {} per entry",
        bytes / CLIENTS as isize
    );
    assert!(bytes < 1_000_000, "1,000 entries must take less than 1 MB");
    drop(cache);
    // Criterion measures only times; what can be timed here is filling the cache.
    criterion.bench_function("client_cache/memory_1000", |bencher| {
        bencher.iter_custom(|fillings| {
            let began = now_for_benchmark();
            for _ in 0..fillings {
                black_box(full_cache(&ids));
            }
            began.elapsed()
        });
    });
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now_for_benchmark() -> Instant {
    Instant::now()
}

fn brief() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
}

criterion_group! {
    name = benches;
    config = brief();
    targets = hit, miss, concurrent, lookup, memory, metrics_request, metrics_scrape
}
criterion_main!(benches);
