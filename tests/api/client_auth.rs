//! Client authentication at `/token` (P12 to P16).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use mintage::db::clients;
use mintage::oauth::client::{AuthMethod, ClientId};
use mintage::oauth::client_secret::ClientSecret;
use mintage::random::random_text;
use mintage::time::UnixMillis;
use testkit::app::{Setup, new_client, stored};
use testkit::http::{Request, Response, send_raw};
use testkit::token::claims;
use testkit::{TestApp, TestClient};

use crate::admin::cache_stats;

const GRANT: &str = "grant_type=client_credentials";
const TWO_METHODS: &str = "there is more than one way of authentication";
const TWO_IDS: &str = "client_id is not the one of the Authorization header";

/// A token request without credentials.
fn request() -> Request {
    Request::post("/token").form_raw(GRANT)
}

/// A token request with its credentials in the body.
fn post_request(client: &TestClient) -> Request {
    Request::post("/token").form(&[
        ("grant_type", "client_credentials"),
        ("client_id", &client.id),
        ("client_secret", &client.secret),
    ])
}

#[test]
fn p12_the_scheme_is_case_insensitive() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let encoded = STANDARD.encode(format!("{}:{}", client.id, client.secret));
    for scheme in ["Basic", "basic", "BASIC", "bAsIc"] {
        let answer = app.send(request().header("Authorization", &format!("{scheme} {encoded}")));
        assert_eq!(answer.status, 200, "{scheme}");
    }
}

#[test]
fn p12_id_and_secret_may_contain_any_character_if_form_encoded() {
    let app = TestApp::shared();
    let longest = "x".repeat(128);
    for (id, secret) in [
        ("a:b", "c:d:e"),
        ("50%", "100%25"),
        ("a+b c", "+ +"),
        ("\"quoted\\\"", "é ü 漢 \u{1f600}"),
        (" ~!@#$^&*()", "\u{1}\u{7f}"),
        (&longest, "s"),
    ] {
        let client = app.client_with_secret(secret, |client| client.id = ClientId::parse(id).unwrap());
        let token = app.issue(&client, &[]);
        assert_eq!(
            (&claims(&token)["sub"], &claims(&token)["client_id"]),
            (&id.into(), &id.into())
        );
    }
}

#[test]
fn p12_unencoded_credentials_are_split_at_the_first_colon() {
    let app = TestApp::shared();
    let client = app.client_with_secret("a:b:c", |_| {});
    let answer = app.send(request().basic_raw(&format!("{}:a:b:c", client.id)));
    assert_eq!(answer.status, 200);
}

#[test]
fn p12_credentials_encoded_more_or_less_than_needed_are_accepted() {
    let app = TestApp::shared();
    let client = app.client_with_secret("with-dash_and.dot", |_| {});
    for secret in [
        "with-dash_and.dot",
        "with%2Ddash%5Fand%2Edot",
        "with%2ddash%5fand%2edot",
    ] {
        let answer = app.send(request().basic_raw(&format!("{}:{secret}", client.id)));
        assert_eq!(answer.status, 200, "{secret}");
    }
    let unpadded = STANDARD_NO_PAD.encode(format!("{}:{}", client.id, client.secret));
    let answer = app.send(request().header("Authorization", &format!("Basic {unpadded}")));
    assert_eq!(answer.status, 200);
}

#[test]
fn p12_generated_ids_and_secrets_are_alphanumeric() {
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    for _ in 0..20 {
        assert!(plain(ClientId::generate().as_str()) && plain(ClientSecret::generate().reveal()));
    }
}

#[test]
fn p13_credentials_may_be_sent_in_the_body() {
    let app = TestApp::shared();
    let client = app.client_with_secret("a+b %é&=", |_| {});
    assert_eq!(
        claims(&app.send(post_request(&client)).access_token())["sub"],
        client.id
    );
    app.send(post_request(&client.with_secret("a+b %é&")))
        .assert_invalid_client();
}

#[test]
fn p13_a_method_that_the_client_may_not_use_is_401() {
    let app = TestApp::shared();
    let only = |method| app.client(|client| client.auth_methods = vec![method]);
    let basic = only(AuthMethod::ClientSecretBasic);
    app.issue(&basic, &[]);
    app.send(post_request(&basic)).assert_invalid_client();
    let post = only(AuthMethod::ClientSecretPost);
    app.send(post_request(&post)).access_token();
    app.ask(&post, &[]).assert_invalid_client();
}

#[test]
fn p14_two_methods_in_one_request_are_400() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let both = app.send(post_request(&client).basic(&client));
    both.assert_oauth_error(400, "invalid_request", TWO_METHODS);
    let secret_alone = app.ask(&client, &[("client_secret", &client.secret)]);
    secret_alone.assert_oauth_error(400, "invalid_request", TWO_METHODS);
    let other_scheme = app.send(post_request(&client).bearer("abc"));
    other_scheme.assert_oauth_error(400, "invalid_request", TWO_METHODS);
}

#[test]
fn p14_two_authorization_headers_are_400() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    for request in [
        request().basic(&client).basic(&client),
        request().basic(&client).bearer("abc"),
    ] {
        app.send(request)
            .assert_oauth_error(400, "invalid_request", TWO_METHODS);
    }
}

#[test]
fn p14_client_id_in_the_body_must_match_the_authorization_header() {
    let app = TestApp::shared();
    // A random id may have no capital letter.
    let id = ClientId::parse(&format!("Id-{}", random_text(8))).unwrap();
    let client = app.client(|client| client.id = id);
    assert_eq!(app.ask(&client, &[("client_id", &client.id)]).status, 200);
    for other in ["other", &client.id.to_lowercase(), &format!("{} ", client.id)] {
        let answer = app.ask(&client, &[("client_id", other)]);
        answer.assert_oauth_error(400, "invalid_request", TWO_IDS);
    }
}

#[test]
fn p15_every_authentication_failure_is_the_same_401() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let disabled = app.client(|client| client.enabled = false);
    let expired = app.client(|client| client.secrets[0].expires_at = Some(UnixMillis(1)));
    let without_secrets = app.client(|client| client.secrets.clear());
    let colonless = STANDARD.encode(&client.id);
    let authorization = |value: &str| request().header("Authorization", value);
    let too_long = "x".repeat(129);
    let denied = [
        request(),
        request().basic(&client.with_secret("wrong")),
        request().basic(&client.with_secret("")),
        request().basic(&client.with_secret(&client.secret[1..])),
        request().basic(&client.with_secret(&client.secret.to_lowercase())),
        request().basic(&disabled),
        request().basic(&expired),
        request().basic(&without_secrets),
        request().basic(&without_secrets.with_secret("")),
        request().basic_raw("nobody:secret"),
        request().basic_raw(":secret"),
        request().basic_raw(":"),
        request().basic_raw(&format!("{too_long}:secret")),
        request().basic_raw("é:secret"),
        request().basic_raw(&format!("{}\n:{}", client.id, client.secret)),
        request().basic_raw(&format!("%zz:{}", client.secret)),
        authorization(&format!("Basic {colonless}")),
        authorization("Basic !!!"),
        authorization("Basic"),
        authorization("Basic "),
        authorization("Bearer abc"),
        authorization("Digest username=\"a\""),
        authorization(""),
        post_request(&client.with_secret("wrong")),
        post_request(&disabled),
        post_request(&expired),
        Request::post("/token").form(&[("grant_type", "client_credentials"), ("client_id", &client.id)]),
        Request::post("/token").form(&[("grant_type", "client_credentials"), ("client_secret", &client.secret)]),
    ];
    for request in denied {
        app.send(request).assert_invalid_client();
    }
}

#[test]
fn p15_a_secret_that_is_not_utf8_is_401() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let mut credentials = format!("{}:", client.id).into_bytes();
    credentials.extend_from_slice(b"\xff\xfe");
    let encoded = STANDARD.encode(credentials);
    app.send(request().header("Authorization", &format!("Basic {encoded}")))
        .assert_invalid_client();
}

#[test]
fn p15_responses_to_known_and_unknown_clients_are_identical() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let shape = |answer: Response| {
        let mut headers = answer.headers;
        headers.retain(|(name, _)| name != "x-request-id" && name != "date");
        headers.sort();
        (answer.status, headers, answer.body)
    };
    let wrong_secret = shape(app.ask(&client.with_secret("wrong"), &[]));
    let unknown = shape(app.send(request().basic_raw("nobody:wrong")));
    assert_eq!(wrong_secret, unknown);
}

#[test]
fn p15_a_cached_id_needs_no_database_call_whether_known_or_unknown() {
    let app = Setup::new().configured(|config| config.server.workers = 1).start();
    let admin = app.issue_with_scope("mintage:admin");
    let known = app.client(|_| {}).with_secret("wrong");
    app.wait_for_change_feed();
    let unknown = TestClient::new("nobody", "wrong");
    for client in [&known, &unknown] {
        app.ask(client, &[]).assert_invalid_client();
        let before = cache_stats(&app, &admin);
        for _ in 0..10 {
            app.ask(client, &[]).assert_invalid_client();
        }
        let after = cache_stats(&app, &admin);
        assert_eq!(after["loads"], before["loads"]);
        assert_eq!(after["hits"].as_u64(), before["hits"].as_u64().map(|hits| hits + 10));
    }
}

#[test]
fn p16_the_database_contains_no_secret_in_the_clear() {
    let app = TestApp::start();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    app.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let stopped = app.stop().unwrap();
    assert_eq!(stopped.recorded(&client).len(), 1);
    let bytes = std::fs::read(stopped.0.database_path()).unwrap();
    let contains = |what: &str| bytes.windows(what.len()).any(|window| window == what.as_bytes());
    assert!(contains(&client.id) && contains("sha256:"));
    assert!(!contains(&client.secret) && !contains(&token) && !contains(token.split('.').nth(2).unwrap()));
}

#[test]
fn p16_two_secrets_are_valid_until_one_expires() {
    let setup = Setup::new().with_mock_clock();
    let now = setup.now();
    let app = setup.start();
    let new = app.client(|client| {
        let mut old = stored("old secret");
        old.expires_at = Some(UnixMillis(now.0 + 1000));
        client.secrets.push(old);
    });
    let old = new.with_secret("old secret");
    assert_eq!((app.ask(&old, &[]).status, app.ask(&new, &[]).status), (200, 200));
    app.advance(Duration::from_millis(999));
    assert_eq!(app.ask(&old, &[]).status, 200);
    app.advance(Duration::from_millis(1));
    app.ask(&old, &[]).assert_invalid_client();
    assert_eq!(app.ask(&new, &[]).status, 200);
}

#[test]
fn p16_a_replaced_secret_becomes_invalid() {
    let app = TestApp::start();
    let old = app.client(|_| {});
    for _ in 0..4 {
        app.issue(&old, &[]);
    }
    let mut replacement = new_client("new secret");
    replacement.id = old.id();
    app.database(|conn| clients::replace(conn, &replacement));
    let new = old.with_secret("new secret");
    // Connections are distributed round-robin: four reach every worker.
    let on_every_worker = |client, status| (0..4).all(|_| app.ask(client, &[]).status == status);
    app.wait_for_change_feed();
    assert!(on_every_worker(&new, 200) && on_every_worker(&old, 401));
    app.ask(&old, &[]).assert_invalid_client();
}

#[test]
fn attack_an_oversized_authorization_header_is_rejected() {
    let app = TestApp::shared();
    for size in [20_000, 200_000, 2_000_000] {
        let header = "A".repeat(size);
        let bytes = request().header("Authorization", &format!("Basic {header}")).bytes();
        let answer = send_raw(app.address, &bytes);
        assert!(
            answer.is_none_or(|answer| (400..500).contains(&answer.status)),
            "{size}"
        );
    }
    assert_eq!(app.send(Request::get("/livez")).status, 200);
}
