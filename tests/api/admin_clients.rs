//! `/admin/clients`: clients made, listed, changed and deleted, for every worker at once.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use serde_json::{Value, json};
use testkit::app::Setup;
use testkit::http::{Request, Response};
use testkit::poll::until;
use testkit::{TestApp, TestClient};

use crate::introspection::is_active;
use crate::operator::{
    Operator, assert_bad_request, assert_no_content, assert_not_found, escaped, path_of, three_workers,
};

const NO_CLIENT: &str = "client not found";
const NOT_READ: &str = "the body must be a JSON object of known members, each at most once and of its type";
const STALE: &str = "If-Match does not name the current version of the client";

/// Connections that reach all of three workers, as good as certainly.
const TRIES: usize = 12;

#[track_caller]
fn assert_stale(answer: &Response) {
    answer.assert_problem(412, "Precondition Failed", STALE, None);
}

/// The tag of a client's version now.
fn etag(operator: &Operator, client: &TestClient) -> String {
    operator.get(&path_of(client)).header("etag").unwrap().to_owned()
}

fn patch_if(operator: &Operator, client: &TestClient, condition: &str, change: &Value) -> Response {
    let request = Request::new("PATCH", &path_of(client));
    operator.send(request.header("If-Match", condition).json(change))
}

fn delete_if(operator: &Operator, client: &TestClient, condition: &str) -> Response {
    operator.send(Request::new("DELETE", &path_of(client)).header("If-Match", condition))
}

#[test]
fn a_client_is_made_and_its_secret_is_shown_once() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let document = json!({
        "client_id": "shop one", "name": "Shop", "enabled": true, "scope": "a b", "default_scope": "a",
        "audiences": ["https://one.example"], "introspection_audiences": ["urn:two:b"], "auth_methods": ["client_secret_post"],
        "ttl_seconds": 90, "alg": "EdDSA",
    });
    let answer = operator.post("/admin/clients", &document);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.assert_common_headers();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("location"), Some("/admin/clients/shop%20one"));
    let mut made = answer.json();
    let secret = made["client_secret"].take();
    assert!(secret.as_str().unwrap().starts_with("mtgcs"), "{secret}");
    for member in ["client_secret", "secret_id"] {
        assert!(made.as_object_mut().unwrap().remove(member).is_some(), "{member}");
    }
    let shown = operator.get("/admin/clients/shop%20one");
    assert_eq!(shown.json(), made);
    assert_eq!(shown.header("etag"), answer.header("etag"));
    for (member, value) in document.as_object().unwrap() {
        assert_eq!(&made[member], value, "{member}");
    }
    let members: BTreeSet<&str> = made.as_object().unwrap().keys().map(String::as_str).collect();
    let times = ["created_at", "updated_at"];
    let expected = document.as_object().unwrap().keys().map(String::as_str).chain(times);
    assert_eq!(members, expected.collect());
}

#[test]
fn a_new_client_works_at_once_even_where_its_id_was_unknown_a_moment_ago() {
    let app = three_workers();
    let operator = Operator::of(&app);
    let early = TestClient {
        id: "soon".into(),
        secret: "x".into(),
    };
    for _ in 0..TRIES {
        app.ask(&early, &[]).assert_invalid_client();
    }
    let (client, _) = operator.create(json!({"client_id": "soon"}));
    for _ in 0..TRIES {
        app.issue(&client, &[]);
    }
}

#[test]
fn without_an_id_one_is_made() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, made) = operator.create(json!({}));
    assert_eq!(client.id.len(), 20);
    assert_eq!(
        (&made["default_scope"], &made["enabled"], &made["ttl_seconds"]),
        (&json!("orders:read orders:write"), &json!(true), &Value::Null)
    );
    assert_eq!(app.issue(&client, &[]).split('.').count(), 3);
}

#[test]
fn an_id_that_is_taken_is_409_and_nothing_is_done() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({"name": "first"}));
    let document = json!({"client_id": client.id, "name": "second", "scope": "x"});
    let answer = operator.post("/admin/clients", &document);
    answer.assert_problem(409, "Conflict", "the client id is already in use", None);
    assert_eq!(operator.document(&path_of(&client))["name"], "first");
    app.issue(&client, &[]);
}

#[test]
fn the_former_name_of_a_member_is_400_with_a_hint() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    const HINT: &str = "`serves` is now `introspection_audiences`";
    let document = json!({"name": "n", "scope": "x", "serves": ["https://a.example"]});
    assert_bad_request(&operator.post("/admin/clients", &document), HINT);
    assert_bad_request(&operator.patch(&path_of(&client), &json!({"serves": []})), HINT);
}

#[test]
fn what_is_malformed_is_named_and_not_echoed() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, before) = operator.create(json!({}));
    const URIS: &str = "at most 100 absolute URIs without fragment, each at most 2000 bytes";
    for (member, value, must_be) in [
        ("name", json!(""), "1 to 200 characters without control characters"),
        ("default_scope", json!("nothing:like:it"), "a part of the scope"),
        ("audiences", json!(["not-a-uri"]), URIS),
        ("introspection_audiences", json!(["https://a.example/#b"]), URIS),
        (
            "auth_methods",
            json!(["private_key_jwt"]),
            "client_secret_basic or client_secret_post",
        ),
        ("ttl_seconds", json!(0), "whole seconds from 1s to 30d"),
        ("alg", json!("none"), "one of ES256, EdDSA, RS256, PS256, HS256"),
    ] {
        let detail = format!("{member} must be {must_be}");
        assert_bad_request(&operator.patch(&path_of(&client), &json!({member: value})), &detail);
        let mut document = json!({"name": "n", "scope": "x"});
        document[member] = value;
        assert_bad_request(&operator.post("/admin/clients", &document), &detail);
    }
    let id_changed = operator.patch(&path_of(&client), &json!({"client_id": "another"}));
    assert_bad_request(&id_changed, "client_id must be left out: it never changes");
    let bad_id = json!({"client_id": "é", "name": "n", "scope": "x"});
    const ID: &str = "client_id must be 1 to 128 printable ASCII characters";
    assert_bad_request(&operator.post("/admin/clients", &bad_id), ID);
    assert_bad_request(
        &operator.post("/admin/clients", &json!({"scope": "x"})),
        "name must be given",
    );
    assert_eq!(operator.document(&path_of(&client))["updated_at"], before["updated_at"]);
}

#[test]
fn a_body_that_is_not_the_document_is_400() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    for body in [
        "",
        "{",
        "[]",
        // As many as there are members, in their order.
        "[null, null, null, null, null, null, null, null, null, null]",
        "null",
        "\"name\"",
        "{\"name\": 1}",
        "{\"enabled\": \"yes\"}",
        "{\"name\": \"a\", \"name\": \"b\"}",
        "{\"nmae\": \"a\"}",
        "{\"client_secret\": \"chosen\"}",
        "{\"ttl_seconds\": 1.5}",
        "{\"ttl_seconds\": 1e999}",
        "{\"name\": \"a\"} {}",
        "\u{feff}{}",
        &deep,
    ] {
        for request in [
            Request::new("PATCH", &path_of(&client)),
            Request::post("/admin/clients"),
        ] {
            assert_bad_request(&operator.send(request.body("application/json", body)), NOT_READ);
        }
    }
}

#[test]
fn only_json_is_read_and_no_more_than_a_bound() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    const MEDIA: &str = "the media type of the body is not accepted here";
    for media_type in [
        "",
        "application/x-www-form-urlencoded",
        "text/json",
        "application/merge-patch+json",
    ] {
        for request in [
            Request::new("PATCH", &path_of(&client)),
            Request::post("/admin/clients"),
        ] {
            let answer = operator.send(request.body(media_type, "{\"name\": \"n\", \"scope\": \"x\"}"));
            answer.assert_problem(415, "Unsupported Media Type", MEDIA, None);
        }
    }
    let parameters = Request::new("PATCH", &path_of(&client)).body("Application/JSON; charset=utf-8", "{}");
    assert_eq!(operator.send(parameters).status, 200);
    // In pieces, so that nothing declares how much it will be.
    let pieces = format!("{:x}\r\n{}\r\n0\r\n\r\n", 20_000, "x".repeat(20_000));
    let head = Request::post("/admin/clients").header("Transfer-Encoding", "chunked");
    let mut request = head
        .header("Content-Type", "application/json")
        .bearer(&operator.token)
        .bytes();
    request.extend(pieces.bytes());
    let answer = testkit::http::send_raw(app.admin_address, &request).unwrap();
    answer.assert_problem(413, "Payload Too Large", "the body is too large", None);
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn disabling_makes_tokens_inactive_at_once_on_every_worker() {
    let app = three_workers();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let asking = app.client_with_scope("mintage:introspect");
    for round in 0..10 {
        let token = app.issue(&client, &[]);
        for _ in 0..TRIES {
            app.issue(&client, &[]);
            assert!(is_active(&app, &asking, &token));
        }
        let answer = operator.patch(&path_of(&client), &json!({"enabled": false}));
        assert_eq!(
            (answer.status, &answer.json()["enabled"]),
            (200, &json!(false)),
            "{round}"
        );
        for _ in 0..TRIES {
            assert!(!is_active(&app, &asking, &token), "{round}");
            app.ask(&client, &[]).assert_invalid_client();
        }
        assert_eq!(operator.patch(&path_of(&client), &json!({"enabled": true})).status, 200);
        for _ in 0..TRIES {
            assert!(is_active(&app, &asking, &token), "{round}");
            app.issue(&client, &[]);
        }
    }
}

#[test]
fn a_change_counts_at_once_and_leaves_the_rest() {
    let app = three_workers();
    let operator = Operator::of(&app);
    let (client, before) = operator.create(json!({"ttl_seconds": 60}));
    for _ in 0..TRIES {
        app.issue(&client, &[("scope", "orders:write")]);
    }
    let after = operator
        .patch(&path_of(&client), &json!({"scope": "orders:read", "ttl_seconds": null}))
        .json();
    for _ in 0..TRIES {
        let refused = app.ask(&client, &[("scope", "orders:write")]);
        assert_eq!(
            (refused.status, &refused.json()["error"]),
            (400, &json!("invalid_scope"))
        );
        assert_eq!(app.ask(&client, &[]).json()["expires_in"], 3600);
    }
    assert_eq!(
        (&after["scope"], &after["ttl_seconds"]),
        (&json!("orders:read"), &Value::Null)
    );
    assert_eq!(
        (&after["name"], &after["created_at"]),
        (&before["name"], &before["created_at"])
    );
}

#[test]
fn a_change_of_another_version_is_412_and_changes_nothing() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let first = etag(&operator, &client);
    let changed = patch_if(&operator, &client, &first, &json!({"name": "second"}));
    let second = changed.header("etag").unwrap().to_owned();
    assert_eq!((changed.status, &second), (200, &etag(&operator, &client)));
    assert_ne!(first, second);
    let weak = format!("W/{second}");
    let bare = second.trim_matches('"').to_owned();
    for stale in [first.as_str(), "\"\"", "\"x\", \"y\"", &weak, &format!("\"a,{bare}\"")] {
        assert_stale(&patch_if(&operator, &client, stale, &json!({"name": "third"})));
        assert_stale(&delete_if(&operator, &client, stale));
    }
    assert_eq!(operator.document(&path_of(&client))["name"], "second");
    for malformed in ["", "x", &bare, "*, \"x\"", "\"x"] {
        const DETAIL: &str = "If-Match must be * or a list of entity tags";
        assert_bad_request(
            &patch_if(&operator, &client, malformed, &json!({"name": "third"})),
            DETAIL,
        );
        assert_bad_request(&delete_if(&operator, &client, malformed), DETAIL);
    }
    assert_eq!(
        patch_if(&operator, &client, &format!("\"x\" ,, {second}"), &json!({})).status,
        200
    );
    assert_eq!(patch_if(&operator, &client, "*", &json!({"name": "third"})).status, 200);
    let last = etag(&operator, &client);
    assert_no_content(&delete_if(&operator, &client, &last));
    // What is not there has no version that could be another (RFC 9110 §13.2.1).
    assert_not_found(&delete_if(&operator, &client, "*"), NO_CLIENT);
    assert_not_found(&patch_if(&operator, &client, &last, &json!({})), NO_CLIENT);
}

#[test]
fn several_if_match_headers_are_one_list() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let tag = etag(&operator, &client);
    let request = || Request::new("PATCH", &path_of(&client)).header("If-Match", "\"x\"");
    assert_stale(&operator.send(request().json(&json!({}))));
    assert_eq!(
        operator
            .send(request().header("If-Match", &tag).json(&json!({})))
            .status,
        200
    );
}

#[test]
fn of_two_changes_of_the_same_version_one_wins() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    for round in 0..10 {
        let tag = etag(&operator, &client);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let change = |n: usize| patch_if(&operator, &client, &tag, &json!({"name": format!("{round}-{n}")})).status;
            let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || change(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(
            statuses.iter().filter(|status| **status == 200).count(),
            1,
            "{statuses:?}"
        );
        assert_eq!(
            statuses.iter().filter(|status| **status == 412).count(),
            3,
            "{statuses:?}"
        );
    }
}

#[test]
fn a_deleted_client_is_gone_at_once_and_its_id_can_be_used_again() {
    let app = three_workers();
    let operator = Operator::of(&app);
    let asking = app.client_with_scope("mintage:introspect");
    let (client, _) = operator.create(json!({"client_id": "again"}));
    let token = app.issue(&client, &[]);
    for _ in 0..TRIES {
        app.issue(&client, &[]);
    }
    assert_no_content(&operator.delete(&path_of(&client)));
    for _ in 0..TRIES {
        app.ask(&client, &[]).assert_invalid_client();
        assert!(!is_active(&app, &asking, &token));
    }
    assert_not_found(&operator.get(&path_of(&client)), NO_CLIENT);
    assert_not_found(&operator.delete(&path_of(&client)), NO_CLIENT);
    let (heir, _) = operator.create(json!({"client_id": "again"}));
    for _ in 0..TRIES {
        let fresh = app.issue(&heir, &[]);
        assert!(is_active(&app, &asking, &fresh) && !is_active(&app, &asking, &token));
        app.ask(&client, &[]).assert_invalid_client();
    }
}

#[test]
fn p12_an_id_of_any_printable_characters_has_a_path() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let printable: String = (b' '..=b'~').map(char::from).collect();
    let ids = [
        "a/b",
        "/",
        "a//b",
        "%",
        "%2F",
        "%252F",
        "a+b",
        "a%20b",
        " x ",
        "?a=b",
        "#",
        "..",
        ".",
        "a/../b",
        "{id}",
        "\\",
        "a;b",
        "secrets",
        "a/secrets",
        "\"",
        &printable,
    ];
    for id in ids {
        let (client, _) = operator.create(json!({"client_id": id, "name": "before"}));
        assert_eq!(operator.document(&path_of(&client))["client_id"], id);
        let changed = operator.patch(&path_of(&client), &json!({"name": "after"}));
        assert_eq!((changed.status, &changed.json()["client_id"]), (200, &json!(id)));
        let secrets = operator.document(&format!("{}/secrets", path_of(&client)));
        assert_eq!(secrets["items"].as_array().unwrap().len(), 1, "{id}");
    }
    // Each is another client, and every escape may stand for a plain character.
    let shown = |path: &str| operator.document(&format!("/admin/clients/{path}"))["client_id"].clone();
    assert_eq!(
        (shown("%2f"), shown("%252F"), shown("%25252F")),
        (json!("/"), json!("%2F"), json!("%252F"))
    );
    assert_eq!((shown("a+b"), shown("a%2Bb")), (json!("a+b"), json!("a+b")));
    assert_eq!(shown("%73%65crets"), "secrets");
    for id in ids {
        assert_no_content(&operator.delete(&format!("/admin/clients/{}", escaped(id))));
    }
}

#[test]
fn what_is_no_id_is_no_client() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let long = "x".repeat(129);
    for path in ["%00", "%0A", "%C3%A9", "%FF", "nobody", &long] {
        assert_not_found(&operator.get(&format!("/admin/clients/{path}")), NO_CLIENT);
        assert_not_found(&operator.delete(&format!("/admin/clients/{path}")), NO_CLIENT);
        assert_not_found(
            &operator.patch(&format!("/admin/clients/{path}"), &json!({})),
            NO_CLIENT,
        );
        assert_not_found(&operator.get(&format!("/admin/clients/{path}/secrets")), NO_CLIENT);
    }
    assert_not_found(&operator.get("/admin/clients/"), "path not found");
}

#[test]
fn another_method_is_405_and_told_which_there_are() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    for (method, path, allowed) in [
        ("DELETE", "/admin/clients", "GET, HEAD, POST"),
        ("PUT", "/admin/clients/x", "GET, HEAD, PATCH, DELETE"),
        ("PATCH", "/admin/clients/x/secrets", "GET, HEAD, POST"),
        ("GET", "/admin/clients/x/secrets/y", "DELETE"),
        ("GET", "/admin/clients/x/revoke-tokens", "POST"),
        ("POST", "/admin/tokens", "GET, HEAD"),
        ("POST", "/admin/audit", "GET, HEAD"),
        ("POST", "/admin/openapi.json", "GET, HEAD"),
    ] {
        let answer = operator.send(Request::new(method, path));
        const DETAIL: &str = "method not allowed";
        answer.assert_problem(405, "Method Not Allowed", DETAIL, None);
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
}

#[test]
fn the_list_is_walked_from_cursor_to_cursor() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    for n in 0..7 {
        operator.create(json!({"client_id": format!("client-{n}"), "name": format!("{n}")}));
    }
    let whole = operator.document("/admin/clients");
    assert_eq!(whole["next_cursor"], Value::Null);
    let all = whole["items"].as_array().unwrap();
    let ids: Vec<&str> = all.iter().map(|client| client["client_id"].as_str().unwrap()).collect();
    assert!(ids.len() == 8 && ids.is_sorted(), "{ids:?}");
    for (limit, sizes) in [(3, vec![3, 3, 2]), (4, vec![4, 4]), (8, vec![8]), (500, vec![8])] {
        let pages = operator.pages(&format!("/admin/clients?limit={limit}"));
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "{limit}");
        assert_eq!(pages.concat(), *all, "{limit}");
    }
    assert_eq!(
        all[0]["client_id"]
            .as_str()
            .map(|id| id == operator.client.id || id == "client-0"),
        Some(true)
    );
    for of_secrets in ["mtgcs", "secret_id", "secret_hash", "\"client_secret\""] {
        assert!(!whole.to_string().contains(of_secrets), "{whole}");
    }
}

#[test]
fn a_page_holds_a_hundred_unless_more_are_asked_for() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    for _ in 0..101 {
        app.client(|_| {});
    }
    let sizes = |path: &str| operator.pages(path).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes("/admin/clients"), [100, 2]);
    let empty = operator.document("/admin/clients?cursor=");
    assert_eq!(empty["items"].as_array().unwrap().len(), 100);
}

#[test]
fn a_query_is_read_strictly() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    for limit in [
        "",
        "0",
        "501",
        "-1",
        "+1",
        "1.0",
        "1e1",
        "x",
        "%20",
        "99999999999999999999",
    ] {
        let answer = operator.get(&format!("/admin/clients?limit={limit}"));
        assert_bad_request(&answer, "limit must be a number from 1 to 500");
    }
    for list in ["/admin/clients", "/admin/audit", "/admin/tokens"] {
        let unknown = operator.get(&format!("{list}?client=x"));
        assert_bad_request(&unknown, "the query has an unknown parameter");
        assert_bad_request(
            &operator.get(&format!("{list}?limit=1&limit=2")),
            "a parameter is repeated",
        );
        assert_bad_request(
            &operator.get(&format!("{list}?limit=%zz")),
            "the query is not well encoded",
        );
        assert_bad_request(
            &operator.get(&format!("{list}?limit=%ff")),
            "the query is not well encoded",
        );
    }
}

#[test]
fn attack_a_cursor_that_was_not_given_out_is_400_or_a_page_of_the_same_list() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    for _ in 0..3 {
        app.issue(&client, &[]);
    }
    let cursor_of = |operator: &Operator, list: &str| {
        let page = operator.document(&format!("{list}limit=1"));
        page["next_cursor"].as_str().unwrap().to_owned()
    };
    let refused = |list: &str, cursor: &str| {
        let answer = operator.get(&format!("{list}cursor={cursor}"));
        assert_bad_request(&answer, "the cursor does not belong to this list");
    };
    let own = cursor_of(&operator, "/admin/clients?");
    assert_eq!(operator.get(&format!("/admin/clients?cursor={own}")).status, 200);
    let all = operator.document("/admin/clients");
    for at in 0..own.len() {
        let other = if own.as_bytes()[at] == b'A' { 'B' } else { 'A' };
        let forged = format!("{}{other}{}", &own[..at], &own[at + 1..]);
        let answer = operator.get(&format!("/admin/clients?cursor={forged}"));
        match answer.status {
            200 => assert_rest_of(&all, &answer.json()),
            _ => assert_bad_request(&answer, "the cursor does not belong to this list"),
        }
    }
    for forged in [
        "x",
        "b3Bz",
        &own[1..],
        &own[..own.len() - 1],
        &format!("{own}A"),
        &format!("{own}="),
        "%00",
    ] {
        refused("/admin/clients?", forged);
    }
    // Of another list, or of the same one with another filter.
    refused("/admin/audit?", &own);
    until("they are recorded", std::time::Duration::from_secs(3), || {
        app.recorded(&client).len() == 3
    });
    let tokens = format!("/admin/tokens?client_id={}&", client.id);
    let of_tokens = cursor_of(&operator, &tokens);
    assert_eq!(operator.get(&format!("{tokens}cursor={of_tokens}")).status, 200);
    refused(&format!("/admin/tokens?client_id={}&", operator.client.id), &of_tokens);
    refused("/admin/clients?", &of_tokens);
    refused(&tokens, &own);
    // Of another server: a position is a position here too.
    let elsewhere = Setup::on_empty_database().start();
    let stranger = Operator::of(&elsewhere);
    stranger.create(json!({}));
    let foreign = cursor_of(&stranger, "/admin/clients?");
    assert_rest_of(&all, &operator.document(&format!("/admin/clients?cursor={foreign}")));
    refused("/admin/audit?", &foreign);
    refused(&tokens, &foreign);
}

/// A page that ends a list holds the last items of that list, and nothing else.
fn assert_rest_of(list: &Value, page: &Value) {
    let [list, page] = [list, page].map(|part| part["items"].as_array().unwrap());
    assert!(list.ends_with(page), "{page:?}");
}

#[test]
fn a_cursor_outlives_a_restart() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    operator.create(json!({}));
    let page = operator.document("/admin/clients?limit=1");
    let next = format!("/admin/clients?cursor={}", page["next_cursor"].as_str().unwrap());
    let (rest, token) = (operator.document(&next), operator.token.clone());
    let again = app.stop().unwrap().0.start();
    let answer = again.send(Request::get(&next).bearer(&token));
    assert_eq!((answer.status, answer.json()), (200, rest));
}

#[test]
fn g7_while_the_database_takes_no_writes_they_are_503() {
    let app = Setup::new()
        .configured(|config| config.database.query_timeout = mintage::config::Duration::seconds(1))
        .start();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let mut other_writer = app.sqlite();
    other_writer.batch_execute("BEGIN IMMEDIATE").unwrap();
    for answer in [
        operator.patch(&path_of(&client), &json!({"enabled": false})),
        operator.delete(&path_of(&client)),
        operator.post(&format!("{}/secrets", path_of(&client)), &json!({})),
    ] {
        answer.assert_problem(
            503,
            "Service Unavailable",
            "the server cannot answer now, try again later",
            None,
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}
