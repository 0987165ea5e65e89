//! `mintage client import`: clients are imported from other servers, and their old secrets keep
//! working.
//!
//! The hashes were created by other software: bcrypt by libxcrypt, PBKDF2 by Python's hashlib.

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Barrier;
use std::time::Duration;

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use mintage::config;
use mintage::db::{Db, clients};
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::scope::Scope;
use mintage::oauth::secret_hash::SecretHash;
use mintage::time::UnixMillis;
use serde_json::{Value, json};
use testkit::app::Setup;
use testkit::http::{Request, Response};
use testkit::poll::until;
use testkit::postgres;
use testkit::program::Outcome;
use testkit::scrape::Scrape;
use testkit::token::token_request;
use testkit::{Program, Server, TestApp, TestClient, eventually};

pub const BCRYPT_SECRET: &str = "mT6.k2Wq-8vX~rB1nY_4zL7hJd";
pub const BCRYPT: &str = "$2a$05$abcdefghijklmnopqrstuuJnKz.HcLs2TEc3UvxbfOsOJshTOjrGa";
const SHA256_SECRET: &str = "Zq8-rT2nB5.vX1kW~7mJ_4hL9y";
pub const PBKDF2_SHA256: &str =
    "$pbkdf2-sha256$i=25000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$Ur/mtW2jSe4rTjhP58zn96rI9Cpti9lUCDKFY/jgM5Q";
const SHA512_SECRET: &str = "Wd3.hK9_tR6pL2-xQ8vN5~bY1c";
const PBKDF2_SHA512: &str =
    "$pbkdf2-sha512$i=25000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$0K3yF24PYExvqxsGIDodNihRfzJfdaCVLRBrw8Ynvmc";
pub const LOW_ENTROPY_SECRET: &str = "correct-horse";
const LOW_ENTROPY: &str = "$2b$06$bbcdefghijklmnopqrstuusw9Zd6wObQSCkQCqj1QIfblGaNEv3r.";
pub const GENERATED_SECRET: &str = "IIykoV67FWfyBw84t1DEKcEKiUruGt89";

/// How long changes from the command line and database writes may take to be visible.
const PROPAGATION_TIMEOUT: Duration = Duration::from_secs(5);

/// A program with a database on SQLite or PostgreSQL.
pub struct Site {
    pub program: Program,
    url: String,
}

impl Site {
    pub fn sqlite() -> Self {
        Self::of(testkit::program!().with_database())
    }

    /// With the most verbose log level.
    fn of(program: Program) -> Self {
        Self {
            url: format!("sqlite:{}", program.database_path().display()),
            program: program.with("RUST_LOG", "trace"),
        }
    }

    pub fn postgres() -> Self {
        let url = postgres::empty().url;
        let site = Self::of(testkit::program!().with("MINTAGE_DATABASE_URL", &url).migrated());
        Self { url, ..site }
    }

    /// Imports a file of this text.
    pub fn import(&self, text: &str, arguments: &[&str]) -> Outcome {
        self.program.write("clients", text);
        self.program
            .run(&[&["client", "import", "clients"], arguments].concat())
    }

    /// The first column of the result of a query.
    fn texts(&self, query: &str) -> Vec<String> {
        #[derive(diesel::QueryableByName)]
        struct Words {
            #[diesel(sql_type = diesel::sql_types::Text)]
            value: String,
        }
        let settings = config::Database {
            url: self.url.clone(),
            ..Default::default()
        };
        let rows: Vec<Words> = Db::open(&settings)
            .run_here(|conn| Ok(diesel::sql_query(query).load(conn)?))
            .unwrap();
        rows.into_iter().map(|row| row.value).collect()
    }

    pub fn hash_of(&self, client: &str) -> String {
        let query = format!("SELECT hash AS value FROM secrets WHERE client_id = '{client}'");
        self.texts(&query).remove(0)
    }

    pub fn clients(&self) -> Vec<String> {
        self.texts("SELECT client_id AS value FROM clients ORDER BY client_id")
    }
}

/// Creates two tests from each function, one per database. A function that is missing here is dead
/// code.
macro_rules! on_both_backends {
    ($($test:ident)*) => {
        mod on_sqlite {
            $(#[test] fn $test() { super::$test(&super::Site::sqlite()) })*
        }
        mod on_postgres {
            $(#[test] fn $test() { super::$test(&super::Site::postgres()) })*
        }
    };
}

on_both_backends! {
    a_bcrypt_hash_is_replaced_by_a_digest_after_its_first_use
    clients_imported_from_all_three_formats_get_tokens_with_their_old_secrets
    g8_no_secret_or_hash_is_printed_logged_or_audited
    one_rejected_client_aborts_the_import_unless_rejected_clients_are_skipped
    a_dry_run_reports_the_same_and_writes_nothing
    a_low_entropy_secret_keeps_its_password_hash_and_is_verified_once
    two_instances_replace_a_hash_once_and_both_accept_the_secret
}

fn hydra_client(id: &str, hash: &str) -> Value {
    json!({
        "client_id": id, "client_name": "", "grant_types": ["client_credentials"], "scope": "orders:read",
        "client_secret": hash, "token_endpoint_auth_method": "client_secret_basic",
    })
}

pub fn ask(serving: &Server, id: &str, secret: &str) -> Response {
    token_request(&TestClient::new(id, secret), &[]).send(serving.address)
}

/// The value of a metric.
fn metric(serving: &Server, name: &str) -> f64 {
    serving.metrics().value(name).unwrap()
}

fn verified(serving: &Server) -> f64 {
    metric(serving, "mintage_password_hash_verifications_total")
}

fn running(serving: &Server) -> f64 {
    metric(serving, "mintage_password_hash_in_progress{state=\"running\"}")
}

/// The metric of verifications that wait for their turn.
const WAITING: &str = "mintage_password_hash_in_progress{state=\"waiting\"}";

fn a_bcrypt_hash_is_replaced_by_a_digest_after_its_first_use(site: &Site) {
    site.import(&hydra_client("orders", BCRYPT).to_string(), &[]).done();
    assert_eq!(site.hash_of("orders"), BCRYPT);
    let mut serving = site.program.serve(&[]);
    ask(&serving, "orders", "wrong").assert_invalid_client();
    assert_eq!((verified(&serving), site.hash_of("orders").as_str()), (1.0, BCRYPT));
    assert_eq!(ask(&serving, "orders", BCRYPT_SECRET).status, 200);
    let fast = SecretHash::of(&ClientSecret::new(BCRYPT_SECRET.into())).to_stored();
    until("the hash is replaced", PROPAGATION_TIMEOUT, || {
        site.hash_of("orders") == fast
    });
    for _ in 0..8 {
        assert_eq!(ask(&serving, "orders", BCRYPT_SECRET).status, 200);
    }
    assert_eq!(
        verified(&serving),
        2.0,
        "one for the wrong secret and one for the first use"
    );
    ask(&serving, "orders", "wrong").assert_invalid_client();
    serving.stop();
    let serving = site.program.serve(&[]);
    assert_eq!(ask(&serving, "orders", BCRYPT_SECRET).status, 200);
    ask(&serving, "orders", "wrong").assert_invalid_client();
    assert_eq!(verified(&serving), 0.0, "the hash in the database is a digest now");
}

fn clients_imported_from_all_three_formats_get_tokens_with_their_old_secrets(site: &Site) {
    let hydra = json!([
        hydra_client("h-bcrypt", BCRYPT),
        hydra_client("h-sha256", PBKDF2_SHA256),
        hydra_client("h-sha512", PBKDF2_SHA512),
        {"client_id": "h-web", "grant_types": ["authorization_code"], "client_secret": BCRYPT},
    ]);
    let keycloak = json!({"realm": "shop", "clients": [{
        "clientId": "k-orders", "secret": GENERATED_SECRET, "serviceAccountsEnabled": true, "protocol": "openid-connect",
        "clientAuthenticatorType": "client-secret", "defaultClientScopes": ["orders:read"],
    }, {"clientId": "account", "publicClient": true}]});
    let csv = format!(
        "client_id,scope,secret,secret_hash\nc-plain,orders:read,{LOW_ENTROPY_SECRET},\nc-hash,orders:read,,\"{PBKDF2_SHA256}\"\n"
    );
    for (text, accepted, passed_over) in [(hydra.to_string(), 3, 1), (keycloak.to_string(), 1, 1), (csv, 2, 0)] {
        let report = site.import(&text, &["--json"]).json();
        let count = |list: &str| report[list].as_array().unwrap().len();
        assert_eq!(
            (count("accepted"), count("skipped"), count("rejected")),
            (accepted, passed_over, 0)
        );
        assert_eq!(report["written"], true);
    }
    let serving = site.program.serve(&[]);
    for (id, secret) in [
        ("h-bcrypt", BCRYPT_SECRET),
        ("h-sha256", SHA256_SECRET),
        ("h-sha512", SHA512_SECRET),
        ("k-orders", GENERATED_SECRET),
        ("c-plain", LOW_ENTROPY_SECRET),
        ("c-hash", SHA256_SECRET),
    ] {
        let answer = ask(&serving, id, secret);
        assert_eq!(
            (answer.status, &answer.json()["scope"]),
            (200, &json!("orders:read")),
            "{id}"
        );
        ask(&serving, id, &secret[1..]).assert_invalid_client();
    }
    let lines = site.program.run(&["audit"]);
    let imports = lines.stdout.matches("\"client.import\"").count();
    assert_eq!(imports, 6, "{}", lines.stdout);
}

fn g8_no_secret_or_hash_is_printed_logged_or_audited(site: &Site) {
    let csv = format!(
        "client_id,scope,secret,secret_hash\nplain,a,{GENERATED_SECRET},\nchosen,a,{LOW_ENTROPY_SECRET},\nhashed,a,,\"{BCRYPT}\"\n"
    );
    let wrong = "client_id,scope,secret,ttl_seconds\nx,a,VerySecretVerySecret,VerySecretVerySecret\n";
    let mut seen = String::new();
    for outcome in [
        site.import(&csv, &["--dry-run"]),
        site.import(&csv, &[]),
        site.import(&csv, &["--json"]),
        site.import(wrong, &[]),
        site.import("VerySecretVerySecret,b\n", &[]),
        site.import(
            "[{\"client_id\": \"x\", \"client_secret\": \"VerySecretVerySecret\" oops}]",
            &[],
        ),
        site.import(
            "[{\"grant_types\": \"client_credentials\", \"client_secret\": {\"VerySecretVerySecret\": 1}}]",
            &[],
        ),
        site.program.run(&["audit"]),
        site.program.run(&["client", "list", "--json"]),
        site.program.run(&["client", "secret", "list", "hashed", "--json"]),
    ] {
        seen.push_str(&outcome.stdout);
        seen.push_str(&outcome.stderr);
    }
    let mut serving = site.program.serve(&[]);
    for (id, secret) in [
        ("plain", GENERATED_SECRET),
        ("chosen", LOW_ENTROPY_SECRET),
        ("hashed", BCRYPT_SECRET),
    ] {
        assert_eq!(ask(&serving, id, secret).status, 200);
        ask(&serving, id, "VerySecretVerySecret").assert_invalid_client();
    }
    serving.stop();
    seen.push_str(&serving.log());
    seen.push_str(&serving.stdout());
    for secret in [
        GENERATED_SECRET,
        LOW_ENTROPY_SECRET,
        BCRYPT_SECRET,
        "VerySecret",
        "$2a$",
        "$argon2",
        "sha256:",
        "abcdefghijklmnopqrstuu",
    ] {
        assert!(!seen.contains(secret), "{secret}: {seen}");
    }
    assert!(seen.contains("client.import") && seen.contains("chosen"), "{seen}");
}

fn one_rejected_client_aborts_the_import_unless_rejected_clients_are_skipped(site: &Site) {
    site.program
        .create_client(&["--name", "n", "--id", "taken", "--scope", "x"]);
    let lines = [
        "client_id,scope,secret",
        &format!("good,a,{GENERATED_SECRET}"),
        "taken,a,b",
        &format!("{},a,b", "x".repeat(129)),
        "spaces,a  b,c",
        "admin,mintage:admin,b",
        "good,a,b",
        "nosecret,a,",
    ]
    .join("\n");
    let rejected = site.import(&lines, &["--json"]);
    assert_eq!(rejected.code, Some(1));
    let line =
        "mintage: nothing imported: 6 of 7 clients rejected: correct them, or leave them out with --skip-refused\n";
    assert_eq!(rejected.stderr, line);
    let report: Value = serde_json::from_str(&rejected.stdout).unwrap();
    let places = |list: &str| -> Vec<String> {
        let mut places: Vec<String> = report[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["at"].as_str().unwrap().to_owned())
            .collect();
        places.sort();
        places
    };
    assert_eq!(places("accepted"), ["line 2"]);
    assert_eq!(
        places("rejected"),
        ["line 3", "line 4", "line 5", "line 6", "line 7", "line 8"]
    );
    assert_eq!(
        (&report["written"], site.clients()),
        (&json!(false), vec!["taken".to_owned()])
    );
    let text = site.import(&lines, &["--skip-refused"]);
    assert!(text.done().ends_with("\n1 client imported.\n"), "{text:?}");
    assert!(
        text.stdout
            .contains("rejected     line 3 \"taken\": a client with this id already exists"),
        "{text:?}"
    );
    assert_eq!(site.clients(), ["good", "taken"]);
    assert_eq!(
        site.import(&lines, &[]).code,
        Some(1),
        "the second time, `good` exists, too"
    );
}

fn a_dry_run_reports_the_same_and_writes_nothing(site: &Site) {
    site.program.run(&["migrate", "up"]).done();
    let state = || {
        let count = |table: &str| site.texts(&format!("SELECT CAST(count(*) AS TEXT) AS value FROM {table}"));
        ["clients", "secrets", "changes", "audit"].map(count)
    };
    let before = state();
    let text = json!([hydra_client("a", BCRYPT), hydra_client("b", "$1$x$y")]).to_string();
    let report = |arguments: &[&str]| {
        let outcome = site.import(&text, arguments);
        let mut report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        for differs in ["written", "dry_run"] {
            report[differs].take();
        }
        (outcome.code, report)
    };
    let dry = report(&["--json", "--dry-run"]);
    let dry_skipping = report(&["--json", "--dry-run", "--skip-refused"]);
    assert_eq!(state(), before);
    assert_eq!((dry.0, dry_skipping.0), (Some(1), Some(0)));
    assert_eq!(report(&["--json"]), dry);
    assert_eq!(report(&["--json", "--skip-refused"]), dry_skipping);
    assert_ne!(state(), before);
}

fn a_low_entropy_secret_keeps_its_password_hash_and_is_verified_once(site: &Site) {
    let text = json!([hydra_client("bcrypt", LOW_ENTROPY)]).to_string();
    site.import(&text, &[]).done();
    let plain = format!("client_id,scope,secret\nplain,a,{LOW_ENTROPY_SECRET}\n");
    let imported = site.import(&plain, &[]);
    assert!(
        imported
            .done()
            .contains("warning      line 2 \"plain\": its secret is not of a generator's known form"),
        "{imported:?}"
    );
    let serving = site.program.serve(&[]);
    for _ in 0..5 {
        assert_eq!(ask(&serving, "bcrypt", LOW_ENTROPY_SECRET).status, 200);
        assert_eq!(ask(&serving, "plain", LOW_ENTROPY_SECRET).status, 200);
    }
    assert_eq!(verified(&serving), 2.0, "verified hashes are cached");
    assert_eq!(site.hash_of("bcrypt"), LOW_ENTROPY);
    assert!(site.hash_of("plain").starts_with("$argon2id$"));
    let created = site.program.run(&["client", "secret", "add", "plain", "--json"]).json();
    let new = created["client_secret"].as_str().unwrap();
    let works = || (ask(&serving, "plain", new).status == 200).then_some(());
    eventually("the new secret works", PROPAGATION_TIMEOUT, works);
}

fn two_instances_replace_a_hash_once_and_both_accept_the_secret(site: &Site) {
    site.import(&hydra_client("orders", BCRYPT).to_string(), &[]).done();
    let other = testkit::program!().with("MINTAGE_DATABASE_URL", &site.url);
    let both = [site.program.serve(&[]), other.serve(&[])];
    let begin = Barrier::new(both.len());
    std::thread::scope(|scope| {
        for serving in &both {
            scope.spawn(|| {
                begin.wait();
                assert_eq!(ask(serving, "orders", BCRYPT_SECRET).status, 200);
            });
        }
    });
    let replaced = |serving: &Server| metric(serving, "mintage_password_hash_upgrades_total");
    let once = || (both.iter().map(replaced).sum::<f64>() == 1.0).then_some(());
    eventually("the hash is replaced once", PROPAGATION_TIMEOUT, once);
    assert!(site.hash_of("orders").starts_with("sha256:"));
    let changes = site.texts("SELECT subject AS value FROM changes WHERE kind = 'client' AND subject = 'orders'");
    assert_eq!(changes.len(), 2, "one for the import and one for the replacement");
    for serving in &both {
        assert_eq!(ask(serving, "orders", BCRYPT_SECRET).status, 200);
        assert!(verified(serving) <= 1.0);
    }
}

#[test]
fn a_dry_run_creates_no_database() {
    let program = testkit::program!();
    program.write("clients", &hydra_client("a", BCRYPT).to_string());
    program.run(&["client", "import", "clients", "--dry-run"]).done();
    assert!(!program.database_path().exists());
}

#[test]
fn a_hundred_concurrent_first_uses_verify_the_hash_once() {
    let site = Site::sqlite();
    site.import(&hydra_client("orders", BCRYPT).to_string(), &[]).done();
    let serving = site.program.serve(&[]);
    let begin = Barrier::new(100);
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                begin.wait();
                assert_eq!(ask(&serving, "orders", BCRYPT_SECRET).status, 200);
            });
        }
    });
    assert_eq!(verified(&serving), 1.0);
    // A response waits only briefly for the digest to be stored.
    let upgrades = || metric(&serving, "mintage_password_hash_upgrades_total");
    until("the hash is replaced", PROPAGATION_TIMEOUT, || upgrades() > 0.0);
    assert_eq!(upgrades(), 1.0);
}

/// 150 different secrets concurrently: two hashes are verified, 64 wait, and the other requests get
/// 503.
#[test]
fn a_full_password_hash_queue_is_503_and_other_clients_get_tokens() {
    let site = Site::sqlite();
    import_costly(&site, 10);
    let digest_client = site.program.create_client(&["--name", "n", "--scope", "a"]);
    let serving = site.program.serve(&[]);
    let (answers, under_way) = std::thread::scope(|scope| {
        let guess = |number: usize| {
            let serving = &serving;
            scope.spawn(move || ask(serving, &format!("costly-{}", number % 10), &format!("guess-{number}")))
        };
        let guesses: Vec<_> = (0..150).map(guess).collect();
        let mut under_way = Vec::new();
        while !guesses.iter().all(|guess| guess.is_finished()) {
            // A client whose secret is stored as a digest is not affected.
            assert_eq!(token_request(&digest_client, &[]).send(serving.address).status, 200);
            let in_state = |state| {
                metric(
                    &serving,
                    &format!("mintage_password_hash_in_progress{{state=\"{state}\"}}"),
                )
            };
            under_way.push((in_state("running"), in_state("waiting")));
        }
        let answers: Vec<Response> = guesses.into_iter().map(|guess| guess.join().unwrap()).collect();
        (answers, under_way)
    });
    let most = |numbers: &mut dyn Iterator<Item = f64>| numbers.fold(0.0, f64::max);
    assert_eq!(most(&mut under_way.iter().map(|(running, _)| *running)), 2.0);
    let waiting = most(&mut under_way.iter().map(|(_, waiting)| *waiting));
    // More than 64 is possible, because the two metrics are not read atomically.
    assert!((32.0..=66.0).contains(&waiting), "{waiting}");
    let (rejected, verified): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 503);
    assert!(rejected.len() >= 32, "{} of 150 were rejected", rejected.len());
    for answer in rejected {
        answer.assert_temporarily_unavailable();
        assert!(answer.header("retry-after").is_some());
    }
    for answer in verified {
        answer.assert_invalid_client();
    }
    let works = || (ask(&serving, "costly-0", GENERATED_SECRET).status == 200).then_some(());
    eventually("the queue is empty again", PROPAGATION_TIMEOUT, works);
}

/// Imports clients `costly-0` and so on, whose hashes take about 100 ms to verify.
fn import_costly(site: &Site, count: usize) {
    let costly = bcrypt::hash(GENERATED_SECRET, 11).unwrap();
    let clients: Vec<Value> = (0..count)
        .map(|number| hydra_client(&format!("costly-{number}"), &costly))
        .collect();
    site.import(&json!(clients).to_string(), &[]).done();
}

#[test]
fn p17_wrong_secrets_for_a_password_hash_count_as_failures() {
    let site = Site::of(
        testkit::program!()
            .with_database()
            .with("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE", "3"),
    );
    site.import(&hydra_client("orders", BCRYPT).to_string(), &[]).done();
    let serving = site.program.serve(&[]);
    for number in 0..3 {
        ask(&serving, "orders", &format!("guess-{number}")).assert_invalid_client();
    }
    for number in 3..20 {
        assert_eq!(ask(&serving, "orders", &format!("guess-{number}")).status, 429);
    }
    assert_eq!(verified(&serving), 3.0, "beyond the limit no hash is verified");
}

#[test]
fn p17_disconnecting_during_password_hash_verification_counts_as_a_failure() {
    let site = Site::of(
        testkit::program!()
            .with_database()
            .with("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE", "3"),
    );
    import_costly(&site, 1);
    let serving = site.program.serve(&[]);
    for number in 0..3 {
        let stream = TcpStream::connect(serving.address).unwrap();
        let guess = token_request(&TestClient::new("costly-0", &format!("guess-{number}")), &[]);
        (&stream).write_all(&guess.bytes()).unwrap();
        let begun = || (verified(&serving) + running(&serving) > f64::from(number)).then_some(());
        eventually("verification has started", PROPAGATION_TIMEOUT, begun);
        // With linger 0 the connection is reset, which drops the request.
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(stream);
        let ended = || (verified(&serving) > f64::from(number)).then_some(());
        eventually("verification has ended", PROPAGATION_TIMEOUT, ended);
        // The failure is counted after the verification, whether or not the server has noticed that
        // the caller hung up.
        let counted = || metric(&serving, "mintage_denials_total{reason=\"wrong_secret\"}") > f64::from(number);
        until("the failure is counted", PROPAGATION_TIMEOUT, counted);
    }
    let limited = || (ask(&serving, "costly-0", "guess").status == 429).then_some(());
    assert!(limited().is_some());
}

/// Otherwise someone could guess the secret of an operator without a trace in the audit log.
#[test]
fn disconnecting_during_the_verification_of_an_operators_secret_is_audited() {
    let app = TestApp::start();
    let operator = app.client(|client| {
        client.scope = Scope::parse("mintage:admin").unwrap();
        client.default_scope = Scope::empty();
        let hash = bcrypt::hash(GENERATED_SECRET, 4).unwrap();
        client.secrets[0].hash = SecretHash::from_stored(&hash).unwrap();
    });
    let guess = token_request(&operator.with_secret("guess"), &[]);
    let turn = app.hold_password_verifications();
    let stream = TcpStream::connect(app.address).unwrap();
    (&stream).write_all(&guess.bytes()).unwrap();
    until("the verification waits for its turn", PROPAGATION_TIMEOUT, || {
        Scrape::of(app.address).value(WAITING) == Some(1.0)
    });
    // With linger 0 the connection is reset, which drops the request.
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
    let failed = eventually("the failure is audited", PROPAGATION_TIMEOUT, || {
        let lines = app.database(|conn| mintage::db::audit::since(conn, None, 1000));
        lines.into_iter().find(|line| line.action == "operator.sign_in_failed")
    });
    assert_eq!(failed.subject, operator.id);
    assert_eq!(failed.detail["reason"], "wrong_secret");
    drop(turn);
}

#[test]
fn p15_the_client_status_after_the_hash_verification_decides() {
    let app = TestApp::start();
    let client = app.client(|client| {
        let hash = bcrypt::hash(GENERATED_SECRET, 4).unwrap();
        client.secrets[0].hash = SecretHash::from_stored(&hash).unwrap();
    });
    let client = client.with_secret(GENERATED_SECRET);
    let disable = Request::new("PATCH", &format!("/admin/clients/{}", client.id))
        .bearer(&app.issue_with_scope("mintage:admin"))
        .json(&json!({"enabled": false}));
    std::thread::scope(|scope| {
        let turn = app.hold_password_verifications();
        let right = scope.spawn(|| app.ask(&client, &[]));
        until("the verification waits for its turn", PROPAGATION_TIMEOUT, || {
            Scrape::of(app.address).value(WAITING) == Some(1.0)
        });
        assert_eq!(app.send(disable).status, 200);
        assert!(!right.is_finished(), "its turn has not come");
        drop(turn);
        right.join().unwrap().assert_invalid_client();
    });
}

#[test]
fn a_revoked_secret_is_denied_even_if_it_was_verified_before() {
    let site = Site::sqlite();
    site.import(&hydra_client("orders", LOW_ENTROPY).to_string(), &[])
        .done();
    let serving = site.program.serve(&[]);
    assert_eq!(ask(&serving, "orders", LOW_ENTROPY_SECRET).status, 200);
    let listed = site
        .program
        .run(&["client", "secret", "list", "orders", "--json"])
        .json();
    let id = listed["items"][0]["secret_id"].as_str().unwrap();
    site.program.run(&["client", "secret", "revoke", "orders", id]).done();
    let denied = || (ask(&serving, "orders", LOW_ENTROPY_SECRET).status == 401).then_some(());
    eventually("the secret is denied", PROPAGATION_TIMEOUT, denied);
}

#[test]
fn p15_an_expired_secret_is_denied_even_if_it_was_verified_before() {
    let setup = Setup::new().with_mock_clock();
    let end = UnixMillis(setup.now().0 + 1000);
    let app = setup.start();
    let client = app.client(|client| {
        client.secrets[0].hash = SecretHash::from_stored(LOW_ENTROPY).unwrap();
        client.secrets[0].expires_at = Some(end);
    });
    let client = client.with_secret(LOW_ENTROPY_SECRET);
    app.advance(Duration::from_millis(999));
    assert_eq!(app.ask(&client, &[]).status, 200);
    app.advance(Duration::from_millis(1));
    app.ask(&client, &[]).assert_invalid_client();
}

/// curl sends credentials without the form encoding of RFC 6749 §2.3.1.
#[test]
fn imported_secrets_with_plus_and_percent_are_accepted_as_curl_sends_them() {
    const SECRET: &str = "Ab+d%41efgh/Zq8hW2xk5Tn9Lr3V=";
    let site = Site::sqlite();
    let line = |id: &str, secret: &str| format!("{id},orders:read,{secret}\n");
    let clients = [
        ("plain", SECRET),
        ("per%cent", SECRET),
        ("plus+one", SECRET),
        ("chosen", "50%+tax"),
    ];
    let csv: String = clients.map(|(id, secret)| line(id, secret)).concat();
    site.import(&format!("client_id,scope,secret\n{csv}"), &[]).done();
    let serving = site.program.serve(&[]);
    let curl = |id: &str, secret: &str| {
        let output = Command::new("curl")
            .args([
                "-s",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "-u",
                &format!("{id}:{secret}"),
            ])
            .args([
                "-d",
                "grant_type=client_credentials",
                &format!("http://{}/token", serving.address),
            ])
            .output()
            .expect("this test needs curl");
        String::from_utf8(output.stdout).unwrap()
    };
    for (id, secret) in clients {
        assert_eq!(curl(id, secret), "200", "{id}");
        assert_eq!(ask(&serving, id, secret).status, 200, "{id}");
        assert_eq!(curl(id, &secret[1..]), "401", "{id}");
    }
}

#[test]
fn p15_a_disabled_client_is_denied_even_with_the_right_secret() {
    let app = TestApp::shared();
    let client = app.client(|client| {
        client.secrets[0].hash = SecretHash::from_stored(LOW_ENTROPY).unwrap();
        client.enabled = false;
    });
    for _ in 0..2 {
        app.ask(&client.with_secret(LOW_ENTROPY_SECRET), &[])
            .assert_invalid_client();
    }
}

#[test]
fn clients_can_be_imported_from_standard_input() {
    let program = testkit::program!().with_database();
    program.write("clients", &hydra_client("orders", BCRYPT).to_string());
    let mut command = program.command(&["client", "import", "-"]);
    let output = command
        .stdin(File::open(program.path("clients")).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        program.run(&["client", "list", "--json"]).json()["items"][0]["client_id"],
        "orders"
    );
}

#[test]
fn an_unreadable_import_exits_with_1_and_a_usage_error_with_2() {
    let site = Site::sqlite();
    let missing = site.program.run(&["client", "import", "missing"]);
    assert!(missing.failed(1).contains("missing cannot be read"));
    assert!(site.import("{}", &[]).failed(1).contains("no known format"));
    assert!(site.import("client_id,colour\n", &[]).failed(1).contains("column 2"));
    assert!(site.import("[", &["--format", "csv"]).failed(1).contains("column 1"));
    assert!(site.import("[]", &["--format", "ldap"]).failed(2).contains("ldap"));
    site.import("[]", &["--format", "hydra"]).done();
}

#[test]
fn g7_while_the_database_is_locked_a_secret_works_and_its_hash_is_replaced_later() {
    let app = Setup::new()
        .configured(|config| config.database.query_timeout = config::Duration::seconds(1))
        .with_mock_clock()
        .start();
    let hash = SecretHash::from_stored(BCRYPT).unwrap();
    let client = app
        .client(|client| client.secrets[0].hash = hash.clone())
        .with_secret(BCRYPT_SECRET);
    // Loads the client into the caches of both workers: connections are distributed round-robin.
    for _ in 0..4 {
        app.ask(&client.with_secret("wrong"), &[]).assert_invalid_client();
    }
    let mut lock = app.sqlite();
    lock.batch_execute("BEGIN IMMEDIATE").unwrap();
    for _ in 0..4 {
        assert_eq!(app.ask(&client, &[]).status, 200);
    }
    let hash_now = || {
        let found = app.database(|conn| clients::find(conn, &client.id()));
        found.unwrap().secrets[0].hash.to_stored()
    };
    // Once no connection is in use, the write has timed out.
    let timed_out = || {
        let in_use = Scrape::of(app.admin_address).value("mintage_pool_connections{state=\"in_use\"}");
        (in_use == Some(0.0)).then_some(())
    };
    eventually("the write has timed out", PROPAGATION_TIMEOUT, timed_out);
    lock.batch_execute("ROLLBACK").unwrap();
    assert_eq!(app.ask(&client, &[]).status, 200);
    assert_eq!(hash_now(), BCRYPT, "the write is not retried immediately");
    let replaced = || {
        app.advance(Duration::from_secs(10));
        assert_eq!(app.ask(&client, &[]).status, 200);
        hash_now().starts_with("sha256:").then_some(())
    };
    eventually("the hash is replaced", PROPAGATION_TIMEOUT, replaced);
}
