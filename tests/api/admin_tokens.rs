//! `/admin/tokens`: the token records of a client, and revocation by an operator.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::app::{ISSUER, ORDERS, Setup};
use testkit::http::Request;
use testkit::poll::until;
use testkit::token::{claims, jti};
use testkit::{TestApp, TestClient, eventually};

use crate::introspection::is_active;
use crate::operator::{
    Operator, assert_bad_request, assert_no_content, assert_not_found, escaped, path_of, three_workers,
};

fn list_path(client: &TestClient) -> String {
    format!("/admin/tokens?client_id={}", escaped(&client.id))
}

/// Waits until a client has `count` token records, and returns them.
#[track_caller]
fn listed(operator: &Operator, client: &TestClient, count: usize) -> Vec<Value> {
    let whole = || {
        operator.document(&list_path(client))["items"]
            .as_array()
            .unwrap()
            .clone()
    };
    eventually(&format!("{count} records are listed"), Duration::from_secs(10), || {
        Some(whole()).filter(|items| items.len() == count)
    })
}

#[test]
fn a_token_record_has_exactly_these_members() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let client = app.client(|_| {});
    let token = app.issue(
        &client,
        &[
            ("resource", ORDERS),
            ("resource", "urn:example:two"),
            ("scope", "orders:read"),
        ],
    );
    let record = listed(&operator, &client, 1).remove(0);
    let time = |name: &str| {
        let seconds = claims(&token)[name].as_i64().unwrap();
        mintage::time::UnixMillis::from_seconds(seconds).to_string()
    };
    assert_eq!(
        record,
        json!({
            "jti": jti(&token), "client_id": client.id, "scope": "orders:read",
            "audience": format!("{ORDERS} urn:example:two"), "issued_at": time("iat"), "expires_at": time("exp"),
            "one_time": false, "secret_id": secret_of(&operator, &client), "client_ip": "127.0.0.1", "revoked": false,
        })
    );
}

/// The id of the only secret of a client.
fn secret_of(operator: &Operator, client: &TestClient) -> Value {
    operator.document(&format!("{}/secrets", path_of(client)))["items"][0]["secret_id"].clone()
}

#[test]
fn the_tokens_of_one_secret_are_listed_alone() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let client = app.client(|_| {});
    let first = secret_of(&operator, &client);
    let added = operator
        .post(&format!("{}/secrets", path_of(&client)), &json!({}))
        .json();
    let second = client.with_secret(added["client_secret"].as_str().unwrap());
    let ids: Vec<String> = [&client, &second, &client]
        .map(|with| jti(&app.issue(with, &[])))
        .into();
    listed(&operator, &client, 3);
    let list =
        |secret_id: &str, more: &str| operator.document(&format!("{}&secret_id={secret_id}{more}", list_path(&client)));
    let of_second = list(added["secret_id"].as_str().unwrap(), "");
    assert_eq!(of_second["items"].as_array().unwrap().len(), 1);
    assert_eq!(of_second["items"][0]["jti"], ids[1]);
    let page = list(first.as_str().unwrap(), "&limit=1");
    assert_eq!(page["items"][0]["jti"], ids[2]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = list(first.as_str().unwrap(), &format!("&limit=1&cursor={cursor}"));
    assert_eq!(next["items"][0]["jti"], ids[0]);
    // The cursor belongs to this secret's list.
    let other = operator.get(&format!("{}&cursor={cursor}", list_path(&client)));
    assert_bad_request(&other, "the cursor does not belong to this list");
    let malformed = operator.get(&format!("{}&secret_id=%00", list_path(&client)));
    assert_bad_request(&malformed, "secret_id must be letters and digits");
}

#[test]
fn the_records_of_a_client_are_listed_newest_first_and_in_pages() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let [client, other] = [(), ()].map(|()| app.client(|client| client.id = id_to_encode()));
    let mut issued: Vec<String> = (0..5)
        .map(|_| {
            app.issue(&other, &[]);
            jti(&app.issue(&client, &[]))
        })
        .collect();
    issued.sort();
    issued.reverse();
    let ids = |records: &[Value]| -> Vec<String> {
        records
            .iter()
            .map(|record| record["jti"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&listed(&operator, &client, 5)), issued);
    let pages = operator.pages(&format!("{}&limit=2", list_path(&client)));
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(ids(&pages.concat()), issued);
}

/// A client id that must be percent-encoded.
fn id_to_encode() -> mintage::oauth::client::ClientId {
    let id = format!("a+b/ &={}", mintage::random::random_text(8));
    mintage::oauth::client::ClientId::parse(&id).unwrap()
}

#[test]
fn the_list_shows_which_tokens_are_revoked() {
    let app = Setup::new().with_mock_clock().start();
    let operator = Operator::of(&app);
    let client = app.client(|_| {});
    let [first, second] = [(), ()].map(|()| app.issue(&client, &[]));
    listed(&operator, &client, 2);
    assert_no_content(&operator.delete(&format!("/admin/tokens/{}", jti(&first))));
    let revoked = |token: &str| {
        let records = listed(&operator, &client, 2);
        let record = records.iter().find(|record| record["jti"] == json!(jti(token)));
        record.unwrap()["revoked"].clone()
    };
    assert_eq!((revoked(&first), revoked(&second)), (json!(true), json!(false)));
    let all = operator.send(Request::post(&format!("{}/revoke-tokens", path_of(&client))));
    assert_no_content(&all);
    assert_eq!(revoked(&second), json!(true));
}

#[test]
fn whether_an_expired_token_was_revoked_may_be_unknown() {
    let app = Setup::new().with_mock_clock().start();
    let operator = Operator::of(&app);
    let client = app.client(|client| client.ttl_seconds = Some(60));
    app.issue(&client, &[]);
    listed(&operator, &client, 1);
    app.advance(Duration::from_secs(61));
    assert_eq!(listed(&operator, &client, 1)[0]["revoked"], Value::Null);
}

#[test]
fn a_token_id_from_the_far_future_is_404_and_not_stored() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let answer = operator.delete("/admin/tokens/ffffffff-ffff-7fff-bfff-ffffffffffff");
    assert_eq!(answer.status, 404, "{}", answer.text());
}

#[test]
fn client_id_is_required_but_need_not_exist() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    for query in ["", "?client_id=", "?limit=1"] {
        assert_bad_request(
            &operator.get(&format!("/admin/tokens{query}")),
            "client_id must be given",
        );
    }
    const ID: &str = "client_id must be 1 to 128 printable ASCII characters";
    assert_bad_request(&operator.get("/admin/tokens?client_id=%C3%A9"), ID);
    let nothing = json!({"items": [], "next_cursor": null});
    assert_eq!(operator.document("/admin/tokens?client_id=nobody"), nothing);
}

#[test]
fn p38_a_token_revoked_by_an_operator_is_inactive_immediately_on_every_worker() {
    let app = three_workers();
    let operator = Operator::of(&app);
    let client = app.client(|client| client.introspection_audiences = vec![ISSUER.into()]);
    for _ in 0..20 {
        let token = app.issue(&client, &[]);
        assert!(is_active(&app, &client, &token));
        assert_no_content(&operator.delete(&format!("/admin/tokens/{}", jti(&token))));
        assert!((0..6).all(|_| !is_active(&app, &client, &token)));
    }
}

#[test]
fn p38_all_tokens_of_a_client_are_revoked_immediately_on_every_worker() {
    let app = three_workers();
    let operator = Operator::of(&app);
    let client = app.client(|_| {});
    for _ in 0..10 {
        let tokens = [(), (), ()].map(|()| app.issue(&client, &[]));
        assert_no_content(&operator.send(Request::post(&format!("{}/revoke-tokens", path_of(&client)))));
        for token in &tokens {
            assert!((0..4).all(|_| !is_active(&app, &client, token)));
        }
        until(
            "a token issued from the next millisecond on is active",
            Duration::from_secs(1),
            || {
                let token = app.issue(&client, &[]);
                is_active(&app, &client, &token)
            },
        );
    }
}

#[test]
fn g1_a_revocation_by_an_operator_survives_a_restart() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    assert_no_content(&operator.delete(&format!("/admin/tokens/{}", jti(&token))));
    let app = app.restart();
    assert!(!is_active(&app, &client, &token));
}

#[test]
fn an_unknown_token_or_client_is_404() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    for id in ["x", "01234567-89AB-7fff-bfff-ffffffffffff", "%2F", "%00"] {
        assert_not_found(&operator.delete(&format!("/admin/tokens/{id}")), "token not found");
    }
    let answer = operator.send(Request::post("/admin/clients/nobody/revoke-tokens"));
    assert_not_found(&answer, "client not found");
}
