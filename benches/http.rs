//! `cargo bench --bench http`: the server's CPU time for one warm request, compared with the HTTP
//! floor ([`loadtest::floor`]).
//!
//! The cases take turns, round after round, in the same minutes on the same machine. The figures
//! are medians over the rounds. Compare the ratios. `-- --rounds=7 --requests=60000` sets the size,
//! `-- --only=HS256` selects the cases beside the floor's.

use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
};
use loadtest::closed::{self, Until};
use loadtest::floor::{self, MESSAGE};
use loadtest::server::{self, CpuTime, thread_cpu_nanos};
use loadtest::traffic::{SCOPE, Traffic, token_bytes};
use loadtest::{fill, median};
use testkit::http::Request;
use testkit::token::{about_token, token_request};
use testkit::{Server, TestClient, folder};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 64;

fn main() {
    if floor::serve_if_asked() {
        return;
    }
    let argument = |name: &str| {
        let prefix = format!("--{name}=");
        std::env::args_os()
            .filter_map(|argument| argument.into_string().ok())
            .find_map(|argument| argument.strip_prefix(&prefix).map(str::to_owned))
    };
    let number = |name: &str, default: u64| argument(name).map_or(default, |text| text.parse().expect("a number"));
    let only = argument("only");
    let (rounds, requests) = (number("rounds", 7), number("requests", 60_000));
    compare(rounds, requests, only.as_deref().unwrap_or_default());
    if only.is_none() {
        raw_operations();
        footprint();
    }
}

fn compare(rounds: u64, requests: u64, only: &str) {
    let folder = folder::temporary();
    let program = |name: &str| {
        let url = format!("sqlite:{}", folder.path().join(name).display());
        server::program(env!("CARGO_BIN_EXE_mintage").as_ref(), &url)
    };
    let (asynchronous, group) = (program("async.db"), program("group.db"));
    let [hs256, eddsa, es256] = ["HS256", "EdDSA", "ES256"].map(|alg| server::create_client(&asynchronous, alg));
    let group_client = server::create_client(&group, "HS256");
    let route = ["route", "add", "--path", "/orders/{id}", "--scope", SCOPE];
    asynchronous.run_json(&route);
    let floor = server::floor(1);
    let mintage = asynchronous.serve(&[]);
    let group = group.with("MINTAGE_WRITER__DURABILITY", "group").serve(&[]);
    let on_floor = |path: &str| Request::post(path).basic(&hs256).form(&[("scope", SCOPE)]).bytes();
    let token = |client: &TestClient| mintage.send(&token_request(client, &[("scope", SCOPE)])).access_token();
    let introspect = |client: &TestClient| about_token("/introspect", client, &token(client)).bytes();
    let validate = |client: &TestClient| {
        let request = Request::get("/validate").bearer(&token(client));
        let request = request
            .header("X-Forwarded-Method", "GET")
            .header("X-Forwarded-Host", "shop.example");
        request.header("X-Forwarded-Uri", "/orders/17").bytes()
    };
    let mut cases = vec![
        ("floor", &floor, token_bytes(&hs256)),
        ("floor with one P-256 signature", &floor, on_floor("/sign")),
        ("floor with one P-256 verification", &floor, on_floor("/verify")),
        ("/token HS256, async", &mintage, token_bytes(&hs256)),
        ("/token EdDSA, async", &mintage, token_bytes(&eddsa)),
        ("/token ES256, async", &mintage, token_bytes(&es256)),
        ("/token HS256, group", &group, token_bytes(&group_client)),
        ("/introspect ES256", &mintage, introspect(&es256)),
        ("/introspect HS256", &mintage, introspect(&hs256)),
        ("/validate ES256", &mintage, validate(&es256)),
        ("/validate HS256", &mintage, validate(&hs256)),
    ];
    cases.retain(|(name, ..)| name.starts_with("floor") || name.contains(only));
    for (_, server, request) in &cases {
        drive(server, vec![request.clone()], 20_000);
    }
    let mut micros = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for ((_, server, request), micros) in cases.iter().zip(&mut micros) {
            let before = CpuTime::of(server.pid());
            drive(server, vec![request.clone()], requests);
            // The last records are not written yet: their cost belongs to these requests.
            std::thread::sleep(Duration::from_millis(400));
            micros.push(CpuTime::of(server.pid()).since(before) / 1e3 / requests as f64);
        }
    }
    println!(
        "\nServer CPU per request: 1 worker, {CONNECTIONS} connections in a closed loop, records written to SQLite;"
    );
    println!("medians of {rounds} rounds of {requests} requests.\n");
    println!("| case | µs | × floor | floor + | spread of the rounds |\n| --- | --- | --- | --- | --- |");
    for ((name, ..), values) in cases.iter().zip(&micros) {
        // Each round is compared with the floor of the same round, so that other load affects both.
        let against = |with: fn(f64, f64) -> f64| {
            let each = values.iter().zip(&micros[0]).map(|(value, floor)| with(*value, *floor));
            median(each.collect())
        };
        let (ratio, difference) = (
            against(|value, floor| value / floor),
            against(|value, floor| value - floor),
        );
        let (min, max) = values
            .iter()
            .fold((f64::MAX, 0f64), |(a, b), value| (a.min(*value), b.max(*value)));
        let micros = median(values.clone());
        println!("| {name} | {micros:.2} | {ratio:.2} | {difference:.2} µs | {min:.2} to {max:.2} |");
    }
}

/// Time from start to ready on an existing database, and memory after 100,000 tokens for 5,000
/// clients.
fn footprint() {
    const CLIENTS: u64 = 5000;
    const TOKENS: u64 = 100_000;
    let program = server::program(env!("CARGO_BIN_EXE_mintage").as_ref(), "sqlite:mintage.db");
    program.run(&["migrate", "up"]).done();
    fill::clients(&format!("sqlite:{}", program.database_path().display()), CLIENTS);
    let requests = (0..CLIENTS).map(|number| token_bytes(&fill::client(number)));
    let server = program.clone().with("MINTAGE_SERVER__WORKERS", "0").serve(&[]);
    drive(&server, requests.collect(), TOKENS);
    std::thread::sleep(Duration::from_millis(600));
    let megabytes = (server.resident_memory_kib() * 1024) as f64 / 1e6;
    println!("\nResident memory after {TOKENS} tokens for {CLIENTS} clients, all cores: {megabytes:.1} MB");
    drop(server);
    let starts = (0..9).map(|_| {
        let began = now();
        program.serve(&[]);
        began.elapsed().as_secs_f64() * 1e3
    });
    let start = median(starts.collect());
    println!("Start to ready on this database: median {start:.0} ms of 9 starts");
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}

/// CPU time of one signature and one verification, without a server.
fn raw_operations() {
    const TIMES: u32 = 5000;
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let (random, message) = (SystemRandom::new(), MESSAGE);
    let signature = key.sign(&random, &message).expect("a signature");
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref()).expect("a key");
    let micros = |operation: &dyn Fn()| {
        let before = thread_cpu_nanos();
        (0..TIMES).for_each(|_| operation());
        (thread_cpu_nanos() - before) as f64 / 1e3 / f64::from(TIMES)
    };
    let sign = micros(&|| {
        std::hint::black_box(key.sign(&random, &message).expect("a signature"));
    });
    let verify = micros(&|| {
        public
            .verify_sig(&message, signature.as_ref())
            .expect("the signature is valid")
    });
    println!("\nAlone in a loop, CPU: {sign:.2} µs per P-256 signature, {verify:.2} µs per P-256 verification");
}

/// Sends `total` requests, taking `requests` in turn.
fn drive(server: &Server, requests: Vec<Vec<u8>>, total: u64) {
    let traffic = Traffic::in_turn(requests);
    let outcome = closed::drive(&[server.address], &traffic, CONNECTIONS, Until::Requests(total));
    assert_eq!(outcome.failed, 0, "every response has status 200");
}
