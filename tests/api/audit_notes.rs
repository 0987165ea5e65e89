//! What the audit log says about calls that change nothing: sign-ins, and calls of the admin API
//! that were denied or failed.

use std::collections::BTreeMap;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use serde_json::{Value, json};
use testkit::http::{Connection, Request, Response};
use testkit::poll::eventually;
use testkit::token::{jti, token_request};
use testkit::{Program, Server, TestApp, TestClient};

use crate::operator::{OPERATIONS, Operator};

/// A text that must not get into the audit log, because a caller may put a secret anywhere.
const HIDDEN: &str = "hidden-in-the-request";

/// Longer than the time until a noted event is written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// The lines of the audit log with this action, once there is one.
fn written(app: &TestApp, action: &str) -> Vec<Value> {
    eventually(action, WRITE_TIMEOUT, || {
        let lines = app.database(|conn| mintage::db::audit::since(conn, None, 1000));
        let lines: Vec<Value> = lines
            .iter()
            .filter(|line| line.action == action)
            .map(|line| json!(line))
            .collect();
        (!lines.is_empty()).then_some(lines)
    })
}

fn token(server: &Server, client: &TestClient, scope: &str) -> String {
    server.send(&token_request(client, &[("scope", scope)])).access_token()
}

/// All lines after the server has stopped, with which nothing is left to be written.
fn lines_after_stop(program: &Program, mut server: Server) -> Vec<Value> {
    server.stop();
    let printed = program.run(&["audit"]);
    assert!(!printed.stdout.contains(HIDDEN), "{}", printed.stdout);
    printed
        .done()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// How often each (action, reason, actor, kind) occurred, as lines and in counts.
fn totals(lines: &[Value]) -> BTreeMap<String, u64> {
    let mut totals = BTreeMap::new();
    for line in lines.iter().filter(|line| line["detail"]["reason"].is_string()) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let key = [
            &line["action"],
            &line["detail"]["reason"],
            &line["actor"],
            &line["actor_kind"],
        ]
        .map(text);
        *totals.entry(key.join(" | ")).or_default() += line["detail"]["count"].as_u64().unwrap_or(1);
    }
    totals
}

/// The event that a response must have, by its status alone.
fn expected(method: &str, response: &Response, operator: Option<&str>, anonymous: &str) -> Option<String> {
    match (response.status, operator) {
        (400, None) => Some("admin.denied | malformed_token |  | anonymous".into()),
        (401, _) => Some(format!("admin.denied | {anonymous} |  | anonymous")),
        (403, Some(operator)) => Some(format!("admin.denied | insufficient_scope | {operator} | client")),
        (400.., Some(operator)) if method != "GET" => {
            let document = response.json();
            // The response names a member that does not exist, the audit log does not.
            let detail = match document["detail"].as_str().unwrap() {
                detail if detail.contains(HIDDEN) => "the body or the query is malformed",
                detail => detail,
            };
            Some(format!("admin.failed | {detail} | {operator} | client"))
        }
        _ => None,
    }
}

#[test]
fn every_denied_or_failed_call_of_every_endpoint_is_audited_once() {
    let program = testkit::program!().with_database();
    let server = program.serve(&[]);
    let admin = program.client("mintage:admin", &[]);
    let reader = program.client("mintage:audit", &[]);
    let stranger = program.client("orders:read", &[]);
    let callers: [(Option<String>, Option<&str>, &str); 6] = [
        (None, None, "no_token"),
        (Some("garbage".into()), None, "invalid_token"),
        (Some("gar bage".into()), None, "malformed_token"),
        (Some(token(&server, &stranger, "orders:read")), None, "invalid_token"),
        (
            Some(token(&server, &reader, "mintage:audit")),
            Some(&reader.id),
            "invalid_token",
        ),
        (
            Some(token(&server, &admin, "mintage:admin")),
            Some(&admin.id),
            "invalid_token",
        ),
    ];
    let mut all = BTreeMap::new();
    for (method, path, _) in OPERATIONS {
        let path = path
            .split('/')
            .map(|part| if part.starts_with('{') { HIDDEN } else { part });
        let path = path.collect::<Vec<_>>().join("/");
        for (token, operator, anonymous) in &callers {
            let mut request = Request::new(method, &path).json(&json!({ HIDDEN: 1 }));
            if method == "GET" {
                request = Request::get(&path);
            }
            if let Some(token) = token {
                request = request.bearer(token);
            }
            let response = server.send(&request);
            if let Some(event) = expected(method, &response, *operator, anonymous) {
                *all.entry(event).or_default() += 1;
            }
        }
    }
    assert!(all.values().sum::<u64>() > 80, "{all:?}");
    assert_eq!(totals(&lines_after_stop(&program, server)), all);
    assert!(
        program
            .run(&["audit", "verify"])
            .done()
            .contains("audit lines verified")
    );
}

#[test]
fn a_denied_call_names_method_path_and_address() {
    let app = TestApp::start();
    let reader = Operator::with_scope(&app, "mintage:read");
    let request = Request::post("/admin/routes").header("X-Request-Id", "of-this-call");
    assert_eq!(
        reader.send(request.json(&json!({"path": "/x", "scope": "x"}))).status,
        403
    );
    let line = &written(&app, "admin.denied")[0];
    assert_eq!(line["subject"], "POST /admin/routes");
    assert_eq!(
        (&line["actor"], &line["source"]),
        (&json!(reader.client.id), &json!("127.0.0.1"))
    );
    assert_eq!(
        line["detail"],
        json!({"status": 403, "reason": "insufficient_scope", "request_id": "of-this-call"})
    );
    let operator = Operator::of(&app);
    assert_eq!(operator.delete("/admin/clients/nobody").status, 404);
    let line = &written(&app, "admin.failed")[0];
    assert_eq!(line["subject"], "DELETE /admin/clients/{client_id}");
    assert_eq!(line["detail"]["reason"], "client not found");
    assert_eq!(line["context"]["token"], jti(&operator.token));
}

#[test]
fn a_denied_call_has_the_request_id_of_its_response() {
    let app = TestApp::start();
    let response = app.send(Request::get("/admin/keys"));
    let line = &written(&app, "admin.denied")[0];
    assert_eq!(line["detail"]["request_id"], response.header("x-request-id").unwrap());
}

/// Everyone to whom a client ever showed a token can present it.
#[test]
fn a_token_that_does_not_authorize_names_its_client_only_as_a_claim() {
    let app = TestApp::start();
    let client = app.client_with_scope("orders:read");
    let token = app.issue(&client, &[("scope", "orders:read")]);
    assert_eq!(app.send(Request::get("/admin/keys").bearer(&token)).status, 401);
    let line = &written(&app, "admin.denied")[0];
    assert_eq!((&line["actor"], &line["actor_kind"]), (&json!(""), &json!("anonymous")));
    assert_eq!(line["context"], json!({ "token_client": client.id }));
}

#[test]
fn a_repeated_authorization_header_is_audited() {
    let app = TestApp::start();
    let request = Request::get("/admin/keys").bearer("a").bearer("b");
    assert_eq!(app.send(request).status, 400);
    let detail = &written(&app, "admin.denied")[0]["detail"];
    assert_eq!(
        (&detail["status"], &detail["reason"]),
        (&json!(400), &json!("malformed_token"))
    );
}

#[test]
fn calls_that_fail_for_want_of_the_database_are_audited_with_reads() {
    const TOKENS: &str = "/admin/tokens?client_id=x";
    let app = TestApp::start();
    let operator = Operator::of(&app);
    assert_eq!(operator.get(TOKENS).status, 200);
    app.sql("ALTER TABLE tokens RENAME TO gone");
    let failed = operator.get(TOKENS).status;
    assert!(failed >= 500, "{failed}");
    let line = &written(&app, "admin.failed")[0];
    assert_eq!(
        (&line["subject"], &line["actor"]),
        (&json!("GET /admin/tokens"), &json!(operator.client.id))
    );
    app.sql("ALTER TABLE changes RENAME TO gone_too");
    eventually("revocations are unknown", WRITE_TIMEOUT, || {
        (operator.get("/admin/keys").status == 503).then_some(())
    });
    let line = eventually("the denial is written", WRITE_TIMEOUT, || {
        let lines = written(&app, "admin.failed");
        lines.into_iter().find(|line| line["detail"]["reason"] == "unavailable")
    });
    assert_eq!(
        (&line["actor_kind"], &line["context"]["token_client"]),
        (&json!("anonymous"), &json!(operator.client.id))
    );
    app.sql("ALTER TABLE gone_too RENAME TO changes; ALTER TABLE gone RENAME TO tokens");
}

#[test]
fn events_that_the_database_rejects_are_an_error_of_the_log() {
    let program = testkit::program!().with_database();
    let mut server = program.serve(&[]);
    testkit::sqlite::connect(&program.database_path())
        .batch_execute(
            "CREATE TRIGGER no_grant BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'permission denied'); END",
        )
        .unwrap();
    assert_eq!(server.send(&Request::get("/admin/keys")).status, 401);
    server.wait_for_log("audit events rejected by the database");
    assert!(!server.log().contains("audit events delayed"), "{}", server.log());
    server.stop();
    assert!(server.log().contains("audit events lost count=1"), "{}", server.log());
}

#[test]
fn a_second_stop_signal_logs_which_audit_events_are_lost_and_no_token_records() {
    let program = testkit::program!()
        .with_database()
        .with("MINTAGE_SERVER__DRAIN_DELAY", "20s");
    let mut server = program.serve(&[]);
    testkit::sqlite::connect(&program.database_path())
        .batch_execute(
            "CREATE TRIGGER no_grant BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'permission denied'); END",
        )
        .unwrap();
    assert_eq!(server.send(&Request::get("/admin/keys")).status, 401);
    server.wait_for_log("audit events rejected by the database");
    server.signal("TERM");
    server.wait_for_log("server stopping");
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(1));
    let log = server.log();
    assert!(log.contains("ERROR audit events lost count=1\n"), "{log}");
    assert!(!log.contains("ERROR token records lost"), "{log}");
}

#[test]
fn a_sign_in_is_audited_with_secret_and_address() {
    let app = TestApp::start();
    let operator = Operator::with_scope(&app, "mintage:read mintage:keys");
    for scope in ["orders:read", "mintage:introspect"] {
        app.issue(&app.client_with_scope(scope), &[("scope", scope)]);
    }
    let lines = written(&app, "operator.sign_in");
    assert_eq!(lines.len(), 1, "only tokens for the admin API are sign-ins");
    let (line, claims) = (&lines[0], app.claims(&operator.token));
    assert_eq!(
        (&line["actor"], &line["source"]),
        (&json!(operator.client.id), &json!("127.0.0.1"))
    );
    assert_eq!(line["subject"], "mintage:read mintage:keys");
    assert_eq!(line["detail"]["secret_id"], json!(claims.secret_id));
    assert_eq!(
        line["context"],
        json!({"token": claims.jti.to_string(), "secret_id": claims.secret_id})
    );
}

#[test]
fn a_change_names_the_token_and_the_secret_of_its_operator() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    operator.create(json!({}));
    let claims = app.claims(&operator.token);
    assert_eq!(
        written(&app, "client.create")[0]["context"],
        json!({"token": claims.jti.to_string(), "secret_id": claims.secret_id})
    );
}

#[test]
fn a_failed_sign_in_of_an_operator_is_audited_and_of_a_stranger_is_not() {
    let program = testkit::program!().with_database();
    let server = program.serve(&[]);
    let admin = program.client("mintage:admin", &[]);
    let introspector = program.client("mintage:introspect", &[]);
    let unknown = TestClient::new(HIDDEN, HIDDEN);
    for client in [&unknown, &introspector.with_secret(HIDDEN), &admin.with_secret(HIDDEN)] {
        for _ in 0..3 {
            assert_eq!(server.send(&token_request(client, &[])).status, 401);
        }
    }
    program.run(&["client", "disable", &admin.id]).done();
    server.wait_for_change_feed();
    assert_eq!(server.send(&token_request(&admin, &[])).status, 401);
    let lines = lines_after_stop(&program, server);
    let failed: Vec<&Value> = lines
        .iter()
        .filter(|line| line["action"] == "operator.sign_in_failed")
        .collect();
    assert!(failed.iter().all(|line| line["subject"] == admin.id), "{failed:?}");
    let reasons: BTreeMap<String, u64> = totals(&lines);
    assert_eq!(
        reasons,
        BTreeMap::from([
            ("operator.sign_in_failed | disabled_client |  | anonymous".to_owned(), 1),
            ("operator.sign_in_failed | wrong_secret |  | anonymous".to_owned(), 3),
        ])
    );
}

#[test]
fn a_thousand_garbage_tokens_are_two_lines() {
    let program = testkit::program!().with_database();
    let server = program.serve(&[]);
    let mut connection = Connection::open(server.address);
    for n in 0..1000 {
        let request = Request::get("/admin/clients").bearer(&format!("garbage{n}"));
        assert_eq!(connection.ask(&request).status, 401);
    }
    let lines = lines_after_stop(&program, server);
    let counts: Vec<Option<u64>> = lines.iter().map(|line| line["detail"]["count"].as_u64()).collect();
    assert_eq!(counts, [None, Some(999)]);
    assert_eq!(lines[1]["subject"], "*");
}

#[test]
fn reads_are_audited_if_configured() {
    for (reads, expected) in [("false", 0), ("true", 2)] {
        let program = testkit::program!().with_database().with("MINTAGE_AUDIT__READS", reads);
        let server = program.serve(&[]);
        let reader = program.client("mintage:read", &[]);
        let token = token(&server, &reader, "mintage:read");
        for _ in 0..2 {
            let path = format!("/admin/clients/{}?{HIDDEN}", reader.id);
            assert_eq!(server.send(&Request::get("/admin/keys").bearer(&token)).status, 200);
            server.send(&Request::get(&path).bearer(&token));
        }
        let lines = lines_after_stop(&program, server);
        let keys = lines
            .iter()
            .filter(|line| line["action"] == "admin.read" && line["subject"] == "GET /admin/keys");
        assert_eq!(keys.count(), expected, "{reads}");
    }
}

#[test]
fn clearing_the_caches_is_audited() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    assert_eq!(operator.post("/admin/cache/clear", &json!({})).status, 204);
    let lines = written(&app, "cache.clear");
    assert_eq!((lines.len(), &lines[0]["actor"]), (1, &json!(operator.client.id)));
}
