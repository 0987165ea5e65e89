//! `/admin/denials`: who is denied, by reason and caller.

use serde_json::{Value, json};
use testkit::TestApp;
use testkit::app::Setup;
use testkit::gateway::original;
use testkit::http::{Connection, Request};
use testkit::token::{about_token, token_request};

use crate::operator::Operator;

/// A server that believes `X-Forwarded-For`.
fn behind_a_proxy() -> TestApp {
    let believes = |config: &mut mintage::config::Config| {
        config.server.client_ip_proxies = vec!["127.0.0.1".to_owned()].try_into().unwrap();
    };
    Setup::new().configured(believes).start()
}

/// The items, without the times.
fn items(operator: &Operator) -> Vec<Value> {
    let mut document = operator.document("/admin/denials");
    let since = document["since"].as_str().unwrap().to_owned();
    let items = document["items"].as_array_mut().unwrap();
    for item in items.iter_mut() {
        let at = item.as_object_mut().unwrap().remove("last_at").unwrap();
        assert!(at.as_str().unwrap() >= &*since, "{at}");
    }
    items.clone()
}

#[test]
fn denials_are_counted_by_reason_and_client_and_never_name_an_unknown_id() {
    let app = behind_a_proxy();
    let operator = Operator::of(&app);
    let client = app.client(|_| {});
    let token = app.issue(&client, &[("scope", "orders:read")]);
    operator.post("/admin/routes", &json!({"path": "/r", "scope": "orders:write"}));
    let wrong = token_request(&client.with_secret("wrong"), &[]);
    (0..3).for_each(|_| {
        app.send(wrong.clone().header("X-Forwarded-For", "192.0.2.1"))
            .assert_invalid_client()
    });
    let stranger = Request::post("/token")
        .basic_raw("a-secret-in-the-wrong-field:x")
        .form(&[("grant_type", "x")]);
    (0..2).for_each(|_| {
        app.send(stranger.clone().header("X-Forwarded-For", "192.0.2.2"))
            .assert_invalid_client()
    });
    assert_eq!(app.send(original("GET", "/r").bearer(&token)).status, 403);
    assert_eq!(app.send(about_token("/revoke", &client, &token)).status, 200);
    assert_eq!(app.send(original("GET", "/r").bearer(&token)).status, 401);
    assert_eq!(app.send(original("GET", "/r").bearer("no.token")).status, 401);
    let item = |reason: &str, client: Value, address: &str, count: u64| json!({"reason": reason, "client_id": client, "client_ip": address, "count": count});
    let id = || Value::from(client.id.as_str());
    let expected = [
        item("wrong_secret", id(), "192.0.2.1", 3),
        item("unknown_client", Value::Null, "192.0.2.2", 2),
        item("insufficient_scope", id(), "127.0.0.1", 1),
        item("invalid_token", id(), "127.0.0.1", 1),
        item("invalid_token", Value::Null, "127.0.0.1", 1),
    ];
    let found = items(&operator);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    assert_eq!(found[..2], expected[..2], "the most frequent first");
    assert!(expected.iter().all(|item| found.contains(item)), "{found:?}");
    assert_eq!(operator.document("/admin/denials")["others"], json!([]));
}

#[test]
fn denials_of_many_addresses_are_counted_in_bounded_memory() {
    const ADDRESSES: u32 = 5000;
    let app = behind_a_proxy();
    let operator = Operator::of(&app);
    let client = app.client(|_| {});
    app.send(token_request(&client.with_secret("wrong"), &[]))
        .assert_invalid_client();
    let mut connection = Connection::open(app.address);
    for number in 0..ADDRESSES {
        let address = std::net::Ipv4Addr::from_bits((192 << 24) + number).to_string();
        let stranger = Request::post("/token")
            .basic_raw("stranger:x")
            .header("X-Forwarded-For", &address);
        connection
            .ask(&stranger.form(&[("grant_type", "x")]))
            .assert_invalid_client();
    }
    let document = operator.document("/admin/denials");
    let items = document["items"].as_array().unwrap();
    assert_eq!(
        items.len(),
        1024 + 1,
        "all callers that there is room for, and the client"
    );
    assert!(items.iter().any(|item| item["client_id"] == client.id));
    let others = &document["others"];
    assert_eq!(others[0]["reason"], "unknown_client");
    assert_eq!(others[0]["count"], u64::from(ADDRESSES) - 1024);
}

#[test]
fn the_denials_need_a_duty_of_reading() {
    let app = TestApp::shared();
    for (scope, status) in [
        ("mintage:admin", 200),
        ("mintage:read", 200),
        ("mintage:audit", 200),
        ("mintage:clients", 403),
    ] {
        assert_eq!(
            Operator::with_scope(&app, scope).get("/admin/denials").status,
            status,
            "{scope}"
        );
    }
}
