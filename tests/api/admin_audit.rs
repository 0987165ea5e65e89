//! `/admin/audit`: each write of an operator is an audit event with actor and source, and without
//! secrets.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::app::Setup;
use testkit::http::Request;
use testkit::poll::until;
use testkit::token::jti;
use testkit::{TestApp, TestClient};

use crate::operator::{Operator, assert_no_content, path_of};

/// Action and subject of each event, oldest first.
fn actions(events: &[Value]) -> Vec<(String, String)> {
    let text = |event: &Value, member: &str| event[member].as_str().unwrap().to_owned();
    let action = |event: &Value| (text(event, "action"), text(event, "subject"));
    events.iter().rev().map(action).collect()
}

/// The events that are no notes: a note is written up to a second later.
fn changes(events: &[Value]) -> Vec<Value> {
    let is_note = |event: &Value| {
        let action = event["action"].as_str().unwrap();
        action.starts_with("operator.") || action.starts_with("admin.")
    };
    events.iter().filter(|event| !is_note(event)).cloned().collect()
}

/// An operator whose sign-in is in the audit log, so that nothing is added to it later.
fn signed_in(app: &TestApp) -> Operator<'_> {
    let operator = Operator::of(app);
    until("the sign-in is audited", Duration::from_secs(20), || {
        let page = operator.document("/admin/audit");
        page["items"].as_array().unwrap().len() == 1
    });
    operator
}

#[test]
fn every_write_is_an_audit_event_with_actor_and_source() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let (client, created) = operator.create(json!({"client_id": "a/b"}));
    let path = path_of(&client);
    operator.patch(&path, &json!({"enabled": false}));
    let secret = operator
        .post(&format!("{path}/secrets"), &json!({"expires_in_seconds": 5}))
        .json();
    let secret_id = created["secret_id"].as_str().unwrap();
    assert_no_content(&operator.delete(&format!("{path}/secrets/{secret_id}")));
    assert_no_content(&operator.send(Request::post(&format!("{path}/revoke-tokens"))));
    assert_no_content(&operator.delete(&path));
    let token = jti(&app.issue(&app.client(|_| {}), &[]));
    assert_no_content(&operator.delete(&format!("/admin/tokens/{token}")));
    let route = operator
        .post("/admin/routes", &json!({"path": "/orders", "scope": "x"}))
        .json();
    let route_id = route["id"].as_str().unwrap();
    assert_no_content(&operator.delete(&format!("/admin/routes/{route_id}")));
    let page = operator.document("/admin/audit");
    let events = &changes(page["items"].as_array().unwrap());
    let expected = [
        ("client.create", "a/b"),
        ("client.update", "a/b"),
        ("secret.add", "a/b"),
        ("secret.revoke", "a/b"),
        ("client.revoke_tokens", "a/b"),
        ("client.delete", "a/b"),
        ("token.revoke", &token),
        ("route.add", route_id),
        ("route.remove", route_id),
    ];
    assert_eq!(
        actions(events),
        expected.map(|(action, subject)| (action.to_owned(), subject.to_owned()))
    );
    for event in events {
        assert_eq!(
            (&event["actor"], &event["source"]),
            (&json!(operator.client.id), &json!("127.0.0.1"))
        );
        assert_eq!(
            (&event["actor_kind"], &event["context"]["token"]),
            (&json!("client"), &json!(jti(&operator.token)))
        );
        assert!(
            event["at"].as_str().unwrap().ends_with('Z') && event["id"].is_i64(),
            "{event}"
        );
        assert_eq!(event["hash"].as_str().unwrap().len(), 64);
        assert_eq!(event.as_object().unwrap().len(), 10);
    }
    assert_eq!(events[7]["detail"]["enabled"], json!({"before": true, "after": false}));
    assert_eq!(events[6]["detail"]["secret_id"], secret["secret_id"]);
    let text = page.to_string();
    for secret in [&created["client_secret"], &secret["client_secret"]] {
        assert!(!text.contains(&secret.as_str().unwrap()[..20]));
    }
}

#[test]
fn p43_the_source_is_the_client_ip_that_a_trusted_proxy_names() {
    let loopback = vec!["127.0.0.1".to_owned()];
    let app = Setup::new()
        .configured(|config| config.server.client_ip_proxies = loopback.try_into().unwrap())
        .start();
    let operator = signed_in(&app);
    let request = Request::post("/admin/clients").header("X-Forwarded-For", "203.0.113.9, 198.51.100.7");
    operator.send(request.json(&json!({"name": "n", "scope": "x"})));
    assert_eq!(operator.document("/admin/audit")["items"][0]["source"], "198.51.100.7");
}

/// A user of the machine is `NAME uid=N`, which is no proof: a client id may contain spaces.
#[test]
fn a_client_called_like_a_user_is_of_another_kind() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    for id in ["root", "root uid=0", "mintage"] {
        let (_, created) = operator.create(json!({"client_id": id, "scope": "mintage:admin"}));
        let client = TestClient::created(&created);
        let token = app.issue(&client, &[("scope", "mintage:admin")]);
        let app = &app;
        Operator { app, client, token }.create(json!({}));
        let page = operator.document("/admin/audit");
        let event = &changes(page["items"].as_array().unwrap())[0];
        assert_eq!((&event["actor"], &event["actor_kind"]), (&json!(id), &json!("client")));
    }
}

/// `audit_notes.rs` tests what is audited instead.
#[test]
fn a_rejected_write_is_no_event_of_a_change() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let reader = Operator::with_scope(&app, "mintage:read");
    assert_eq!(
        reader
            .post("/admin/clients", &json!({"name": "n", "scope": "x"}))
            .status,
        403
    );
    assert_eq!(operator.post("/admin/clients", &json!({"name": "n"})).status, 400);
    assert_eq!(operator.patch("/admin/clients/nobody", &json!({})).status, 404);
    assert_eq!(operator.delete("/admin/clients/nobody").status, 404);
    assert_eq!(operator.post("/admin/clients/nobody/secrets", &json!({})).status, 404);
    let page = operator.document("/admin/audit");
    assert_eq!(changes(page["items"].as_array().unwrap()), Vec::<Value>::new());
}

#[test]
fn the_audit_log_is_paged_from_newest_to_oldest() {
    let app = TestApp::start();
    let operator = signed_in(&app);
    for n in 0..5 {
        operator.create(json!({"client_id": format!("c{n}")}));
    }
    let pages = operator.pages("/admin/audit?limit=2");
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
    let subjects: Vec<String> = actions(&pages.concat())
        .into_iter()
        .map(|(_, subject)| subject)
        .collect();
    assert_eq!(subjects, ["mintage:admin", "c0", "c1", "c2", "c3", "c4"]);
}

#[test]
fn json_lines_hold_the_same_page_and_link_to_the_next() {
    let app = TestApp::start();
    let operator = signed_in(&app);
    for _ in 0..3 {
        operator.create(json!({}));
    }
    let get = |path: &str| operator.send(Request::get(path).header("Accept", "application/x-ndjson"));
    let answer = get("/admin/audit?limit=2");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/x-ndjson"))
    );
    assert_eq!(answer.header("vary"), Some("Accept"));
    answer.assert_common_headers();
    let lines = |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let page = operator.document("/admin/audit?limit=2");
    assert_eq!(json!(lines(&answer.text())), page["items"]);
    let link = answer.header("link").unwrap();
    let next = link
        .strip_prefix('<')
        .and_then(|link| link.strip_suffix(">; rel=\"next\""))
        .unwrap();
    let last = get(next);
    assert_eq!((lines(&last.text()).len(), last.header("link")), (2, None));
}

#[test]
fn json_lines_are_sent_only_if_the_accept_header_prefers_them() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    for (accept, lines) in [
        ("application/x-ndjson", true),
        ("Application/X-NDJSON", true),
        ("text/html, application/x-ndjson;q=0.5", true),
        ("application/json, application/x-ndjson", true),
        ("application/json, application/x-ndjson;q=0.9", false),
        ("application/x-ndjson;q=0", false),
        ("*/*", false),
        ("application/json", false),
        ("application/x-ndjson;q=x", false),
    ] {
        let answer = operator.send(Request::get("/admin/audit?limit=1").header("Accept", accept));
        let expected = if lines {
            "application/x-ndjson"
        } else {
            "application/json"
        };
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(expected)),
            "{accept}"
        );
    }
}
