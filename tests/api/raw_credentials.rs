//! Basic credentials that a client sends as they are, without the form encoding of RFC 6749 §2.3.1,
//! as `curl -u` does (P12).

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use mintage::oauth::client::{AuthMethod, ClientId};
use mintage::oauth::scope::Scope;
use mintage::oauth::secret_hash::SecretHash;
use mintage::time::UnixMillis;
use serde_json::json;
use testkit::app::Setup;
use testkit::http::{Request, Response};
use testkit::poll::until;
use testkit::scrape::Scrape;
use testkit::token::claims;
use testkit::{TestApp, TestClient, postgres};

use crate::admin::cache_stats;

const GRANT: &str = "grant_type=client_credentials";
const SECRET: &str = "Ab+d%41efgh/Zq8hW2xk5Tn9Lr3V=";
const CHOSEN_SECRET: &str = "correct+horse%20battery";
const TWO_IDS: &str = "client_id is not the one of the Authorization header";
const VERIFIED: &str = "mintage_password_hash_verifications_total";
const WAITING: &str = "mintage_password_hash_in_progress{state=\"waiting\"}";

/// How long the server may take to notice that a caller has hung up.
const HANG_UP_TIMEOUT: Duration = Duration::from_secs(5);

fn with_id(app: &TestApp, id: &str, secret: &str) -> TestClient {
    app.client_with_secret(secret, |client| client.id = ClientId::parse(id).unwrap())
}

/// A client with a bcrypt hash of its secret.
fn with_password_hash(app: &TestApp, id: &str, secret: &str) -> TestClient {
    app.client_with_secret(secret, |client| {
        client.id = ClientId::parse(id).unwrap();
        client.secrets[0].hash = SecretHash::from_stored(&bcrypt::hash(secret, 4).unwrap()).unwrap();
    })
}

/// A request with credentials that are not form-encoded.
fn raw_request(path: &str, client: &TestClient, form: &str) -> Request {
    let request = Request::post(path).basic_raw(&format!("{}:{}", client.id, client.secret));
    request.form_raw(form)
}

/// Requests a token with credentials that are not form-encoded.
fn ask_raw(app: &TestApp, client: &TestClient) -> Response {
    app.send(raw_request("/token", client, GRANT))
}

fn denials(app: &TestApp, reason: &str) -> f64 {
    let series = format!("mintage_denials_total{{reason=\"{reason}\"}}");
    Scrape::of(app.address).value(&series).unwrap_or_default()
}

/// Sends a request and resets the connection once `begun` is true.
fn hang_up(app: &TestApp, request: &Request, begun: impl FnMut() -> bool) {
    let stream = TcpStream::connect(app.address).unwrap();
    (&stream).write_all(&request.bytes()).unwrap();
    until("the request is being served", HANG_UP_TIMEOUT, begun);
    // With linger 0 the connection is reset, which drops the request.
    let socket = socket2::SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn p12_credentials_are_accepted_form_encoded_and_as_they_are() {
    let app = TestApp::start();
    for (id, secret) in [
        ("plain", SECRET),
        ("per%cent", "secret"),
        ("plus+one", SECRET),
        ("50%25", "100%"),
        ("a b", "c+d e%zz"),
        ("%41", "%"),
        ("colon", "+:+"),
        ("quote\"", "é+%C3%A9"),
    ] {
        let client = with_id(&app, id, secret);
        let token = app.issue(&client, &[]);
        let again = ask_raw(&app, &client).access_token();
        assert_eq!(
            (&claims(&token)["sub"], &claims(&again)["sub"]),
            (&json!(id), &json!(id))
        );
        let introspected = app.send(raw_request("/introspect", &client, &format!("token={token}")));
        assert_eq!(introspected.json()["active"], true, "{id}");
        let revoked = app.send(raw_request("/revoke", &client, &format!("token={token}")));
        assert_eq!(revoked.status, 200, "{id}");
        ask_raw(&app, &client.with_secret(&format!("{secret}+"))).assert_invalid_client();
        app.ask(&client.with_secret(&format!("{secret}+")), &[])
            .assert_invalid_client();
    }
}

#[test]
fn p12_the_secret_tells_which_of_two_clients_is_meant() {
    let app = TestApp::start();
    let (space, plus) = (with_id(&app, "a b", "s+1"), with_id(&app, "a+b", "s+2"));
    let sub = |response: Response| claims(&response.access_token())["sub"].clone();
    assert_eq!(sub(ask_raw(&app, &plus)), "a+b");
    assert_eq!(sub(app.ask(&plus, &[])), "a+b");
    assert_eq!(sub(app.ask(&space, &[])), "a b");
    // If both have the secret, it is the one that RFC 6749 §2.3.1 means.
    let (_, plus) = (with_id(&app, "c d", "same"), with_id(&app, "c+d", "same"));
    assert_eq!(sub(ask_raw(&app, &plus)), "c d");
    assert_eq!(sub(app.ask(&plus, &[])), "c+d");
    // A secret that needs no verification comes first.
    with_password_hash(&app, "e f", CHOSEN_SECRET);
    let plus = with_id(&app, "e+f", CHOSEN_SECRET);
    assert_eq!(sub(ask_raw(&app, &plus)), "e+f");
}

#[test]
fn p13_credentials_sent_as_they_are_give_no_client_more_rights() {
    let app = TestApp::start();
    let post_only = app.client_with_secret(SECRET, |client| {
        client.auth_methods = vec![AuthMethod::ClientSecretPost];
    });
    let disabled = app.client_with_secret(SECRET, |client| client.enabled = false);
    let expired = app.client_with_secret(SECRET, |client| client.secrets[0].expires_at = Some(UnixMillis(1)));
    for client in [post_only, disabled, expired] {
        ask_raw(&app, &client).assert_invalid_client();
    }
    // The reason is that of the pair with the right secret.
    let reasons = [
        "method_not_allowed",
        "disabled_client",
        "wrong_secret",
        "unknown_client",
    ];
    assert_eq!(reasons.map(|reason| denials(&app, reason)), [1.0, 1.0, 1.0, 0.0]);
}

#[test]
fn p14_client_id_in_the_body_is_compared_with_the_pair_that_authenticates() {
    let app = TestApp::start();
    let plus = with_id(&app, "plus+one", SECRET);
    let plain = with_id(&app, "plain", SECRET);
    let with_client_id =
        |client: &TestClient, id: &str| app.send(raw_request("/token", client, &format!("{GRANT}&client_id={id}")));
    assert_eq!(with_client_id(&plus, "plus%2Bone").status, 200);
    assert_eq!(with_client_id(&plain, "plain").status, 200);
    with_client_id(&plus, "plus+one").assert_invalid_client();
    for (client, other) in [(&plus, "plain"), (&plain, "plus%2Bone")] {
        with_client_id(client, other).assert_oauth_error(400, "invalid_request", TWO_IDS);
    }
}

#[test]
fn p15_two_wrong_pairs_are_one_failure() {
    let app = TestApp::start();
    for (number, id) in (1..).map(f64::from).zip(["plain", "plus+one", "per%cent"]) {
        let client = with_id(&app, id, "right").with_secret("wr+ng%41");
        ask_raw(&app, &client).assert_invalid_client();
        assert_eq!(denials(&app, "wrong_secret"), number, "{id}");
    }
    for (number, id) in (1..).map(f64::from).zip(["nobody", "no+body", "n%6fbody", "nob%dy"]) {
        ask_raw(&app, &TestClient::new(id, "wr+ng%41")).assert_invalid_client();
        assert_eq!(denials(&app, "unknown_client"), number, "{id}");
    }
    assert_eq!(
        (denials(&app, "wrong_secret"), denials(&app, "malformed_basic")),
        (3.0, 0.0)
    );
}

#[test]
fn p15_two_wrong_pairs_take_the_same_lookups_whether_or_not_the_client_exists() {
    let app = Setup::new().configured(|config| config.server.workers = 1).start();
    let admin = app.issue_with_scope("mintage:admin");
    with_id(&app, "known+one", "right");
    with_id(&app, "known two", "right");
    app.wait_for_change_feed();
    for id in ["known+one", "known+two", "unknown+one"] {
        let client = TestClient::new(id, "wrong");
        ask_raw(&app, &client).assert_invalid_client();
        let before = cache_stats(&app, &admin);
        for _ in 0..10 {
            ask_raw(&app, &client).assert_invalid_client();
        }
        let after = cache_stats(&app, &admin);
        assert_eq!(after["loads"], before["loads"], "{id}");
        let hits = before["hits"].as_u64().map(|hits| hits + 20);
        assert_eq!(after["hits"].as_u64(), hits, "{id}");
    }
}

#[test]
fn p17_both_ids_are_limited_and_the_failures_count_for_one_whatever_clients_exist() {
    let app = Setup::new()
        .configured(|config| config.limits.auth_failures_per_minute = 3)
        .start();
    let fail = |id: &str| ask_raw(&app, &TestClient::new(id, "wrong")).status;
    let known = with_id(&app, "known+one", "right");
    for (raw, decoded, encoded) in [
        ("known+one", "known%20one", "known%2Bone"),
        ("unknown+one", "unknown%20one", "unknown%2Bone"),
    ] {
        assert_eq!([(); 4].map(|()| fail(raw)), [401, 401, 401, 429], "{raw}");
        assert_eq!(fail(decoded), 429, "{decoded}");
        assert_eq!([(); 4].map(|()| fail(encoded)), [401, 401, 401, 429], "{encoded}");
    }
    assert_eq!((ask_raw(&app, &known).status, app.ask(&known, &[]).status), (429, 429));
    // No client can have the form-decoded id.
    assert_eq!([(); 4].map(|()| fail("caf%C3%A9")), [401, 401, 401, 429]);
    // Neither is a pair admitted whose second id alone is limited.
    let other = with_id(&app, "other+one", "right");
    assert_eq!([(); 4].map(|()| fail("other%2Bone")), [401, 401, 401, 429]);
    assert_eq!(ask_raw(&app, &other).status, 429);
}

#[test]
fn p25_a_pair_that_cannot_be_looked_up_stops_no_other() {
    let setup = Setup::new().with_mock_clock().configured(|config| {
        config.server.workers = 1;
        config.cache.negative_ttl = mintage::config::Duration::seconds(1);
    });
    let app = setup.start();
    let plus = with_id(&app, "plus+one", SECRET);
    let space = with_id(&app, "a b", SECRET);
    let ask = || [ask_raw(&app, &plus).status, app.ask(&space, &[]).status];
    assert_eq!(ask(), [200, 200]);
    // From now on only clients are in the cache, and ids that no client has are not.
    app.advance(Duration::from_secs(2));
    app.sql("ALTER TABLE clients RENAME TO gone");
    assert_eq!(ask(), [200, 200]);
    ask_raw(&app, &plus.with_secret("wr+ng")).assert_temporarily_unavailable();
    assert_eq!(denials(&app, "wrong_secret"), 1.0, "the guess is counted");
    ask_raw(&app, &TestClient::new("no+body", SECRET)).assert_temporarily_unavailable();
    assert_eq!(denials(&app, "unknown_client"), 0.0);
    app.sql("ALTER TABLE gone RENAME TO clients");
}

#[test]
fn a_password_hash_of_a_secret_sent_as_it_is_is_verified_once() {
    let app = TestApp::start();
    let client = with_password_hash(&app, "cho+sen", CHOSEN_SECRET);
    let verified = || Scrape::of(app.address).value(VERIFIED).unwrap();
    for _ in 0..4 {
        assert_eq!(ask_raw(&app, &client).status, 200);
    }
    // No client has the form-decoded id.
    assert_eq!(verified(), 1.0);
    let client = with_password_hash(&app, "chosen", CHOSEN_SECRET);
    for _ in 0..4 {
        assert_eq!(ask_raw(&app, &client).status, 200);
        assert_eq!(app.ask(&client, &[]).status, 200);
    }
    assert_eq!(
        verified(),
        3.0,
        "the form-decoded secret once, and the one that was sent"
    );
    ask_raw(&app, &client.with_secret("wr+ng")).assert_invalid_client();
    assert_eq!((verified(), denials(&app, "wrong_secret")), (5.0, 1.0));
}

#[test]
fn the_digest_that_replaces_a_password_hash_is_that_of_the_secret_of_the_client() {
    let app = TestApp::start();
    let client = with_password_hash(&app, "generated", "q8Xv+Rk2/Yt7+Zp4mW1sLh9cQe3uJdA6bNf5gT0oEiU=");
    let verified = || Scrape::of(app.address).value(VERIFIED).unwrap();
    assert_eq!(ask_raw(&app, &client).status, 200);
    assert_eq!(verified(), 2.0);
    let app = app.restart();
    assert_eq!(
        (ask_raw(&app, &client).status, app.ask(&client, &[]).status),
        (200, 200)
    );
    assert_eq!(Scrape::of(app.address).value(VERIFIED), Some(0.0));
}

/// Otherwise someone could guess without limit by hanging up each time.
#[test]
fn p17_hanging_up_while_two_password_hashes_are_verified_is_one_failure() {
    let app = TestApp::start();
    let operator = app.client_with_secret(CHOSEN_SECRET, |client| {
        client.scope = Scope::parse("mintage:admin").unwrap();
        client.default_scope = Scope::empty();
        let hash = bcrypt::hash(CHOSEN_SECRET, 4).unwrap();
        client.secrets[0].hash = SecretHash::from_stored(&hash).unwrap();
    });
    let guess = raw_request("/token", &operator.with_secret("gu+ess"), GRANT);
    let turn = app.hold_password_verifications();
    let waits = || Scrape::of(app.address).value(WAITING) == Some(1.0);
    hang_up(&app, &guess, waits);
    until("the failure is counted", HANG_UP_TIMEOUT, || {
        denials(&app, "wrong_secret") > 0.0
    });
    drop(turn);
    let failed = || app.database(|conn| mintage::db::audit::since(conn, None, 1000));
    let is_failure = |action: &str| action == "operator.sign_in_failed";
    until("the failure is audited", HANG_UP_TIMEOUT, || {
        failed().iter().any(|line| is_failure(&line.action))
    });
    assert_eq!(failed().iter().filter(|line| is_failure(&line.action)).count(), 1);
    assert_eq!(denials(&app, "wrong_secret"), 1.0);
}

/// The first pair was verified already, and only the second has to be loaded.
#[test]
fn p17_hanging_up_between_two_pairs_is_a_failure() {
    let url = postgres::empty().url;
    let setup = Setup::on_empty_database().configured(|config| {
        config.database.url = url.clone();
        config.server.workers = 1;
    });
    let app = setup.start();
    let client = with_id(&app, "plain", "right");
    assert_eq!(app.ask(&client, &[]).status, 200);
    // From now on, the cache knows that no client has this id.
    app.ask(&TestClient::new("nobody", "guess"), &[])
        .assert_invalid_client();
    let unknown = denials(&app, "unknown_client");
    let mut locking = PgConnection::establish(&url).unwrap();
    locking
        .batch_execute("BEGIN; LOCK TABLE clients IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let loads = || {
        Scrape::of(app.address)
            .value("mintage_client_cache_loads_total")
            .unwrap()
    };
    // Whether or not a client has the first id.
    for (id, reason, before_this) in [
        ("pl%61in", "wrong_secret", 0.0),
        ("no%62ody", "unknown_client", unknown),
    ] {
        let guess = raw_request("/token", &TestClient::new(id, "guess"), GRANT);
        let before = loads();
        hang_up(&app, &guess, || loads() > before);
        until("the failure is counted", HANG_UP_TIMEOUT, || {
            denials(&app, reason) > before_this
        });
        assert_eq!(denials(&app, reason), before_this + 1.0, "{id}");
    }
    locking.batch_execute("ROLLBACK").unwrap();
}
