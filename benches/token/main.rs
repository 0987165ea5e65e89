//! `cargo bench --bench token`: one warm token without HTTP, and its signature alone.
//!
//! `token/issue_cached` is all work of a worker for one warm token, from the bytes of the request
//! to those of the response: parse Basic credentials and form, look up the client, verify its
//! secret, decide the grant, sign, record, write the response. It signs with HS256;
//! `token/issue_cached_ES256` with the default algorithm.
//!
//! `-- --instructions` counts instructions instead of time; `scripts/perf-check` runs it.

mod callgrind;
mod instructions;
mod steps;
mod warm;

use std::hint::black_box;
use std::process::ExitCode;

use criterion::Criterion;
use mintage::oauth::alg::Alg;
use warm::{Warm, signer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .filter_map(|argument| argument.into_string().ok())
        .collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if loadtest::floor::serve_if_asked() {
        return ExitCode::SUCCESS;
    }
    if let Some(step) = arguments.iter().find_map(|argument| argument.strip_prefix("--step=")) {
        steps::run(step);
    } else if has("--instructions") {
        return instructions::run(has("--update"), has("--steps"));
    } else {
        let mut criterion = Criterion::default().configure_from_args();
        issue_cached(&mut criterion);
        signing(&mut criterion);
        criterion.final_summary();
    }
    ExitCode::SUCCESS
}

fn issue_cached(criterion: &mut Criterion) {
    for (name, alg) in [
        ("token/issue_cached", Alg::Hs256),
        ("token/issue_cached_ES256", Alg::Es256),
    ] {
        Warm::with(alg, |mut warm| {
            criterion.bench_function(name, |bencher| bencher.iter(|| black_box(warm.issue())));
        });
    }
}

/// `Signer::sign`: claims as JSON, encoded, and signed with a key that was parsed before.
fn signing(criterion: &mut Criterion) {
    for alg in [Alg::Hs256, Alg::EdDsa, Alg::Es256, Alg::Rs256] {
        let (signer, claims) = (signer(alg), warm::claims());
        criterion.bench_function(&format!("signing/{alg}"), |bencher| {
            bencher.iter(|| signer.sign(black_box(&claims)).expect("signing succeeds"));
        });
    }
}
