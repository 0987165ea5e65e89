//! `GET /metrics`: which events are counted, and what must not be shown.

use std::collections::BTreeSet;
use std::time::Duration;

use mintage::config;
use mintage::http::routes::{admin_table, console_table, public_table, start_table};
use serde_json::json;
use testkit::app::Setup;
use testkit::http::{Connection, Request, Response, send_raw};
use testkit::scrape::Scrape;
use testkit::token::{about_token, claims, token_request};
use testkit::{TestApp, eventually};

/// The names that dashboards depend on.
const GUARANTEED: [&str; 31] = [
    "mintage_tokens_issued_total",
    "mintage_token_errors_total",
    "mintage_http_requests_total",
    "mintage_http_request_duration_seconds",
    "mintage_client_cache_hits_total",
    "mintage_client_cache_misses_total",
    "mintage_client_cache_stale_served_total",
    "mintage_client_cache_negative_hits_total",
    "mintage_client_cache_loads_total",
    "mintage_client_cache_load_failures_total",
    "mintage_client_cache_evictions_total",
    "mintage_client_cache_expirations_total",
    "mintage_client_cache_invalidations_total",
    "mintage_client_cache_entries",
    "mintage_writer_pending",
    "mintage_writer_oldest_unflushed_seconds",
    "mintage_writer_flushed_total",
    "mintage_writer_batches_total",
    "mintage_writer_flush_failures_total",
    "mintage_writer_rejected_total",
    "mintage_writer_dead_lettered_total",
    "mintage_writer_flush_duration_seconds",
    "mintage_pool_connections",
    "mintage_pool_wait_seconds",
    "mintage_breaker_state",
    "mintage_revocations_known",
    "mintage_change_feed_lag_seconds",
    "mintage_build_info",
    "mintage_ready",
    "mintage_denials_total",
    "mintage_pool_max_size",
];

#[test]
fn a_scrape_is_prometheus_text_with_every_guaranteed_name() {
    let answer = TestApp::shared().send(Request::get("/metrics"));
    assert_eq!(answer.status, 200);
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(media_type));
    answer.assert_common_headers();
    let scrape = Scrape(answer.text());
    for name in GUARANTEED {
        assert!(scrape.names().contains(name), "{name}");
    }
    let version = format!("mintage_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    scrape.assert_value(&version, 1.0);
}

/// A route that is not created by `Resource::serve` would be counted as `unmatched`.
#[test]
fn every_route_of_the_table_has_its_metric_label() {
    let app = TestApp::start();
    let public = public_table().into_iter().chain(start_table());
    let rows = public.chain(admin_table()).chain(console_table());
    let patterns: Vec<&str> = rows.map(|row| row.pattern()).collect();
    for pattern in &patterns {
        let parts = pattern
            .split('/')
            .map(|part| if part.starts_with('{') { "x" } else { part });
        app.send(Request::new("OPTIONS", &parts.collect::<Vec<_>>().join("/")));
    }
    let scrape = Scrape::of(app.admin_address);
    for pattern in patterns {
        let of_route = format!("mintage_http_requests_total{{route=\"{pattern}\",method=\"OPTIONS\"");
        assert!(scrape.0.contains(&of_route), "{pattern}\n{}", scrape.0);
    }
    let table = include_str!("../../src/http/mod.rs");
    assert!(!table.contains("web::resource("), "a resource outside the route table");
}

/// With a mock clock, so that it is certain which rows expire.
#[test]
fn rows_removed_by_the_janitor_are_counted_by_table() {
    let setup = Setup::new().configured(|config| {
        config.janitor.interval = config::Duration::millis(50);
        config.janitor.keep_expired = config::Duration::seconds(1);
    });
    let app = setup.with_mock_clock().start();
    let client = app.client(|client| client.ttl_seconds = Some(60));
    let token = app.issue(&client, &[]);
    app.send(about_token("/revoke", &client, &token));
    let flushed = || (Scrape::of(app.admin_address).value("mintage_writer_flushed_total") == Some(1.0)).then_some(());
    eventually("the record is written", Duration::from_secs(10), flushed);
    app.advance(Duration::from_secs(3600));
    let scrape = eventually("expired rows are removed", Duration::from_secs(10), || {
        let scrape = Scrape::of(app.admin_address);
        let removed = |table| scrape.value(&format!("mintage_janitor_removed_total{{table=\"{table}\"}}"));
        (removed("tokens") == Some(1.0) && removed("revocations") == Some(1.0)).then_some(scrape)
    });
    scrape.assert_value(r#"mintage_janitor_removed_total{table="redemptions"}"#, 0.0);
    scrape.assert_value("mintage_janitor_failures_total", 0.0);
    assert!(scrape.value("mintage_db_statements_total").unwrap() > 0.0);
}

#[test]
fn every_metric_is_declared_once_and_its_samples_are_grouped() {
    let app = TestApp::start();
    app.issue(&app.client(|_| {}), &[]);
    let scrape = Scrape::of(app.admin_address);
    let (mut declared, mut current) = (BTreeSet::new(), "");
    for line in scrape.0.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split(' ').next().unwrap();
            assert!(declared.insert(current), "{current} is declared twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let suffix = name.strip_prefix(current).expect(line);
            assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
        }
    }
    assert_eq!(
        scrape.series().len(),
        scrape.0.lines().filter(|line| !line.starts_with('#')).count()
    );
}

#[test]
fn with_an_admin_listener_metrics_are_served_only_there() {
    let app = Setup::new()
        .configured(|config| {
            config.server.admin_listen = "127.0.0.1:0".into();
            config.server.open_metrics = false;
        })
        .start();
    assert_eq!(app.send(Request::get("/metrics")).status, 404);
    // Who reaches that listener needs no token for them.
    assert_eq!(Request::get("/metrics").send(app.admin_address).status, 200);
    let client = app.client(|_| {});
    app.issue(&client, &[]);
    // The admin listener has a separate worker, whose requests are counted, too.
    let scrape = Scrape::of(app.admin_address);
    scrape.assert_value(
        r#"mintage_http_requests_total{route="/token",method="POST",status="200"}"#,
        1.0,
    );
    scrape.assert_value(
        r#"mintage_http_requests_total{route="/metrics",method="GET",status="200"}"#,
        1.0,
    );
    scrape.assert_value(
        r#"mintage_http_requests_total{route="unmatched",method="GET",status="404"}"#,
        1.0,
    );
}

/// The response is this denial of `/metrics`, and names nothing that is counted.
#[track_caller]
fn assert_denied(answer: &Response, status: u16, error: &str, challenge: &str) {
    assert_eq!((answer.status, &answer.json()["error"]), (status, &error.into()));
    let whole = format!("Bearer realm=\"mintage\"{challenge}");
    assert_eq!(answer.header("www-authenticate"), Some(whole.as_str()));
    answer.assert_common_headers();
    assert!(!answer.text().contains("mintage_"), "{}", answer.text());
}

#[test]
fn without_open_metrics_a_scrape_needs_a_token_with_mintage_read() {
    let app = Setup::new()
        .configured(|config| config.server.open_metrics = false)
        .start();
    let get = |token: &str| app.send(Request::get("/metrics").bearer(token));
    assert_denied(&app.send(Request::get("/metrics")), 401, "invalid_request", "");
    assert_denied(&get("nonsense"), 401, "invalid_token", ", error=\"invalid_token\"");
    let repeated = app.send(Request::get("/metrics").bearer("a").bearer("b"));
    assert_denied(&repeated, 400, "invalid_request", ", error=\"invalid_request\"");
    let head = app.send(Request::new("HEAD", "/metrics"));
    assert_eq!((head.status, head.text().as_str()), (401, ""));
    let introspector = get(&app.issue_with_scope("mintage:introspect"));
    let lacks_scope = ", error=\"insufficient_scope\", scope=\"mintage:read\"";
    assert_denied(&introspector, 403, "insufficient_scope", lacks_scope);
    assert!(
        !get(&app.issue_with_scope("orders:read"))
            .text()
            .contains("mintage_ready")
    );
    for scope in ["mintage:read", "mintage:admin"] {
        let token = app.issue_with_scope(scope);
        let answer = get(&token);
        assert_eq!(answer.status, 200, "{scope}");
        Scrape(answer.text()).assert_value("mintage_ready", 1.0);
        let head = app.send(Request::new("HEAD", "/metrics").bearer(&token));
        assert_eq!(head.status, 200, "{scope}");
    }
}

/// A scrape matters most while the database is away.
#[test]
fn during_an_outage_a_known_reader_gets_metrics_although_admin_is_unavailable() {
    let setup = Setup::new().configured(|config| {
        config.server.open_metrics = false;
        // The one that issues the token is the one that answers.
        config.server.workers = 1;
    });
    let app = setup.start();
    let token = app.issue_with_scope("mintage:read");
    let get = |path: &str| app.send(Request::get(path).bearer(&token));
    app.sql("ALTER TABLE changes RENAME TO changes_away; ALTER TABLE clients RENAME TO clients_away");
    eventually("/admin is unavailable", Duration::from_secs(20), || {
        (get("/admin/keys").status == 503).then_some(())
    });
    let scrape = get("/metrics");
    assert_eq!(scrape.status, 200, "{}", scrape.text());
    Scrape(scrape.text()).assert_value("mintage_ready", 0.0);
    assert_eq!(app.send(Request::get("/metrics")).status, 401);
    app.sql("ALTER TABLE changes_away RENAME TO changes; ALTER TABLE clients_away RENAME TO clients");
}

#[test]
fn metrics_accept_only_get_and_head() {
    let app = TestApp::shared();
    assert_eq!(app.send(Request::new("HEAD", "/metrics")).status, 200);
    let rejected = app.send(Request::post("/metrics"));
    assert_eq!((rejected.status, rejected.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn issued_tokens_are_counted_by_algorithm_and_kind() {
    let app = TestApp::start();
    let es256 = app.client(|_| {});
    let hs256 = app.client(|client| client.alg = Some(mintage::oauth::alg::Alg::Hs256));
    for _ in 0..3 {
        app.issue(&es256, &[]);
    }
    app.issue(&hs256, &[("one_time", "true")]);
    let scrape = Scrape::of(app.admin_address);
    scrape.assert_value(r#"mintage_tokens_issued_total{alg="ES256",kind="bearer"}"#, 3.0);
    scrape.assert_value(r#"mintage_tokens_issued_total{alg="HS256",kind="one_time"}"#, 1.0);
    scrape.assert_value(r#"mintage_tokens_issued_total{alg="RS256",kind="bearer"}"#, 0.0);
    let issued = scrape
        .series()
        .into_iter()
        .filter(|series| series.starts_with("mintage_tokens_issued"));
    assert_eq!(issued.count(), 10);
}

#[test]
fn every_rejected_token_request_is_counted_by_its_error_code() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    app.ask(&client.with_secret("wrong"), &[]).assert_invalid_client();
    app.ask(&client, &[("scope", "other")]);
    app.ask(&client, &[("resource", "https://elsewhere.example")]);
    app.send(
        Request::post("/token")
            .basic(&client)
            .form(&[("grant_type", "password")]),
    );
    assert_eq!(app.send(Request::get("/token")).status, 405);
    assert_eq!(
        app.send(Request::post("/token").header("Content-Length", "99999999"))
            .status,
        413
    );
    // Another endpoint: not counted as a token error.
    app.send(Request::post("/introspect").basic(&client).form(&[("nothing", "")]));
    let scrape = Scrape::of(app.admin_address);
    for (code, count) in [
        ("invalid_client", 1.0),
        ("invalid_scope", 1.0),
        ("invalid_target", 1.0),
        ("unsupported_grant_type", 1.0),
        ("invalid_request", 2.0),
        ("unauthorized_client", 0.0),
        ("temporarily_unavailable", 0.0),
        ("server_error", 0.0),
    ] {
        scrape.assert_value(&format!("mintage_token_errors_total{{error=\"{code}\"}}"), count);
    }
    scrape.assert_value(r#"mintage_denials_total{reason="wrong_secret"}"#, 1.0);
    scrape.assert_value(
        r#"mintage_http_requests_total{route="/token",method="GET",status="405"}"#,
        1.0,
    );
    scrape.assert_value(
        r#"mintage_http_requests_total{route="/token",method="POST",status="413"}"#,
        1.0,
    );
    scrape.assert_value(
        r#"mintage_http_requests_total{route="/introspect",method="POST",status="400"}"#,
        1.0,
    );
}

#[test]
fn the_duration_histogram_of_a_route_is_consistent() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    let began = std::time::Instant::now();
    for _ in 0..5 {
        app.issue(&client, &[]);
    }
    let took = began.elapsed().as_secs_f64();
    let scrape = Scrape::of(app.admin_address);
    let of = |suffix: &str| format!("mintage_http_request_duration_seconds_{suffix}");
    scrape.assert_value(&of("count{route=\"/token\"}"), 5.0);
    scrape.assert_value(&of("bucket{route=\"/token\",le=\"+Inf\"}"), 5.0);
    let sum = scrape.value(&of("sum{route=\"/token\"}")).unwrap();
    assert!(0.0 < sum && sum < took, "{sum} of {took}");
    let buckets = scrape.series().into_iter();
    let buckets: Vec<&str> = buckets
        .filter(|series| series.contains("_bucket{route=\"/token\""))
        .collect();
    assert_eq!(buckets.len(), 21);
    assert!(buckets.contains(&of("bucket{route=\"/token\",le=\"0.00005\"}").as_str()));
}

#[test]
fn cache_writer_and_pool_metrics_are_exposed() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    app.wait_for_change_feed();
    // One in each worker.
    Scrape::of(app.admin_address).assert_value("mintage_client_cache_invalidations_total", 2.0);
    for _ in 0..4 {
        app.issue(&client, &[]);
    }
    app.ask(&client.with_secret("wrong"), &[]);
    let scrape = eventually("the records are written", Duration::from_secs(10), || {
        let scrape = Scrape::of(app.admin_address);
        (scrape.value("mintage_writer_flushed_total") == Some(4.0)).then_some(scrape)
    });
    let hits = scrape.value("mintage_client_cache_hits_total").unwrap();
    let misses = scrape.value("mintage_client_cache_misses_total").unwrap();
    assert!(hits + misses == 5.0 && (1.0..=2.0).contains(&misses), "{hits} {misses}");
    scrape.assert_value("mintage_client_cache_entries", misses);
    scrape.assert_value("mintage_writer_pending", 0.0);
    let flushes = scrape.value("mintage_writer_flush_duration_seconds_count").unwrap();
    scrape.assert_value("mintage_writer_batches_total", flushes);
    assert!(scrape.value("mintage_writer_flush_duration_seconds_sum").unwrap() > 0.0);
    scrape.assert_value("mintage_pool_max_size", 25.0);
    scrape.assert_value("mintage_pool_max_lifetime_seconds", 300.0);
    assert!(scrape.value("mintage_pool_wait_seconds_count").unwrap() > 0.0);
    assert!(scrape.value(r#"mintage_pool_connections{state="idle"}"#).unwrap() >= 1.0);
    scrape.assert_value("mintage_breaker_state", 0.0);
    scrape.assert_value("mintage_ready", 1.0);
    assert!(scrape.value("mintage_change_feed_lag_seconds").unwrap() < 5.0);
}

#[test]
fn the_number_of_revocations_is_exposed() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    Scrape::of(app.admin_address).assert_value("mintage_revocations_known", 0.0);
    let token = app.issue(&client, &[]);
    app.send(about_token("/revoke", &client, &token));
    Scrape::of(app.admin_address).assert_value("mintage_revocations_known", 1.0);
}

/// Operators need metrics most while the server is not ready or the database is unavailable.
#[test]
fn a_scrape_needs_no_database() {
    let nowhere = |config: &mut mintage::config::Config| {
        config.database.url = "sqlite:/nonexistent/mintage.db".into();
    };
    let app = Setup::on_empty_database().configured(nowhere).start_unready();
    let scrape = eventually("the breaker is open", Duration::from_secs(15), || {
        app.send(
            Request::post("/token")
                .basic_raw("nobody:nothing")
                .form(&[("grant_type", "client_credentials")]),
        );
        let scrape = Scrape::of(app.admin_address);
        (scrape.value("mintage_breaker_state") == Some(2.0)).then_some(scrape)
    });
    scrape.assert_value("mintage_ready", 0.0);
    assert_eq!(scrape.value("mintage_change_feed_lag_seconds"), None);
    assert!(scrape.value("mintage_client_cache_load_failures_total").unwrap() > 0.0);
    assert!(
        scrape
            .value(r#"mintage_token_errors_total{error="temporarily_unavailable"}"#)
            .unwrap()
            > 0.0
    );
}

#[test]
fn unauthenticated_requests_create_no_series() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    app.issue(&client, &[]);
    let mut connection = Connection::open(app.address);
    let mut random = |round: u32| {
        let name = format!("x{round}y{}", mintage::random::random_text(12));
        for request in [
            Request::get(&format!("/{name}")),
            Request::get(&format!("/validate/{name}")),
            Request::new(&name.to_uppercase(), &format!("/{name}?{name}={name}")),
            Request::new(&name.to_uppercase(), "/token"),
            Request::new("DELETE", &format!("/admin/tokens/{name}")),
            Request::post("/token")
                .basic_raw(&format!("{name}:{name}"))
                .header("X-Request-Id", &name)
                .form(&[("grant_type", "client_credentials"), ("scope", &name)]),
        ] {
            connection.ask(&request);
        }
    };
    // One request of each kind creates its series; ten thousand more create none.
    random(0);
    let scrape = Scrape::of(app.admin_address);
    let before = scrape.series();
    for round in 1..=1700 {
        random(round);
    }
    let scrape = Scrape::of(app.admin_address);
    let after = scrape.series();
    assert_eq!(
        after.symmetric_difference(&before).collect::<Vec<_>>(),
        Vec::<&&str>::new()
    );
    assert!(after.len() < 600, "{}", after.len());
    scrape.assert_value(
        r#"mintage_http_requests_total{route="unmatched",method="GET",status="404"}"#,
        1701.0,
    );
    scrape.assert_value(
        r#"mintage_http_requests_total{route="unmatched",method="other",status="404"}"#,
        1701.0,
    );
}

/// All series of the `unmatched` route exist from the start.
#[test]
fn requests_without_a_route_create_no_series_even_on_a_fresh_server() {
    let app = TestApp::start();
    let scrape = Scrape::of(app.admin_address);
    for method in [
        "GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW", "TRACE",
    ] {
        let lines = format!("{method} /nothing/{method} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        send_raw(app.address, lines.as_bytes());
    }
    assert_eq!(Scrape::of(app.admin_address).series(), scrape.series());
}

#[test]
fn g8_metrics_show_nothing_that_a_client_sends_or_receives() {
    let app = TestApp::start();
    let client = app.client_with_scope("orders:read mintage:admin");
    let token = app.issue(&client, &[("scope", "mintage:admin")]);
    let once = app.issue(&client, &[("one_time", "true")]);
    let wrong = "thisSecretIsWrong1234";
    app.ask(&client.with_secret(wrong), &[]);
    app.send(Request::post("/token").basic_raw("nobodyKnowsMe:secretOfNobody"));
    for path in ["/introspect", "/revoke"] {
        app.send(Request::post(path).basic(&client).form(&[("token", &token)]));
    }
    app.send(Request::get(&format!("/validate/orders?{wrong}")).bearer(&once));
    app.send(Request::post(&format!("/admin/clients/{}/revoke-tokens", client.id)).bearer(&token));
    app.send(Request::get(&format!("/token/{token}")));
    app.send(token_request(&client, &[("scope", wrong)]).header("X-Request-Id", "idOfTheRequest"));
    app.send(
        Request::post("/admin/routes")
            .bearer(&once)
            .json(&json!({"path": wrong})),
    );
    let scrape = Scrape::of(app.admin_address).0;
    let (jti, once_jti) = (claims(&token)["jti"].clone(), claims(&once)["jti"].clone());
    for sent in [
        client.id.as_str(),
        &client.secret,
        &token,
        token.rsplit('.').next().unwrap(),
        &once,
        jti.as_str().unwrap(),
        once_jti.as_str().unwrap(),
        wrong,
        "nobodyKnowsMe",
        "secretOfNobody",
        "idOfTheRequest",
        "orders:read",
    ] {
        assert!(!scrape.contains(sent), "{sent}\n{scrape}");
    }
    assert!(scrape.contains("mintage_tokens_issued_total"));
}
