//! Rotation of signing keys (P50): a verifier that respects `max-age` never receives a token with
//! an unknown key.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode_header};
use mintage::config;
use mintage::db::signing_keys;
use mintage::keys::KeyRecord;
use mintage::oauth::alg::Alg;
use serde_json::{Value, json};

use crate::introspection::is_active;
use testkit::app::{ISSUER, Setup};
use testkit::http::{Connection, Request, Response};
use testkit::poll::until;
use testkit::postgres;
use testkit::sqlite::private_keys;
use testkit::token::{part, token_request};
use testkit::{TestApp, TestClient};

const KEYS: &str = "/admin/keys";
const ROTATE: &str = "/admin/keys/rotate";
const JWKS: &str = "/.well-known/jwks.json";

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long the rotator may take to notice that a rotation is due, and to generate RSA keys on a
/// busy machine.
const ROTATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The items of `GET /admin/keys`.
fn listed(app: &TestApp) -> Vec<Value> {
    let token = app.issue_with_scope("mintage:read");
    let answer = app.send(Request::get(KEYS).bearer(&token));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.assert_common_headers();
    answer.json()["items"].as_array().unwrap().clone()
}

fn rotate(app: &TestApp, body: Option<Value>) -> Response {
    let token = app.issue_with_scope("mintage:admin");
    let request = Request::post(ROTATE).bearer(&token);
    app.send(match body {
        Some(body) => request.json(&body),
        None => request,
    })
}

/// The keys that a response to a rotation lists.
#[track_caller]
fn created(answer: &Response) -> Vec<Value> {
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["items"].as_array().unwrap().clone()
}

fn kids(app: &TestApp) -> BTreeSet<String> {
    let keys = app.send(Request::get(JWKS)).json()["keys"].as_array().unwrap().clone();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The kid of the key that currently signs for a client.
fn signer(app: &TestApp, client: &TestClient) -> String {
    kid(&app.issue(client, &[]))
}

fn kid(token: &str) -> String {
    part(token, 0)["kid"].as_str().unwrap().to_owned()
}

fn text<'a>(key: &'a Value, member: &str) -> &'a str {
    key[member].as_str().unwrap()
}

/// Probes four times: connections are distributed round-robin, so each of two workers is reached
/// twice.
fn on_every_worker(probe: impl Fn() -> bool) -> bool {
    (0..4).all(|_| probe())
}

#[test]
fn keys_are_listed_without_private_members() {
    let app = TestApp::shared();
    let keys = listed(&app);
    assert_eq!(keys.len(), 5);
    let members = [
        "activates_at",
        "alg",
        "created_at",
        "encrypted",
        "kid",
        "retires_at",
        "state",
    ];
    for key in keys {
        assert_eq!(key.as_object().unwrap().keys().collect::<Vec<_>>(), members);
        assert_eq!((&key["state"], &key["retires_at"]), (&json!("active"), &Value::Null));
    }
}

#[test]
fn p50_a_new_key_is_published_immediately_and_signs_an_hour_later() {
    let app = Setup::new().with_mock_clock().start();
    let client = app.client(|client| client.ttl_seconds = Some(30 * 24 * 3600));
    let (old, before) = (app.issue(&client, &[]), kids(&app));
    let new = created(&rotate(&app, Some(json!({"alg": "ES256"}))));
    assert_eq!(
        (new.len(), text(&new[0], "alg"), text(&new[0], "state")),
        (1, "ES256", "next")
    );
    let new = text(&new[0], "kid").to_owned();
    assert!(!before.contains(&new) && kids(&app).contains(&new));
    app.advance(HOUR - Duration::from_millis(1));
    assert!(on_every_worker(|| signer(&app, &client) == kid(&old)));
    app.advance(Duration::from_millis(1));
    assert!(on_every_worker(|| signer(&app, &client) == new));
    assert!(is_active(&app, &client, &old));
    assert!(kids(&app).contains(&kid(&old)));
}

#[test]
fn p50_an_instance_whose_clock_is_an_hour_ahead_does_not_use_a_key_too_early() {
    let first = Setup::new().with_mock_clock().start();
    let ahead = Setup::on_database_of(&first).with_mock_clock().start();
    ahead.advance(HOUR);
    let client = first.client(|_| {});
    let old = signer(&first, &client);
    let new = text(&created(&rotate(&first, Some(json!({"alg": "ES256"}))))[0], "kid").to_owned();
    ahead.wait_for_change_feed();
    assert!(kids(&ahead).contains(&new));
    assert!(on_every_worker(|| signer(&ahead, &client) == old));
    ahead.advance(HOUR);
    assert!(on_every_worker(|| signer(&ahead, &client) == new));
}

#[test]
fn p50_a_retired_key_stays_until_its_last_token_has_expired_and_is_then_removed() {
    let app = Setup::new().with_mock_clock().start();
    let client = app.client(|client| client.ttl_seconds = Some(30 * 24 * 3600));
    let first = signer(&app, &client);
    let new = created(&rotate(&app, Some(json!({"alg": "ES256"}))));
    app.advance(HOUR - Duration::from_millis(1));
    let last = app.issue(&client, &[]);
    assert_eq!(kid(&last), first);
    // A whole second before, because `exp` is rounded down to a second.
    app.advance(30 * DAY - Duration::from_secs(1));
    assert!(is_active(&app, &client, &last));
    // Another rotation, which also loads the keys again.
    created(&rotate(&app, Some(json!({"alg": "EdDSA"}))));
    assert!(is_active(&app, &client, &last) && kids(&app).contains(&first));
    app.advance(DAY + Duration::from_millis(1_001));
    let has_row = || listed(&app).iter().any(|key| key["kid"] == first.as_str());
    until("the first key is gone", ROTATION_TIMEOUT, || {
        !kids(&app).contains(&first) && !has_row()
    });
    assert_eq!(signer(&app, &client), text(&new[0], "kid"));
}

#[test]
fn the_list_shows_the_state_of_each_key() {
    let app = Setup::new().with_mock_clock().start();
    let states = || -> Vec<(String, bool)> {
        let keys = listed(&app);
        let of_alg = keys.iter().filter(|key| key["alg"] == "HS256");
        of_alg
            .map(|key| (text(key, "state").to_owned(), key["retires_at"].is_null()))
            .collect()
    };
    let state = |name: &str, endless| (name.to_owned(), endless);
    created(&rotate(&app, Some(json!({"alg": "HS256"}))));
    assert_eq!(states(), [state("active", false), state("next", true)]);
    app.advance(HOUR);
    assert_eq!(states(), [state("retired", false), state("active", true)]);
}

#[test]
fn at_most_one_key_per_algorithm_awaits_activation() {
    let app = Setup::new().with_mock_clock().start();
    created(&rotate(&app, Some(json!({"alg": "ES256"}))));
    let rejected = rotate(&app, Some(json!({"alg": "ES256"})));
    let detail = "a new key is already published, GET /admin/keys shows when it is activated";
    rejected.assert_problem(409, "Conflict", detail, None);
    // A rotation of all algorithms skips those that have a key awaiting activation.
    let algs = |keys: &[Value]| keys.iter().map(|key| text(key, "alg").to_owned()).collect::<Vec<_>>();
    assert_eq!(
        algs(&created(&rotate(&app, None))),
        ["EdDSA", "RS256", "PS256", "HS256"]
    );
    assert_eq!((listed(&app).len(), kids(&app).len()), (10, 8));
    app.advance(HOUR);
    assert_eq!(algs(&created(&rotate(&app, Some(json!({"alg": "ES256"}))))), ["ES256"]);
}

#[test]
fn rotation_requires_the_admin_scope_and_a_known_algorithm() {
    let app = TestApp::shared();
    let read = app.issue_with_scope("mintage:read");
    assert_eq!(app.send(Request::post(ROTATE).bearer(&read)).status, 403);
    assert_eq!(app.send(Request::post(ROTATE)).status, 401);
    assert_eq!(app.send(Request::get(KEYS)).status, 401);
    const ALGS: &str = "alg must be one of ES256, EdDSA, RS256, PS256, HS256, or null";
    for (body, detail) in [
        (json!({"alg": "none"}), ALGS),
        (json!({"alg": 1}), ALGS),
        (
            json!({"kid": "x"}),
            "`kid` is not a member: it must be one of alg, immediately",
        ),
        (json!([1]), "the body must be a JSON object"),
    ] {
        rotate(&app, Some(body)).assert_problem(400, "Bad Request", detail, None);
    }
    let get = app.send(Request::get(ROTATE).bearer(&read));
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    assert_eq!(listed(&app).len(), 5);
}

#[test]
fn immediate_rotation_removes_a_compromised_key_and_invalidates_its_tokens() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    let hs256 = app.client(|client| client.alg = Some(Alg::Hs256));
    let (compromised, other) = (app.issue(&client, &[]), app.issue(&hs256, &[]));
    created(&rotate(&app, Some(json!({"alg": "ES256"}))));
    let new = created(&rotate(&app, Some(json!({"alg": "ES256", "immediately": true}))));
    assert_eq!(text(&new[0], "state"), "active");
    assert!(on_every_worker(|| signer(&app, &client) == text(&new[0], "kid")));
    assert!(on_every_worker(|| !is_active(&app, &client, &compromised)));
    assert!(is_active(&app, &hs256, &other));
    assert!(!kids(&app).contains(&kid(&compromised)));
    assert_eq!(listed(&app).len(), 5);
}

#[test]
fn p29_a_new_hs256_key_signs_and_is_never_published() {
    let app = Setup::new().with_mock_clock().start();
    let client = app.client(|client| client.alg = Some(Alg::Hs256));
    let (old, before) = (app.issue(&client, &[]), kids(&app));
    let new = created(&rotate(&app, Some(json!({"alg": "HS256"}))));
    assert_eq!(kids(&app), before);
    app.advance(HOUR - Duration::from_secs(1));
    assert!(is_active(&app, &client, &old));
    app.advance(Duration::from_secs(1));
    let token = app.issue(&client, &[]);
    assert_eq!(kid(&token), text(&new[0], "kid"));
    assert!(is_active(&app, &client, &token));
}

#[test]
fn new_keys_are_stored_encrypted() {
    let encryption_key = testkit::sample::ENCRYPTION_KEYS[0].to_owned();
    let app = Setup::new()
        .configured(|config| config.keys.encryption_key = encryption_key.into())
        .start();
    let new = created(&rotate(&app, Some(json!({"alg": "EdDSA"}))));
    assert_eq!(new[0]["encrypted"], true);
    let stored = private_keys(&app.database_path());
    let (_, private) = stored.iter().find(|(kid, _)| kid == text(&new[0], "kid")).unwrap();
    // 48 bytes of PKCS#8, preceded by the nonce and followed by the tag.
    assert_eq!((stored.len(), private.len()), (6, 12 + 48 + 16));
    let stopped = app.stop().unwrap();
    let restarted = stopped.0.start();
    assert_eq!(listed(&restarted).len(), 6);
}

#[test]
fn p50_keys_rotate_automatically_when_due() {
    let app = Setup::new().with_mock_clock().start();
    let client = app.client(|_| {});
    let first = signer(&app, &client);
    // The keys of the template are an hour old.
    app.advance(90 * DAY - 3 * HOUR);
    assert_eq!(kids(&app).len(), 4);
    app.advance(HOUR);
    until("the new keys are published", ROTATION_TIMEOUT, || kids(&app).len() == 8);
    assert_eq!(signer(&app, &client), first);
    app.advance(HOUR);
    assert_ne!(signer(&app, &client), first);
}

#[test]
fn p50_an_instance_without_change_feed_does_not_let_its_keys_be_cached() {
    let app = Setup::new()
        .configured(|config| {
            config.keys.jwks_max_age = config::Duration::seconds(2);
            config.keys.publish_before = config::Duration::seconds(2);
        })
        .start();
    let cache_control = || app.send(Request::get(JWKS)).header("cache-control").unwrap().to_owned();
    assert_eq!(cache_control(), "public, max-age=2");
    app.sql("ALTER TABLE changes RENAME TO changes_away");
    until("max-age is shortened", ROTATION_TIMEOUT, || {
        cache_control() == "public, max-age=0"
    });
    app.sql("ALTER TABLE changes_away RENAME TO changes");
    until("max-age is as before", ROTATION_TIMEOUT, || {
        cache_control() == "public, max-age=2"
    });
}

#[test]
fn p50_the_command_line_rotates_the_keys_of_a_running_server() {
    let program = testkit::program!().with_database();
    let serving = program.serve(&[]);
    let new = program.run(&["key", "rotate", "--alg", "ES256", "--json"]).json();
    let new = text(&new["items"][0], "kid").to_owned();
    serving.wait_for_change_feed();
    assert!(Request::get(JWKS).send(serving.address).text().contains(&new));
    let rejected = program.run(&["key", "rotate", "--alg", "ES256"]);
    assert!(
        rejected
            .failed(1)
            .contains(&format!("already scheduled: ES256 {new} activates at "))
    );
    let rest = program.run(&["key", "rotate"]);
    let lines: Vec<&str> = rest.done().lines().collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[..4].iter().all(|line| line.contains(" published: ")));
    assert!(lines[4].starts_with(&format!("ES256 already scheduled: {new} activates at ")));
    assert_eq!(program.run(&["key", "list"]).done().lines().count(), 1 + 10);
}

#[test]
fn a_command_with_the_wrong_encryption_key_creates_no_keys() {
    let [right, other] = testkit::sample::ENCRYPTION_KEYS;
    let program = testkit::program!().with_database();
    let encrypted = program.with("MINTAGE_KEYS__ENCRYPTION_KEY", right);
    encrypted.serve(&[]).stop();
    encrypted.run(&["key", "rotate", "--alg", "ES256"]).done();
    for wrong in ["", other] {
        let mut program = testkit::program!();
        std::fs::copy(encrypted.database_path(), program.database_path()).unwrap();
        if !wrong.is_empty() {
            program = program.with("MINTAGE_KEYS__ENCRYPTION_KEY", wrong);
        }
        let rejected = program.run(&["key", "rotate", "--alg", "EdDSA"]);
        assert!(rejected.failed(1).contains("keys.encryption_key"), "{rejected:?}");
        assert_eq!(private_keys(&program.database_path()).len(), 6);
    }
    let program = testkit::program!()
        .with_database()
        .with("MINTAGE_KEYS__ENCRYPTION_KEY", right);
    let rejected = program.run(&["key", "rotate", "--alg", "EdDSA"]);
    assert!(rejected.failed(1).contains("keys.encryption_key"), "{rejected:?}");
    let unknown = program.run(&["key", "rotate", "--alg", "none"]);
    assert!(unknown.failed(2).contains("--alg must be one of"));
}

/// A resource server that caches the keys for `max-age`, even if it receives an unknown kid.
struct Verifier {
    issuer: SocketAddr,
    keys: JwkSet,
    fresh_until: Instant,
}

impl Verifier {
    fn new(issuer: SocketAddr) -> Self {
        Self {
            issuer,
            keys: JwkSet { keys: Vec::new() },
            fresh_until: Instant::now(),
        }
    }

    /// Verifies a token. The error is the reason why verification fails.
    fn verify(&mut self, token: &str) -> Result<(), String> {
        if self.fresh_until <= Instant::now() {
            let answer = Request::get(JWKS).send(self.issuer);
            let max_age = answer
                .header("cache-control")
                .unwrap()
                .strip_prefix("public, max-age=")
                .unwrap();
            self.fresh_until = Instant::now() + Duration::from_secs(max_age.parse().unwrap());
            assert_eq!(private_members(&answer.json()), Vec::<String>::new());
            self.keys = serde_json::from_value(answer.json()).unwrap();
        }
        let header = decode_header(token).map_err(|error| error.to_string())?;
        let kid = header.kid.unwrap();
        let key = self.keys.find(&kid).ok_or(format!("the key {kid} is unknown"))?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = 0;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        let key = DecodingKey::from_jwk(key).unwrap();
        let verified = jsonwebtoken::decode::<Value>(token, &key, &validation);
        verified.map(|_| ()).map_err(|error| error.to_string())
    }
}

fn private_members(jwks: &Value) -> Vec<String> {
    let keys = jwks["keys"].as_array().unwrap().iter();
    let members = keys.flat_map(|key| key.as_object().unwrap().keys().cloned());
    members
        .filter(|member| ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].contains(&member.as_str()))
        .collect()
}

/// How many keys must have signed before the tests with two instances end, and how long that may
/// take.
const KEYS_USED: usize = 3;
const RUN_TIMEOUT: Duration = Duration::from_secs(60);

/// The fastest possible rotation: every 6 s, because verifiers may cache the keys for a second.
fn with_fast_rotation(mut config: config::Config) -> config::Config {
    config.keys.rotate_every = config::Duration::seconds(1);
    config.keys.publish_before = config::Duration::seconds(1);
    config.keys.jwks_max_age = config::Duration::seconds(1);
    config
}

/// Verifies tokens of each of two instances immediately with the keys of the other, until the keys
/// have changed twice. Tokens issued in the meantime must still verify at the end.
fn assert_verifiers_unbroken(apps: [&TestApp; 2]) {
    let over = AtomicBool::new(false);
    let run = |alg: Alg, from: usize| {
        let client = apps[0].client(|client| client.alg = Some(alg));
        // The second instance learns of the client with a delay.
        until("the client is known", Duration::from_secs(5), || {
            apps[from].ask(&client, &[]).status == 200
        });
        let mut connection = Connection::open(apps[from].address);
        let mut verifier = Verifier::new(apps[1 - from].address);
        let (mut kids, mut tokens, request) = (BTreeSet::new(), Vec::new(), token_request(&client, &[]));
        let began = Instant::now();
        while kids.len() < KEYS_USED && began.elapsed() < RUN_TIMEOUT && !over.load(Ordering::Relaxed) {
            let token = connection.ask(&request).access_token();
            let verified = match alg {
                Alg::Hs256 => is_active(apps[1 - from], &client, &token)
                    .then_some(())
                    .ok_or("inactive".to_owned()),
                _ => verifier.verify(&token),
            };
            if let Err(reason) = verified {
                over.store(true, Ordering::Relaxed);
                panic!("{alg} after {:?}: {reason}", began.elapsed());
            }
            if kids.insert(kid(&token)) || tokens.len() < 20 {
                tokens.push(token);
            }
            // Moderate load, because other tests run in parallel.
            std::thread::sleep(Duration::from_millis(3));
        }
        assert!(
            over.load(Ordering::Relaxed) || kids.len() == KEYS_USED,
            "{alg}: {} keys were used",
            kids.len()
        );
        for token in &tokens {
            assert!(is_active(apps[1 - from], &client, token), "{alg}");
            assert!(alg == Alg::Hs256 || verifier.verify(token).is_ok(), "{alg}");
        }
    };
    std::thread::scope(|scope| {
        for (alg, from) in [
            (Alg::Es256, 0),
            (Alg::Es256, 1),
            (Alg::EdDsa, 1),
            (Alg::Rs256, 0),
            (Alg::Hs256, 0),
        ] {
            let run = &run;
            scope.spawn(move || run(alg, from));
        }
    });
    let records = apps[0].database(|conn| signing_keys::records(conn, None));
    assert_one_at_a_time(&records.believed);
}

/// No two keys of an algorithm await activation at the same time.
fn assert_one_at_a_time(keys: &[KeyRecord]) {
    for alg in Alg::ALL {
        let of_alg: Vec<&KeyRecord> = keys.iter().filter(|key| key.alg == alg).collect();
        for pair in of_alg.windows(2) {
            assert!(pair[0].activates_at <= pair[1].created_at, "{pair:?}");
            let lead = pair[1].activates_at.since(pair[1].created_at);
            assert_eq!(lead, 6000, "{:?}", pair[1]);
        }
    }
}

#[test]
fn p50_rotation_under_load_on_two_instances_breaks_no_verifier() {
    let first = Setup::new()
        .configured(|config| *config = with_fast_rotation(config.clone()))
        .start();
    let second = Setup::on_database_of(&first)
        .configured(|config| *config = with_fast_rotation(config.clone()))
        .start();
    assert_verifiers_unbroken([&first, &second]);
}

#[test]
fn p50_rotation_under_load_on_two_instances_breaks_no_verifier_on_postgres() {
    let url = postgres::empty().url;
    let start = || {
        Setup::on_empty_database()
            .configured(|config| {
                *config = with_fast_rotation(config.clone());
                config.database.url = url.clone();
                config.database.pool.max_size = 4;
            })
            .start()
    };
    assert_verifiers_unbroken([&start(), &start()]);
}
