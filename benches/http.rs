//! `cargo bench --bench http`: the server's CPU time for one warm `POST /token`, beside the floor.
//!
//! The floor is a bare actix-web handler that parses the same form and answers a fixed JSON of 700 bytes: what no
//! token server on actix-web can go below. Every case runs in turn, several rounds, in the same minutes on the same
//! machine; the figures are medians over the rounds, and the ratios are what to compare.

mod load;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
};
use load::closed::{self, Until};
use load::floor::MESSAGE;
use load::median;
use load::server::{Server, command, make_client};
use load::traffic::{BODY, Traffic, form_request, token_request};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 64;
const SCOPE: &str = "orders:read orders:write";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument.starts_with("--floor=")) {
        return load::floor::serve(1);
    }
    let number = |name: &str, default: usize| {
        let prefix = format!("--{name}=");
        arguments
            .iter()
            .find_map(|argument| argument.strip_prefix(&prefix)?.parse().ok())
            .unwrap_or(default)
    };
    let (rounds, requests) = (number("rounds", 7), number("requests", 60_000));
    // `--only=HS256`: the cases whose name holds this, beside those of the floor.
    let only = arguments.iter().find_map(|argument| argument.strip_prefix("--only="));
    if rounds > 0 {
        compare(rounds, requests, only.unwrap_or_default());
    }
    if only.is_none() {
        footprint();
    }
}

fn compare(rounds: usize, requests: usize, only: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite:{}", folder.path().join("mintage.db").display());
    let hs256 = make_client(&url, SCOPE, &["--alg", "HS256"]);
    let eddsa = make_client(&url, SCOPE, &["--alg", "EdDSA"]);
    let es256 = make_client(&url, SCOPE, &["--alg", "ES256"]);
    let route = ["route", "add", "--path", "/orders/{id}", "--scope", "orders:read"];
    command(&url, &route);
    let floor = Server::floor(1);
    let mintage = Server::mintage(&url, &[]);
    let group = {
        let url = format!("sqlite:{}", folder.path().join("group.db").display());
        let client = make_client(&url, SCOPE, &["--alg", "HS256"]);
        (
            Server::mintage(&url, &[("MINTAGE_WRITER__DURABILITY", "group")]),
            client,
        )
    };
    let request = |(id, secret): &(String, String)| vec![token_request(id, secret, BODY)];
    let introspect = |client: &(String, String)| {
        let token = mintage.usual_token(client);
        vec![form_request(
            "/introspect",
            &client.0,
            &client.1,
            &format!("token={token}"),
        )]
    };
    let validate = |client: &(String, String)| {
        let token = mintage.usual_token(client);
        let forwarded = "X-Forwarded-Method: GET\r\nX-Forwarded-Host: shop.example\r\nX-Forwarded-Uri: /orders/17";
        let head = format!("GET /validate HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n{forwarded}");
        vec![format!("{head}\r\n\r\n").into_bytes()]
    };
    let cases = [
        ("floor", &floor, request(&hs256)),
        (
            "floor with one P-256 signature in its handler",
            &floor,
            vec![form_request("/sign", "a", "b", BODY)],
        ),
        (
            "floor with one P-256 verification",
            &floor,
            vec![form_request("/verify", "a", "b", BODY)],
        ),
        ("/token HS256, async", &mintage, request(&hs256)),
        ("/token EdDSA, async", &mintage, request(&eddsa)),
        ("/token ES256, async", &mintage, request(&es256)),
        ("/token HS256, group", &group.0, request(&group.1)),
        ("/introspect ES256", &mintage, introspect(&es256)),
        ("/introspect HS256", &mintage, introspect(&hs256)),
        ("/validate ES256", &mintage, validate(&es256)),
        ("/validate HS256", &mintage, validate(&hs256)),
    ];
    let cases: Vec<_> = cases
        .into_iter()
        .filter(|(name, ..)| name.starts_with("floor") || name.contains(only))
        .collect();
    for (_, server, requests) in &cases {
        drive(&server.address, requests, CONNECTIONS, 20_000);
    }
    let mut micros = vec![Vec::new(); cases.len()];
    let (mut signatures, mut verifications) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (case, (_, server, bytes)) in cases.iter().enumerate() {
            let before = server.cpu();
            drive(&server.address, bytes, CONNECTIONS, requests);
            // The last records are still to be written: they belong to these requests.
            std::thread::sleep(std::time::Duration::from_millis(400));
            micros[case].push(server.cpu().since(before) / 1e3 / requests as f64);
        }
        let (signature, verification) = raw_micros();
        signatures.push(signature);
        verifications.push(verification);
    }
    let floor_micros = median(micros[0].clone());
    let (signature, verification) = (median(signatures), median(verifications));
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
    let added = |case: usize| {
        median(
            micros[case]
                .iter()
                .zip(&micros[0])
                .map(|(value, floor)| value - floor)
                .collect(),
        )
    };
    let (signature_here, verification_here) = (added(1), added(2));
    println!(
        "\nOne raw aws-lc-rs operation, in µs of CPU: alone in a loop, the other core idle; and as the floor's handler does it, under load.\n"
    );
    println!("| operation | alone | under load |");
    println!("| --- | --- | --- |");
    println!("| P-256 signature | {signature:.2} | {signature_here:.2} |");
    println!("| P-256 verification | {verification:.2} | {verification_here:.2} |");
    let limits = [
        (
            "/token ES256: floor + 1.1 × signature + 4 µs",
            1.1 * signature + 4.0,
            1.1 * signature_here + 4.0,
        ),
        (
            "/introspect ES256: floor + verification + 5 µs",
            verification + 5.0,
            verification_here + 5.0,
        ),
    ];
    println!("\n| what a request may cost, in µs | with the figure alone | with the figure under load |");
    println!("| --- | --- | --- |");
    for (what, alone, under_load) in limits {
        println!(
            "| {what} | {:.2} | {:.2} |",
            floor_micros + alone,
            floor_micros + under_load
        );
    }
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
    let server = Server::mintage(&url, &[("MINTAGE_SERVER__WORKERS", "0")]);
    drive(&server.address, &requests, CONNECTIONS, TOKENS);
    std::thread::sleep(std::time::Duration::from_millis(600));
    println!(
        "\nResident memory after {TOKENS} tokens for {CLIENTS} clients, all cores: {:.1} MB",
        server.resident_bytes() as f64 / 1e6
    );
    drop(server);
    let starts: Vec<f64> = (0..9)
        .map(|_| Server::mintage(&url, &[]).ready_after.as_secs_f64() * 1e3)
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
    use mintage::oauth::client_secret::ClientSecret;
    use mintage::oauth::scope::Scope;
    use mintage::oauth::secret_hash::SecretHash;
    use mintage::oauth::stored_secret::StoredSecret;
    use mintage::time::UnixMillis;
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
                introspection_audiences: vec![],
                auth_methods: AuthMethod::ALL.to_vec(),
                ttl_seconds: None,
                alg: None,
                secrets: vec![StoredSecret {
                    id: format!("secret{number}"),
                    hash: SecretHash::of(&secret),
                    created_at: UnixMillis(0),
                    expires_at: None,
                    last_used: Default::default(),
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

/// CPU time of one signature and of one verification, in microseconds.
fn raw_micros() -> (f64, f64) {
    const TIMES: u32 = 5000;
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let (random, message) = (SystemRandom::new(), MESSAGE);
    let before = thread_cpu_nanos();
    for _ in 0..TIMES {
        std::hint::black_box(key.sign(&random, &message).expect("a signature"));
    }
    let signed = thread_cpu_nanos();
    let signature = key.sign(&random, &message).expect("a signature");
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref()).expect("a key");
    let began = thread_cpu_nanos();
    for _ in 0..TIMES {
        public.verify_sig(&message, signature.as_ref()).expect("it verifies");
    }
    let verified = thread_cpu_nanos();
    let each = |nanos: u64| nanos as f64 / 1e3 / f64::from(TIMES);
    (each(signed - before), each(verified - began))
}

/// CPU time of this thread, so that what else the machine does is not counted.
fn thread_cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells the time of a thread");
    text.split_whitespace()
        .next()
        .and_then(|first| first.parse().ok())
        .expect("a number")
}

/// Sends `total` requests over `connections` kept-alive connections, each the next of `requests` in turn.
fn drive(address: &str, requests: &[Vec<u8>], connections: usize, total: usize) {
    let traffic = Traffic::in_turn(requests.to_vec());
    let outcome = closed::drive(address, &traffic, connections, Until::Requests(total as u64));
    assert_eq!(outcome.failed, 0, "every answer is a 200");
}
