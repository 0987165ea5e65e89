//! `/admin`: bearer tokens (P39 to P42), attacks on tokens (P51) and statistics.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use mintage::config;
use mintage::db::clients;
use mintage::oauth::alg::Alg;
use mintage::oauth::claims::{AccessTokenClaims, Audience};
use serde_json::{Value, json};
use testkit::app::{ADMIN, ISSUER, ORDERS, Setup};
use testkit::http::{Connection, Request, Response};
use testkit::sqlite::private_keys;
use testkit::token::{claims, part};
use testkit::{TestApp, eventually};

const CACHE_STATS: &str = "/admin/cache/stats";
const WRITER_STATS: &str = "/admin/writer/stats";
const POOL_STATS: &str = "/admin/pool/stats";
const CACHE_CLEAR: &str = "/admin/cache/clear";
const JANITOR_STATS: &str = "/admin/janitor/stats";
const STATS: [&str; 4] = [CACHE_STATS, WRITER_STATS, POOL_STATS, JANITOR_STATS];

/// `GET /admin/cache/stats`
pub fn cache_stats(app: &TestApp, token: &str) -> Value {
    let answer = Request::get(CACHE_STATS).bearer(token).send(app.admin_address);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[track_caller]
fn assert_missing_token(answer: &Response) {
    let challenge = Some("Bearer realm=\"mintage\"");
    answer.assert_problem(401, "Unauthorized", "a bearer token is required", challenge);
}

#[track_caller]
fn assert_malformed_header(answer: &Response) {
    let detail = "there must be one Authorization header of the form: Bearer TOKEN";
    let challenge = Some("Bearer realm=\"mintage\", error=\"invalid_request\"");
    answer.assert_problem(400, "Bad Request", detail, challenge);
}

#[track_caller]
fn assert_invalid_token(answer: &Response) {
    let challenge = Some("Bearer realm=\"mintage\", error=\"invalid_token\"");
    answer.assert_problem(401, "Unauthorized", "the token is not active", challenge);
}

#[track_caller]
fn assert_insufficient_scope(answer: &Response, scope: &str) {
    let challenge = format!("Bearer realm=\"mintage\", error=\"insufficient_scope\", scope=\"{scope}\"");
    answer.assert_problem(403, "Forbidden", "the token lacks the scope for this", Some(&challenge));
}

fn members(document: &Value) -> BTreeSet<&str> {
    document.as_object().unwrap().keys().map(String::as_str).collect()
}

fn get_stats(app: &TestApp, token: &str) -> Response {
    app.send(Request::get(CACHE_STATS).bearer(token))
}

#[test]
fn p39_the_scheme_is_case_insensitive() {
    let app = TestApp::shared();
    let token = app.issue_with_scope("mintage:admin");
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let answer = app.send(Request::get(POOL_STATS).header("Authorization", &format!("{scheme} {token}")));
        assert_eq!(answer.status, 200, "{scheme}");
    }
}

#[test]
fn p39_without_a_token_the_challenge_has_no_error_code() {
    let app = TestApp::shared();
    for path in STATS {
        assert_missing_token(&app.send(Request::get(path)));
    }
    assert_missing_token(&app.send(Request::post(CACHE_CLEAR)));
}

#[test]
fn p40_another_authentication_scheme_is_treated_as_no_token() {
    let app = TestApp::shared();
    let client = app.client_with_scope("mintage:admin");
    assert_missing_token(&app.send(Request::get(CACHE_STATS).basic(&client)));
    for header in ["Basic", "Digest a=b", "Negotiate", "", "Token abc", "Bearerabc def"] {
        assert_missing_token(&app.send(Request::get(CACHE_STATS).header("Authorization", header)));
    }
}

#[test]
fn p40_a_malformed_or_repeated_authorization_header_is_400() {
    let app = TestApp::shared();
    let token = app.issue_with_scope("mintage:admin");
    for header in [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer  abc",
        "Bearer a,b",
        "Bearer \"abc\"",
        "Bearer é",
        "Bearer a\tb",
    ] {
        assert_malformed_header(&app.send(Request::get(CACHE_STATS).header("Authorization", header)));
    }
    let client = app.client(|_| {});
    assert_malformed_header(&app.send(Request::get(CACHE_STATS).bearer(&token).bearer(&token)));
    assert_malformed_header(&app.send(Request::get(CACHE_STATS).bearer(&token).basic(&client)));
}

#[test]
fn p41_a_token_for_another_audience_is_denied() {
    let app = TestApp::shared();
    let valid = app.claims(&app.issue_with_scope("mintage:admin"));
    let with = |aud: Audience| app.sign(&AccessTokenClaims { aud, ..valid.clone() });
    assert_eq!(get_stats(&app, &with(Audience::One(ADMIN.into()))).status, 200);
    for other in [
        Audience::One(ISSUER.into()),
        Audience::One(ORDERS.into()),
        Audience::One(format!("{ADMIN}/").into()),
        Audience::Many(vec![ADMIN.into()]),
        Audience::Many(vec![ORDERS.into(), ADMIN.into()]),
    ] {
        assert_invalid_token(&get_stats(&app, &with(other)));
    }
}

#[test]
fn p41_a_token_of_another_deployment_is_denied() {
    let app = TestApp::shared();
    // Its own database and therefore its own keys; everything else is the same.
    let other = Setup::on_empty_database().start();
    assert_invalid_token(&get_stats(&app, &other.issue_with_scope("mintage:admin")));
}

#[test]
fn p41_a_token_expires_in_the_second_of_its_exp_claim() {
    let app = Setup::new().with_mock_clock().start();
    let client = app.client(|client| {
        client.scope = mintage::oauth::scope::Scope::parse("mintage:admin").unwrap();
        client.ttl_seconds = Some(60);
    });
    let token = app.issue(&client, &[("scope", "mintage:admin")]);
    app.advance(Duration::from_millis(58_999));
    assert_eq!(get_stats(&app, &token).status, 200);
    app.advance(Duration::from_millis(1_001));
    assert_invalid_token(&get_stats(&app, &token));
}

#[test]
fn p41_the_token_of_a_disabled_or_deleted_client_is_denied() {
    let app = TestApp::shared();
    let [disabled, deleted] = [(), ()].map(|()| app.client_with_scope("mintage:admin"));
    let tokens = [&disabled, &deleted].map(|client| app.issue(client, &[("scope", "mintage:admin")]));
    // The change takes effect even if the clock of the process that makes it is wrong.
    let long_ago = mintage::time::UnixMillis(1);
    app.database(|conn| testkit::sample::set_enabled(conn, &disabled.id(), false, long_ago));
    app.database(|conn| clients::delete(conn, &deleted.id(), long_ago));
    app.wait_for_change_feed();
    for token in tokens {
        assert_invalid_token(&get_stats(&app, &token));
    }
}

#[test]
fn p41_a_missing_scope_is_403_and_named_in_the_challenge() {
    let app = TestApp::shared();
    for scope in ["mintage:administrator", "mintage:introspect", "mintage:ADMIN"] {
        let token = app.issue_with_scope(scope);
        for path in STATS {
            assert_insufficient_scope(&app.send(Request::get(path).bearer(&token)), "mintage:read");
        }
        assert_insufficient_scope(&app.send(Request::post(CACHE_CLEAR).bearer(&token)), "mintage:admin");
    }
}

#[test]
fn p42_a_token_outside_the_authorization_header_is_ignored() {
    let app = TestApp::shared();
    let token = app.issue_with_scope("mintage:admin");
    assert_missing_token(&app.send(Request::get(&format!("{CACHE_STATS}?access_token={token}"))));
    assert_missing_token(&app.send(Request::post(CACHE_CLEAR).form(&[("access_token", &token)])));
    assert_missing_token(&app.send(Request::get(CACHE_STATS).header("Cookie", &format!("access_token={token}"))));
    assert_missing_token(&app.send(Request::get(CACHE_STATS).header("X-Authorization", &format!("Bearer {token}"))));
}

#[test]
fn the_read_scope_allows_reads_but_no_writes() {
    let app = TestApp::shared();
    let reader = app.issue_with_scope("mintage:read");
    for path in STATS {
        assert_eq!(app.send(Request::get(path).bearer(&reader)).status, 200, "{path}");
        assert_eq!(
            app.send(Request::new("HEAD", path).bearer(&reader)).status,
            200,
            "{path}"
        );
    }
    assert_insufficient_scope(&app.send(Request::post(CACHE_CLEAR).bearer(&reader)), "mintage:admin");
}

#[test]
fn cache_stats_have_exactly_these_members() {
    let app = Setup::new()
        .configured(|config| config.cache.capacity = 70)
        .configured(|config| config.cache.warm = 0)
        .start();
    let stats = cache_stats(&app, &app.issue_with_scope("mintage:admin"));
    let counts = [
        "hits",
        "misses",
        "hit_rate",
        "stale_served",
        "negative_hits",
        "loads",
        "load_failures",
        "evictions",
        "expirations",
        "invalidations",
        "entries",
        "negative_entries",
        "capacity",
    ];
    let of_server = [&counts[..], &["ttl_seconds", "workers"]].concat();
    assert_eq!(members(&stats), BTreeSet::from_iter(of_server));
    let workers = stats["workers"].as_array().unwrap();
    let of_worker = [&counts[..], &["worker"]].concat();
    for (number, worker) in workers.iter().enumerate() {
        assert_eq!(members(worker), BTreeSet::from_iter(of_worker.clone()));
        assert_eq!((&worker["worker"], &worker["capacity"]), (&json!(number), &json!(70)));
    }
    assert_eq!(
        (workers.len(), &stats["capacity"], &stats["ttl_seconds"]),
        (2, &json!(140), &json!(600.0))
    );
}

#[test]
fn cache_stats_count_hits_misses_and_loads() {
    let app = Setup::new().configured(|config| config.server.workers = 1).start();
    let admin = app.issue_with_scope("mintage:admin");
    let client = app.client(|_| {});
    app.wait_for_change_feed();
    let before = cache_stats(&app, &admin);
    for _ in 0..3 {
        app.issue(&client, &[]);
    }
    for _ in 0..2 {
        app.send(Request::post("/token").basic_raw("nobody:x").form_raw("a=b"))
            .assert_invalid_client();
    }
    let after = cache_stats(&app, &admin);
    let grown = |name: &str| after[name].as_u64().unwrap() - before[name].as_u64().unwrap();
    // The lookup of the operator's own client is not counted.
    assert_eq!((grown("misses"), grown("hits"), grown("loads")), (2, 2 + 1, 2));
    assert_eq!(
        (grown("negative_hits"), grown("entries"), grown("negative_entries")),
        (1, 1, 1)
    );
    assert_eq!(
        grown("load_failures") + grown("evictions") + grown("expirations") + grown("stale_served"),
        0
    );
    let (hits, misses) = (after["hits"].as_f64().unwrap(), after["misses"].as_f64().unwrap());
    assert_eq!(after["hit_rate"], hits / (hits + misses));
}

#[test]
fn writer_stats_have_exactly_these_members() {
    let app = TestApp::start();
    let token = app.issue_with_scope("mintage:admin");
    let stats = || app.send(Request::get(WRITER_STATS).bearer(&token)).json();
    let settled = eventually("the record is flushed", Duration::from_secs(10), || {
        Some(stats()).filter(|stats| stats["flushed_total"] == 1)
    });
    let seconds = settled["last_flush"]["seconds"].as_f64().unwrap();
    assert!((0.0..5.0).contains(&seconds));
    assert_eq!(
        settled,
        json!({
            "mode": "batch", "durability": "async", "pending": 0, "max_pending": 100_000, "oldest_unflushed_seconds": 0.0,
            "flushed_total": 1, "batches_total": 1, "flush_failures_total": 0, "rejected_total": 0,
            "dead_lettered_total": 0, "last_flush": {"rows": 1, "seconds": seconds},
        })
    );
}

#[test]
fn pool_stats_have_exactly_these_members() {
    let app = Setup::new()
        .configured(|config| config.database.pool.max_size = 7)
        .start();
    let stats = app
        .send(Request::get(POOL_STATS).bearer(&app.issue_with_scope("mintage:read")))
        .json();
    let expected = [
        "backend",
        "max_size",
        "connections",
        "idle",
        "in_use",
        "waiting",
        "wait_seconds_total",
        "timeouts_total",
        "validations_total",
        "discarded_total",
        "statements_total",
        "breaker",
        "replicas",
        "replica_reads_total",
        "replica_fallbacks_total",
    ];
    assert_eq!(members(&stats), BTreeSet::from(expected));
    assert_eq!(
        (&stats["backend"], &stats["max_size"], &stats["breaker"]),
        (&json!("sqlite"), &json!(7), &json!("closed"))
    );
    let number = |name: &str| stats[name].as_u64().unwrap();
    assert_eq!(number("connections"), number("idle") + number("in_use"));
    assert_eq!((number("waiting"), number("timeouts_total")), (0, 0));
}

#[test]
fn clearing_the_cache_is_204_and_empties_the_cache_of_every_worker() {
    let app = TestApp::start();
    let (operator, client) = (app.client_with_scope("mintage:admin"), app.client(|_| {}));
    app.wait_for_change_feed();
    let admin = app.issue(&operator, &[("scope", "mintage:admin")]);
    // Connections are distributed to both workers.
    for _ in 0..6 {
        app.issue(&client, &[]);
    }
    assert!(cache_stats(&app, &admin)["entries"].as_u64().unwrap() >= 3);
    let answer = app.send(Request::post(CACHE_CLEAR).bearer(&admin));
    assert_eq!(
        (answer.status, answer.body.len(), answer.header("content-type")),
        (204, 0, None)
    );
    let stats = cache_stats(&app, &admin);
    // The client of the operator itself, which every request looks up.
    assert_eq!(stats["entries"], 1);
    let loads = stats["loads"].as_u64().unwrap();
    app.issue(&client, &[]);
    assert!(cache_stats(&app, &admin)["loads"].as_u64().unwrap() > loads);
}

#[test]
fn clearing_the_cache_reveals_changes_missing_from_the_change_log() {
    let app = TestApp::start();
    let (admin, client) = (app.issue_with_scope("mintage:admin"), app.client(|_| {}));
    app.wait_for_change_feed();
    for _ in 0..4 {
        app.issue(&client, &[]);
    }
    // Bypasses the change log.
    app.sql(&format!(
        "UPDATE clients SET enabled = 0 WHERE client_id = '{}'",
        client.id
    ));
    assert_eq!(app.ask(&client, &[]).status, 200);
    assert_eq!(app.send(Request::post(CACHE_CLEAR).bearer(&admin)).status, 204);
    for _ in 0..4 {
        app.ask(&client, &[]).assert_invalid_client();
    }
}

#[test]
fn the_caller_is_authorized_before_the_body_is_read() {
    let app = TestApp::shared();
    let reader = app.issue_with_scope("mintage:read");
    let head = |request: Request| {
        request
            .header("Content-Type", "application/json")
            .header("Content-Length", "1000")
    };
    // The body never arrives, and the server does not wait for it.
    assert_missing_token(&app.send(head(Request::post(CACHE_CLEAR))));
    assert_insufficient_scope(
        &app.send(head(Request::post(CACHE_CLEAR).bearer(&reader))),
        "mintage:admin",
    );
    assert_missing_token(&app.send(Request::post(CACHE_CLEAR).body("application/json", "{nonsense")));
}

#[test]
fn p6_an_oversized_content_length_is_a_problem_document_on_admin() {
    let app = TestApp::shared();
    for path in [CACHE_CLEAR, CACHE_STATS, "/admin/nothing"] {
        let answer = app.send(Request::post(path).header("Content-Length", "81921"));
        answer.assert_problem(413, "Payload Too Large", "the body is too large", None);
        assert_eq!(answer.header("connection"), Some("close"));
    }
}

#[test]
fn with_a_separate_admin_listener_admin_is_not_on_the_public_one() {
    let app = Setup::new()
        .configured(|config| config.server.admin_listen = "127.0.0.1:0".into())
        .start();
    assert_ne!(app.address, app.admin_address);
    let token = app.issue_with_scope("mintage:admin");
    for path in STATS.into_iter().chain([CACHE_CLEAR]) {
        for method in ["GET", "POST"] {
            let public = app.send(Request::new(method, path).bearer(&token));
            public.assert_problem(404, "Not Found", "path not found", None);
        }
    }
    assert_eq!(cache_stats(&app, &token)["workers"].as_array().unwrap().len(), 3);
    assert_eq!(
        Request::post(CACHE_CLEAR).bearer(&token).send(app.admin_address).status,
        204
    );
    for path in ["/token", "/livez", "/.well-known/jwks.json"] {
        assert_eq!(Request::get(path).send(app.admin_address).status, 404, "{path}");
    }
}

#[test]
fn an_unknown_method_or_path_is_a_problem_document() {
    let app = TestApp::shared();
    let token = app.issue_with_scope("mintage:admin");
    const DETAIL: &str = "method not allowed";
    for (method, path, allowed) in [
        ("POST", CACHE_STATS, "GET, HEAD"),
        ("DELETE", POOL_STATS, "GET, HEAD"),
        ("GET", CACHE_CLEAR, "POST"),
        ("OPTIONS", CACHE_CLEAR, "POST"),
    ] {
        let answer = app.send(Request::new(method, path).bearer(&token));
        answer.assert_problem(405, "Method Not Allowed", DETAIL, None);
        assert_eq!(answer.header("allow"), Some(allowed));
    }
    for path in [
        "/admin",
        "/admin/",
        "/admin/nothing",
        "/admin/cache/stats/",
        "/admin/cache/Stats",
    ] {
        app.send(Request::get(path).bearer(&token))
            .assert_problem(404, "Not Found", "path not found", None);
    }
}

#[test]
fn attack_cross_origin_requests_to_admin_get_no_cors_headers() {
    let app = TestApp::shared();
    let token = app.issue_with_scope("mintage:admin");
    for request in [
        Request::get(CACHE_STATS).bearer(&token),
        Request::new("OPTIONS", CACHE_CLEAR),
        Request::post(CACHE_CLEAR).bearer(&token),
    ] {
        let answer = app.send(
            request
                .header("Origin", "https://evil.example")
                .header("Access-Control-Request-Method", "POST"),
        );
        assert!(
            !answer
                .headers
                .iter()
                .any(|(name, _)| name.starts_with("access-control-")),
            "{answer:?}"
        );
    }
}

#[test]
fn without_a_database_admin_responds_with_503() {
    let app = Setup::new().configured(|config| config.server.workers = 1).start();
    let admin = app.issue_with_scope("mintage:admin");
    app.sql("ALTER TABLE clients RENAME TO clients_away");
    assert_eq!(get_stats(&app, &admin).status, 200);
    let answer = app.send(Request::post("/admin/clients/x/revoke-tokens").bearer(&admin));
    answer.assert_unavailable_problem();
}

#[test]
fn attack_a_one_time_token_grants_no_admin_access() {
    let app = TestApp::shared();
    let client = app.client_with_scope("mintage:admin");
    let token = app.issue(&client, &[("scope", "mintage:admin"), ("one_time", "true")]);
    assert_invalid_token(&get_stats(&app, &token));
    assert_invalid_token(&app.send(Request::post(CACHE_CLEAR).bearer(&token)));
}

#[test]
fn attack_a_token_truncated_at_any_length_is_denied() {
    let app = TestApp::shared();
    let token = app.issue_with_scope("mintage:admin");
    let mut connection = Connection::open(app.address);
    assert_eq!(connection.ask(&Request::get(CACHE_STATS).bearer(&token)).status, 200);
    for length in 1..token.len() {
        assert_invalid_token(&connection.ask(&Request::get(CACHE_STATS).bearer(&token[..length])));
        assert_invalid_token(&connection.ask(&Request::get(CACHE_STATS).bearer(&token[length..])));
    }
}

#[test]
fn attack_a_token_modified_at_any_position_is_denied() {
    let app = TestApp::shared();
    for alg in [Alg::Es256, Alg::Hs256] {
        let client = app.client(|client| {
            client.scope = mintage::oauth::scope::Scope::parse("mintage:admin").unwrap();
            client.alg = Some(alg);
        });
        let token = app.issue(&client, &[("scope", "mintage:admin")]);
        let mut connection = Connection::open(app.address);
        for at in 0..token.len() {
            let old = token.as_bytes()[at];
            // The next letter differs in the lowest bits, which the last letter of a part may leave
            // unused.
            let new = if old == b'A' { 'B' } else { 'A' };
            let next = char::from(
                if old.is_ascii_alphanumeric() && old != b'Z' && old != b'z' && old != b'9' {
                    old + 1
                } else {
                    b'q'
                },
            );
            for letter in [new, next] {
                let edited = format!("{}{letter}{}", &token[..at], &token[at + 1..]);
                assert_invalid_token(&connection.ask(&Request::get(CACHE_STATS).bearer(&edited)));
            }
        }
    }
}

#[test]
fn attack_a_token_with_missing_or_additional_parts_is_denied() {
    let app = TestApp::shared();
    let token = app.issue_with_scope("mintage:admin");
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("not three parts")
    };
    for bad in [
        format!("{token}."),
        format!(".{token}"),
        format!("{token}="),
        format!("{token}.{signature}"),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}.{payload}.{signature}.{payload}.{signature}"),
        "a.b.c.d.e".into(),
        ".".repeat(1000),
        "..".into(),
        "A".repeat(8000),
        format!("{header}.{}.{signature}", "A".repeat(8000)),
    ] {
        assert_invalid_token(&get_stats(&app, &bad));
    }
    let json_serialization = json!({"payload": payload, "protected": header, "signature": signature}).to_string();
    assert_malformed_header(&get_stats(&app, &json_serialization));
}

/// Signs tokens with arbitrary headers and claims, with the real ES256 key of the server.
struct Forge {
    kid: String,
    key: EncodingKey,
    valid_claims: Value,
}

impl Forge {
    /// Starts from the claims of a valid token.
    fn of(app: &TestApp) -> Self {
        let token = app.issue_with_scope("mintage:admin");
        let kid = part(&token, 0)["kid"].as_str().unwrap().to_owned();
        let (_, private) = private_keys(&app.database_path())
            .into_iter()
            .find(|(known, _)| *known == kid)
            .unwrap();
        Self {
            kid,
            key: EncodingKey::from_ec_der(&private),
            valid_claims: claims(&token),
        }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |document: &Value| URL_SAFE_NO_PAD.encode(document.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, Algorithm::ES256).unwrap();
        format!("{message}.{signature}")
    }

    fn header(&self) -> Value {
        json!({"typ": "at+jwt", "alg": "ES256", "kid": self.kid})
    }

    /// A token with the valid claims, one of them changed; `Null` removes it.
    fn with_claim(&self, name: &str, value: Value) -> String {
        let mut claims = self.valid_claims.clone();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        self.sign(&self.header(), &claims)
    }

    fn with_header(&self, name: &str, value: Value) -> String {
        let mut header = self.header();
        match value {
            Value::Null => drop(header.as_object_mut().unwrap().remove(name)),
            value => header[name] = value,
        }
        self.sign(&header, &self.valid_claims)
    }
}

#[test]
fn attack_claims_that_this_server_never_issues_are_denied() {
    let app = TestApp::shared();
    let forge = Forge::of(&app);
    assert_eq!(
        get_stats(&app, &forge.sign(&forge.header(), &forge.valid_claims)).status,
        200
    );
    for (name, value) in [
        ("iss", json!("https://other.example")),
        ("iss", json!("http://127.0.0.1:8080/")),
        ("iss", json!([ISSUER])),
        ("iss", Value::Null),
        ("aud", json!(ORDERS)),
        ("aud", json!([])),
        ("aud", json!({"a": ISSUER})),
        ("aud", Value::Null),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!("9999999999")),
        ("exp", json!(9999999999.5)),
        ("exp", json!(1e300)),
        ("exp", Value::Null),
        ("iat", json!("1")),
        ("iat", Value::Null),
        ("scope", json!(["mintage:admin"])),
        ("scope", json!("")),
        ("scope", json!("mintage:admin ")),
        ("jti", json!("1")),
        ("jti", json!(1)),
        ("jti", Value::Null),
        ("client_id", json!("nobody")),
        ("client_id", json!("é")),
        ("client_id", Value::Null),
        ("sub", Value::Null),
        ("one_time", json!(true)),
        ("one_time", json!("false")),
    ] {
        let answer = get_stats(&app, &forge.with_claim(name, value.clone()));
        assert_eq!(answer.status, 401, "{name}={value}");
        assert_invalid_token(&answer);
    }
    assert_invalid_token(&get_stats(&app, &forge.sign(&forge.header(), &json!([]))));
}

#[test]
fn attack_jose_headers_that_this_server_never_issues_are_denied() {
    let app = TestApp::shared();
    let forge = Forge::of(&app);
    let jwk = app.send(Request::get("/.well-known/jwks.json")).json()["keys"][0].clone();
    let long = "x".repeat(4000);
    for (name, value) in [
        // `at+jwt` and `JWT` are what this server issues.
        ("typ", json!("jwt")),
        ("typ", json!("AT+JWT")),
        ("typ", json!("application/at+jwt")),
        ("typ", Value::Null),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("alg", json!("es256")),
        ("alg", Value::Null),
        ("kid", json!("../../etc/passwd")),
        ("kid", json!("?")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!("\u{0}")),
        ("kid", json!(long)),
        ("kid", json!("")),
        ("kid", json!(1)),
        ("kid", Value::Null),
        ("jwk", jwk),
        ("jku", json!(format!("http://{}/.well-known/jwks.json", app.address))),
        ("x5u", json!("http://127.0.0.1/")),
        ("x5c", json!([])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        let answer = get_stats(&app, &forge.with_header(name, value.clone()));
        assert_eq!(answer.status, 401, "{name}={value}");
        assert_invalid_token(&answer);
    }
}

#[test]
fn attack_a_public_key_as_hmac_secret_and_alg_none_are_denied() {
    let app = TestApp::shared();
    let forge = Forge::of(&app);
    let document = app.send(Request::get("/.well-known/jwks.json"));
    let keys = document.json();
    let hs256_kid = part(&app.issue(&app.client(|client| client.alg = Some(Alg::Hs256)), &[]), 0)["kid"].clone();
    for jwk in keys["keys"].as_array().unwrap() {
        let mut secrets = vec![jwk.to_string(), document.text(), String::new()];
        secrets.extend(
            ["x", "n", "kid"]
                .iter()
                .filter_map(|name| jwk[name].as_str())
                .map(str::to_owned),
        );
        for secret in &secrets {
            for kid in [&jwk["kid"], &hs256_kid] {
                let mut header = Header::new(Algorithm::HS256);
                header.typ = Some("at+jwt".into());
                header.kid = kid.as_str().map(str::to_owned);
                let raw = URL_SAFE_NO_PAD
                    .decode(secret)
                    .unwrap_or_else(|_| secret.clone().into_bytes());
                for key in [secret.as_bytes(), &raw] {
                    let token =
                        jsonwebtoken::encode(&header, &forge.valid_claims, &EncodingKey::from_secret(key)).unwrap();
                    assert_invalid_token(&get_stats(&app, &token));
                }
            }
        }
        let encode = |document: &Value| URL_SAFE_NO_PAD.encode(document.to_string());
        let unsigned = json!({"typ": "at+jwt", "alg": "none", "kid": jwk["kid"]});
        assert_invalid_token(&get_stats(
            &app,
            &format!("{}.{}.", encode(&unsigned), encode(&forge.valid_claims)),
        ));
    }
}

#[test]
fn attack_the_kid_of_one_key_with_the_signature_of_another_is_denied() {
    let app = TestApp::shared();
    let forge = Forge::of(&app);
    let keys = app.send(Request::get("/.well-known/jwks.json")).json();
    for jwk in keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|jwk| jwk["alg"] != "ES256")
    {
        for alg in [&jwk["alg"], &json!("ES256")] {
            let header = json!({"typ": "at+jwt", "alg": alg, "kid": jwk["kid"]});
            assert_invalid_token(&get_stats(&app, &forge.sign(&header, &forge.valid_claims)));
        }
    }
}

#[test]
fn the_denial_of_a_token_is_the_same_on_every_route() {
    let app = Setup::new()
        .configured(|config| config.token.ttl = config::Duration::seconds(60))
        .start();
    let token = app.issue_with_scope("mintage:admin");
    let cut = &token[..token.len() - 1];
    for path in STATS {
        assert_invalid_token(&app.send(Request::get(path).bearer(cut)));
    }
    assert_invalid_token(&app.send(Request::post(CACHE_CLEAR).bearer(cut)));
}
