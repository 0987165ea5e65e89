//! `cargo bench --bench revocations`: a set of a million revocations: memory, loading time, and the
//! cost of a check.
//!
//! The check is timed alone, on two threads at once, and while another thread revokes continuously:
//! in the shared set of the server, and in the alternative that ADR 9 rejects, one set per worker.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::time::Instant;

use mintage::config::Database;
use mintage::db::{Db, migrations};
use mintage::oauth::activity::{InvalidatedToken, RevocationCheck};
use mintage::oauth::token_id::{TokenId, TokenIdSource};
use mintage::revocation::Revocations;
use mintage::time::UnixMillis;

/// Counts the bytes that are allocated and not freed, and their maximum.
struct Counting;

static IN_USE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

#[allow(
    unsafe_code,
    reason = "an allocator cannot be written without it; this one only counts and delegates"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size() as isize;
        PEAK.fetch_max(IN_USE.fetch_add(size, Ordering::Relaxed) + size, Ordering::Relaxed);
        unsafe { mimalloc::MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        unsafe { mimalloc::MiMalloc.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const REVOCATIONS: usize = 1_000_000;
const CHECKS: usize = 2_000_000;
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn main() {
    let mut source = TokenIdSource::new();
    let ids: Vec<TokenId> = (0..REVOCATIONS).map(|_| source.next(NOW)).collect();
    let others: Vec<TokenId> = (0..REVOCATIONS).map(|_| source.next(NOW)).collect();
    let revocations = load(&ids);
    println!("\n| a check of a token that is not revoked, among 1,000,000 revocations | ns |");
    println!("| --- | --- |");
    println!("| shared set, one thread | {:.1} |", check(&revocations, &others));
    println!(
        "| shared set, two threads at once | {:.1} |",
        while_other_thread(&revocations, &others, |set, ids| {
            black_box(check(set, ids));
        })
    );
    println!(
        "| shared set, while another thread revokes continuously | {:.1} |",
        while_other_thread(&revocations, &others, |set, ids| {
            for jti in &ids[..CHECKS / 8] {
                set.invalidate(InvalidatedToken {
                    jti: *jti,
                    expires_at: NOW.seconds() + 3600,
                });
            }
        })
    );
    let own: HashMap<TokenId, i64, ahash::RandomState> = ids.iter().map(|id| (*id, 1)).collect();
    println!(
        "| one set per worker, one thread | {:.1} |",
        nanos(&others, |id| own.contains_key(id))
    );
}

/// Loads the set from SQLite, as a start does.
fn load(ids: &[TokenId]) -> Revocations {
    use diesel::connection::SimpleConnection;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Db::open(&Database {
        url: format!("sqlite:{}", folder.path().join("bench.db").display()),
        ..Database::default()
    });
    let revocations = Revocations::new(db.clone());
    db.run_here(|conn| {
        migrations::up(conn)?;
        for chunk in ids.chunks(500) {
            let rows: Vec<String> = chunk
                .iter()
                .map(|id| format!("('{id}', {}, {})", NOW.seconds() + 3600, NOW.0))
                .collect();
            conn.batch_execute(&format!("INSERT INTO revocations VALUES {}", rows.join(",")))?;
        }
        let before = IN_USE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let began = now_for_benchmark();
        revocations.load(conn, NOW)?;
        let elapsed = began.elapsed();
        println!(
            "{REVOCATIONS} revocations: loaded in {:.2} s, {:.1} MB, peak {:.1} MB while loading",
            elapsed.as_secs_f64(),
            (IN_USE.load(Ordering::Relaxed) - before) as f64 / 1e6,
            (PEAK.load(Ordering::Relaxed) - before) as f64 / 1e6
        );
        Ok(())
    })
    .expect("the revocations are loaded");
    assert_eq!(revocations.known(), ids.len());
    revocations
}

fn check(revocations: &Revocations, ids: &[TokenId]) -> f64 {
    nanos(ids, |id| revocations.is_invalidated(id))
}

fn nanos(ids: &[TokenId], mut check: impl FnMut(&TokenId) -> bool) -> f64 {
    let began = now_for_benchmark();
    for id in ids.iter().cycle().take(CHECKS) {
        black_box(check(id));
    }
    began.elapsed().as_nanos() as f64 / CHECKS as f64
}

/// The cost of a check on this thread while `other` runs continuously on another one.
fn while_other_thread(
    revocations: &Revocations,
    ids: &[TokenId],
    other: impl Fn(&Revocations, &[TokenId]) + Send + 'static,
) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let thread = std::thread::spawn({
        let (stop, revocations, ids) = (stop.clone(), revocations.clone(), ids.to_vec());
        move || {
            while !stop.load(Ordering::Relaxed) {
                other(&revocations, &ids);
            }
        }
    });
    let nanos = check(revocations, ids);
    stop.store(true, Ordering::Relaxed);
    thread.join().expect("the other thread ends");
    nanos
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now_for_benchmark() -> Instant {
    Instant::now()
}
