//! `cargo bench --bench http`: the server's CPU time for one warm `POST /token`, beside the floor.
//!
//! The floor is a bare actix-web handler that parses the same form and answers a fixed JSON of 700 bytes: what no
//! token server on actix-web can go below. Every case runs in turn, several rounds, in the same minutes on the same
//! machine; the figures are medians over the rounds, and the ratios are what to compare.

mod load;

use std::process::Command;

use actix_web::{App, HttpResponse, HttpServer, web};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use load::{Server, drive, make_client, median, token_request};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY: &str = "grant_type=client_credentials&scope=orders%3Aread";
const CONNECTIONS: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--floor") {
        return serve_floor();
    }
    let number = |name: &str, default: usize| {
        let prefix = format!("--{name}=");
        arguments
            .iter()
            .find_map(|argument| argument.strip_prefix(&prefix)?.parse().ok())
            .unwrap_or(default)
    };
    let (rounds, requests) = (number("rounds", 7), number("requests", 60_000));
    if rounds > 0 {
        compare(rounds, requests);
    }
    footprint();
}

fn compare(rounds: usize, requests: usize) {
    let binary = env!("CARGO_BIN_EXE_mintage").as_ref();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("mintage.db").display());
    let hs256 = make_client(binary, &url, &["--alg", "HS256"]);
    let eddsa = make_client(binary, &url, &["--alg", "EdDSA"]);
    let es256 = make_client(binary, &url, &["--alg", "ES256"]);
    let floor = Server::start(
        Command::new(std::env::current_exe().expect("this program")).arg("--floor"),
        false,
    );
    let mintage = serve(&url, &[]);
    let group = {
        let url = format!("sqlite:{}", folder.path().join("group.db").display());
        let client = make_client(binary, &url, &["--alg", "HS256"]);
        (serve(&url, &[("MINTAGE_WRITER__DURABILITY", "group")]), client)
    };
    let request = |(id, secret): &(String, String)| vec![token_request(id, secret, BODY)];
    let cases = [
        ("floor", &floor, request(&hs256)),
        ("/token HS256, async", &mintage, request(&hs256)),
        ("/token EdDSA, async", &mintage, request(&eddsa)),
        ("/token ES256, async", &mintage, request(&es256)),
        ("/token HS256, group", &group.0, request(&group.1)),
    ];
    for (_, server, requests) in &cases {
        drive(&server.address, requests, CONNECTIONS, 20_000);
    }
    let mut micros = vec![Vec::new(); cases.len()];
    let mut signatures = Vec::new();
    for _ in 0..rounds {
        for (case, (_, server, bytes)) in cases.iter().enumerate() {
            let before = server.cpu_nanos();
            drive(&server.address, bytes, CONNECTIONS, requests);
            // The last records are still to be written: they belong to these requests.
            std::thread::sleep(std::time::Duration::from_millis(400));
            micros[case].push((server.cpu_nanos() - before) as f64 / 1e3 / requests as f64);
        }
        signatures.push(raw_signature_micros());
    }
    let floor_micros = median(micros[0].clone());
    let signature = median(signatures);
    println!(
        "\nServer CPU a request, 1 worker, {CONNECTIONS} connections, records written to SQLite; medians of {rounds} rounds of {requests} requests.\n"
    );
    println!("| case | µs | × floor | floor + | spread of the rounds |");
    println!("| --- | --- | --- | --- | --- |");
    for ((name, ..), values) in cases.iter().zip(&micros) {
        // Each round against the floor of the same round: what the machine did meanwhile hits both.
        let ratio = median(
            values
                .iter()
                .zip(&micros[0])
                .map(|(value, floor)| value / floor)
                .collect(),
        );
        let difference = median(
            values
                .iter()
                .zip(&micros[0])
                .map(|(value, floor)| value - floor)
                .collect(),
        );
        let (least, most) = values
            .iter()
            .fold((f64::MAX, 0f64), |(a, b), value| (a.min(*value), b.max(*value)));
        println!(
            "| {name} | {:.2} | {ratio:.2} | {difference:.2} µs | {least:.2} to {most:.2} |",
            median(values.clone())
        );
    }
    println!(
        "| one raw P-256 signature (aws-lc-rs) | {signature:.2} | {:.2} | | |",
        signature / floor_micros
    );
    println!(
        "\nES256 may take floor + 1.25 × raw + 5 µs = {:.2} µs.",
        floor_micros + 1.25 * signature + 5.0
    );
}

/// Start to ready on an existing database, and memory after 100,000 tokens for 5,000 clients.
fn footprint() {
    const CLIENTS: usize = 5000;
    const TOKENS: usize = 100_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("mintage.db").display());
    let clients = make_clients(&url, CLIENTS);
    let requests: Vec<Vec<u8>> = clients
        .iter()
        .map(|(id, secret)| token_request(id, secret, BODY))
        .collect();
    let server = serve(&url, &[("MINTAGE_SERVER__WORKERS", "0")]);
    drive(&server.address, &requests, CONNECTIONS, TOKENS);
    std::thread::sleep(std::time::Duration::from_millis(600));
    println!(
        "\nResident memory after {TOKENS} tokens for {CLIENTS} clients, all cores: {:.1} MB",
        server.resident_bytes() as f64 / 1e6
    );
    drop(server);
    let starts: Vec<f64> = (0..9)
        .map(|_| serve(&url, &[]).ready_after.as_secs_f64() * 1e3)
        .collect();
    println!(
        "Start to ready on this database: median {:.0} ms of 9 starts",
        median(starts)
    );
}

/// Clients made through the library: five thousand runs of the command line would take minutes.
fn make_clients(url: &str, count: usize) -> Vec<(String, String)> {
    use mintage::config::Database;
    use mintage::db::{Db, clients, migrations};
    use mintage::oauth::client::{AuthMethod, Client, ClientId};
    use mintage::oauth::scope::Scope;
    use mintage::oauth::secret::{ClientSecret, StoredSecret};
    use mintage::oauth::time::UnixMillis;
    let db = Db::open(&Database {
        url: url.to_owned(),
        ..Database::default()
    });
    db.run_here(|conn| {
        migrations::up(conn)?;
        let mut made = Vec::new();
        for number in 0..count {
            let secret = ClientSecret::generate();
            let scope = Scope::parse("orders:read orders:write").expect("well-formed");
            let client = Client {
                id: ClientId::generate(),
                name: format!("bench {number}"),
                enabled: true,
                default_scope: scope.clone(),
                scope,
                audiences: vec![],
                serves: vec![],
                auth_methods: AuthMethod::ALL.to_vec(),
                ttl_seconds: None,
                alg: None,
                secrets: vec![StoredSecret {
                    id: format!("secret{number}"),
                    hash: secret.hash(),
                    created_at: UnixMillis(0),
                    expires_at: None,
                }],
                created_at: UnixMillis(0),
                updated_at: UnixMillis(0),
            };
            clients::insert(conn, &client)?;
            made.push((client.id.to_string(), secret.reveal().to_owned()));
        }
        Ok(made)
    })
    .expect("the clients are made")
}

fn serve(url: &str, settings: &[(&str, &str)]) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mintage"));
    command
        .args(["--database-url", url, "serve"])
        .env("MINTAGE_SERVER__LISTEN", "127.0.0.1:0");
    command
        .env("MINTAGE_SERVER__WORKERS", "1")
        .env_remove("RUST_LOG")
        .envs(settings.iter().copied());
    Server::start(&mut command, true)
}

fn raw_signature_micros() -> f64 {
    const SIGNATURES: u32 = 5000;
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let (random, message) = (SystemRandom::new(), [b'x'; 420]);
    let before = thread_cpu_nanos();
    for _ in 0..SIGNATURES {
        std::hint::black_box(key.sign(&random, &message).expect("a signature"));
    }
    (thread_cpu_nanos() - before) as f64 / 1e3 / f64::from(SIGNATURES)
}

/// CPU time of this thread, so that what else the machine does is not counted.
fn thread_cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells the time of a thread");
    text.split_whitespace()
        .next()
        .and_then(|first| first.parse().ok())
        .expect("a number")
}

#[derive(serde::Deserialize)]
#[allow(dead_code, reason = "the floor parses what a token request has and uses none of it")]
struct Form {
    grant_type: Option<String>,
    scope: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

fn serve_floor() {
    // As long as the answer with an ES256 token, to the byte of the plan: 700.
    let json: &'static str = Box::leak(format!("{{\"access_token\":\"{}\"}}", "x".repeat(681)).into_boxed_str());
    assert_eq!(json.len(), 700);
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(move || {
            let answer =
                move |_: web::Form<Form>| async move { HttpResponse::Ok().content_type("application/json").body(json) };
            App::new().route("/token", web::post().to(answer))
        });
        let server = server.workers(1).bind("127.0.0.1:0").expect("a free port");
        eprintln!("listening on http://{}", server.addrs()[0]);
        server.run().await.expect("it serves");
    });
}
