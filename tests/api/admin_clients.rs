//! `/admin/clients`: clients are created, listed, updated and deleted, with immediate effect on
//! every worker.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection;
use mintage::oauth::bounds::MAX_ADMIN_DOCUMENT;
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
const STALE: &str = "If-Match does not name the current version of the client";

/// Enough connections to reach each of three workers almost certainly.
const CONNECTIONS: usize = 12;

#[track_caller]
fn assert_stale(answer: &Response) {
    answer.assert_problem(412, "Precondition Failed", STALE, None);
}

/// The ETag of the current version of a client.
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
fn a_client_is_created_and_its_secret_is_shown_once() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let document = json!({
        "client_id": "shop one", "name": "Shop", "enabled": true, "scope": "a b", "default_scope": "a",
        "audiences": ["https://one.example"], "introspection_audiences": ["urn:two:b"], "auth_methods": ["client_secret_post"],
        "ttl_seconds": 90, "alg": "EdDSA", "default_audience": "kafka", "claims": {"tenant": "t1"}, "scope_claim": "scp",
        "typ": "JWT", "labels": {"team": "shop"},
    });
    let answer = operator.post("/admin/clients", &document);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.assert_common_headers();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("location"), Some("/admin/clients/shop%20one"));
    let mut created = answer.json();
    let secret = created["client_secret"].take();
    assert!(secret.as_str().unwrap().starts_with("mtgcs"), "{secret}");
    for member in ["client_secret", "secret_id"] {
        assert!(created.as_object_mut().unwrap().remove(member).is_some(), "{member}");
    }
    let shown = operator.get("/admin/clients/shop%20one");
    assert_eq!(shown.json(), created);
    assert_eq!(shown.header("etag"), answer.header("etag"));
    for (member, value) in document.as_object().unwrap() {
        assert_eq!(&created[member], value, "{member}");
    }
    let members: BTreeSet<&str> = created.as_object().unwrap().keys().map(String::as_str).collect();
    let times = ["created_at", "updated_at"];
    let expected = document.as_object().unwrap().keys().map(String::as_str).chain(times);
    assert_eq!(members, expected.collect());
}

#[test]
fn a_new_client_works_immediately_even_if_its_id_was_cached_as_unknown() {
    let app = three_workers();
    let operator = Operator::of(&app);
    let early = TestClient::new("soon", "x");
    for _ in 0..CONNECTIONS {
        app.ask(&early, &[]).assert_invalid_client();
    }
    let (client, _) = operator.create(json!({"client_id": "soon"}));
    for _ in 0..CONNECTIONS {
        app.issue(&client, &[]);
    }
}

#[test]
fn a_missing_client_id_is_generated() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, created) = operator.create(json!({}));
    assert_eq!(client.id.len(), 20);
    assert_eq!(
        (&created["default_scope"], &created["enabled"], &created["ttl_seconds"]),
        (&json!("orders:read orders:write"), &json!(true), &Value::Null)
    );
    assert_eq!(app.issue(&client, &[]).split('.').count(), 3);
}

#[test]
fn a_duplicate_client_id_is_409_and_changes_nothing() {
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
    // Only a client ever had this member.
    let route = json!({"path": "/a", "scope": "a", "serves": []});
    let answer = operator.post("/admin/routes", &route);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("`serves` is not a member"), "{}", answer.text());
}

#[test]
fn a_malformed_member_is_named_but_its_value_is_not_echoed() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, before) = operator.create(json!({}));
    const AUDIENCES: &str =
        "at most 100 texts of printable ASCII without spaces, each at most 512 bytes, together at most 8000";
    for (member, value, must_be) in [
        ("name", json!(""), "1 to 200 characters without control characters"),
        (
            "default_scope",
            json!("nothing:like:it"),
            "a part of the scope, without scopes that begin with mintage:",
        ),
        ("audiences", json!(["not an audience"]), AUDIENCES),
        ("introspection_audiences", json!(["é"]), AUDIENCES),
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
fn a_body_that_does_not_match_the_schema_is_400() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    const NO_OBJECT: &str = "the body must be a JSON object";
    const TTL: &str = "ttl_seconds must be a whole number from 1 to 2592000, or null";
    for (body, detail) in [
        ("", "the body must be a JSON object, but it is empty"),
        ("{", "the body is not JSON: it ends too early, at line 1, column 1"),
        ("[]", NO_OBJECT),
        // An array with as many items as the document has members.
        (
            "[null, null, null, null, null, null, null, null, null, null]",
            NO_OBJECT,
        ),
        ("null", NO_OBJECT),
        ("\"name\"", NO_OBJECT),
        ("{\"enabled\": \"yes\"}", "enabled must be true or false, or null"),
        ("{\"name\": \"a\", \"name\": \"b\"}", "name is repeated"),
        ("{\"ttl_seconds\": 1.5}", TTL),
        ("{\"ttl_seconds\": \"600\"}", TTL),
        (
            "{\"ttl_seconds\": 1e999}",
            "a number is out of range at line 1, column 21",
        ),
        (
            "{\"name\": \"a\"} {}",
            "the body is not JSON: it breaks at line 1, column 15",
        ),
        ("\u{feff}{}", "the body is not JSON: it breaks at line 1, column 1"),
        (&deep, NO_OBJECT),
    ] {
        for request in [
            Request::new("PATCH", &path_of(&client)),
            Request::post("/admin/clients"),
        ] {
            assert_bad_request(&operator.send(request.body("application/json", body)), detail);
        }
    }
    // A new client must have a name.
    let unnamed = Request::post("/admin/clients").body("application/json", "{\"name\": 1}");
    assert_bad_request(&operator.send(unnamed), "name must be a string of 1 to 200 characters");
    let misspelled = operator.patch(&path_of(&client), &json!({"nmae": "a"}));
    assert_eq!(misspelled.status, 400);
    assert!(
        misspelled.text().contains("`nmae` is not a member: it must be one of "),
        "{}",
        misspelled.text()
    );
}

#[test]
fn only_json_up_to_the_size_limit_is_accepted() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    const MEDIA: &str = "the media type must be application/json";
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
    // Chunked, so that the length is not declared.
    let chunks = format!(
        "{:x}\r\n{}\r\n0\r\n\r\n",
        MAX_ADMIN_DOCUMENT + 1,
        "x".repeat(MAX_ADMIN_DOCUMENT + 1)
    );
    let head = Request::post("/admin/clients").header("Transfer-Encoding", "chunked");
    let mut request = head
        .header("Content-Type", "application/json")
        .bearer(&operator.token)
        .bytes();
    request.extend(chunks.bytes());
    let answer = testkit::http::send_raw(app.admin_address, &request).unwrap();
    answer.assert_problem(413, "Payload Too Large", "the body is too large", None);
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn disabling_a_client_deactivates_its_tokens_immediately_on_every_worker() {
    let app = three_workers();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let resource_server = app.client_with_scope("mintage:introspect");
    for round in 0..10 {
        let token = app.issue(&client, &[]);
        for _ in 0..CONNECTIONS {
            app.issue(&client, &[]);
            assert!(is_active(&app, &resource_server, &token));
        }
        let answer = operator.patch(&path_of(&client), &json!({"enabled": false}));
        assert_eq!(
            (answer.status, &answer.json()["enabled"]),
            (200, &json!(false)),
            "{round}"
        );
        for _ in 0..CONNECTIONS {
            assert!(!is_active(&app, &resource_server, &token), "{round}");
            app.ask(&client, &[]).assert_invalid_client();
        }
        assert_eq!(operator.patch(&path_of(&client), &json!({"enabled": true})).status, 200);
        for _ in 0..CONNECTIONS {
            assert!(is_active(&app, &resource_server, &token), "{round}");
            app.issue(&client, &[]);
        }
    }
}

#[test]
fn an_update_takes_effect_immediately_and_keeps_the_other_members() {
    let app = three_workers();
    let operator = Operator::of(&app);
    let (client, before) = operator.create(json!({"ttl_seconds": 60}));
    for _ in 0..CONNECTIONS {
        app.issue(&client, &[("scope", "orders:write")]);
    }
    let after = operator
        .patch(&path_of(&client), &json!({"scope": "orders:read", "ttl_seconds": null}))
        .json();
    for _ in 0..CONNECTIONS {
        let rejected = app.ask(&client, &[("scope", "orders:write")]);
        assert_eq!(
            (rejected.status, &rejected.json()["error"]),
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
fn an_update_with_a_stale_etag_is_412_and_changes_nothing() {
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
    // A missing client has no version that could differ (RFC 9110 §13.2.1).
    assert_not_found(&delete_if(&operator, &client, "*"), NO_CLIENT);
    assert_not_found(&patch_if(&operator, &client, &last, &json!({})), NO_CLIENT);
}

#[test]
fn several_if_match_headers_form_one_list() {
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
fn of_concurrent_updates_of_one_version_exactly_one_succeeds() {
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
fn a_deleted_client_is_gone_immediately_and_its_id_can_be_reused() {
    let app = three_workers();
    let operator = Operator::of(&app);
    let resource_server = app.client_with_scope("mintage:introspect");
    let (client, _) = operator.create(json!({"client_id": "again"}));
    let token = app.issue(&client, &[]);
    for _ in 0..CONNECTIONS {
        app.issue(&client, &[]);
    }
    assert_no_content(&operator.delete(&path_of(&client)));
    for _ in 0..CONNECTIONS {
        app.ask(&client, &[]).assert_invalid_client();
        assert!(!is_active(&app, &resource_server, &token));
    }
    assert_not_found(&operator.get(&path_of(&client)), NO_CLIENT);
    assert_not_found(&operator.delete(&path_of(&client)), NO_CLIENT);
    let (new_client, _) = operator.create(json!({"client_id": "again"}));
    for _ in 0..CONNECTIONS {
        let fresh = app.issue(&new_client, &[]);
        assert!(is_active(&app, &resource_server, &fresh) && !is_active(&app, &resource_server, &token));
        app.ask(&client, &[]).assert_invalid_client();
    }
}

#[test]
fn p12_a_client_id_of_any_printable_characters_has_a_path() {
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
    // Each id is a different client, and every character may be percent-encoded.
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
fn a_malformed_or_unknown_client_id_in_the_path_is_404() {
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
fn an_unsupported_method_is_405_with_allow() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    for (method, path, allowed) in [
        ("DELETE", "/admin/clients", "GET, HEAD, POST"),
        ("POST", "/admin/clients/x", "GET, HEAD, PUT, PATCH, DELETE"),
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
fn the_list_is_paged_by_cursor() {
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
fn the_default_page_size_is_100() {
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
fn query_parameters_are_parsed_strictly() {
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
        assert_bad_request(&unknown, "`client` is not a parameter here");
        for (query, detail) in [
            ("limit=1&limit=2", "limit is repeated"),
            ("limit=%zz", "limit is not well encoded"),
            ("limit=%ff", "limit is not well encoded"),
            ("%ff=1", "the query is not well encoded"),
            ("%1b%60=1", "`\\u{1b}\\u{60}` is not a parameter here"),
        ] {
            assert_bad_request(&operator.get(&format!("{list}?{query}")), detail);
        }
    }
}

#[test]
fn attack_a_forged_cursor_is_400_or_a_page_of_the_same_list() {
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
    let assert_rejected = |list: &str, cursor: &str| {
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
        assert_rejected("/admin/clients?", forged);
    }
    // A cursor of another list, or of the same list with another filter.
    assert_rejected("/admin/audit?", &own);
    until("the tokens are recorded", std::time::Duration::from_secs(10), || {
        app.recorded(&client).len() == 3
    });
    let tokens = format!("/admin/tokens?client_id={}&", client.id);
    let of_tokens = cursor_of(&operator, &tokens);
    assert_eq!(operator.get(&format!("{tokens}cursor={of_tokens}")).status, 200);
    assert_rejected(&format!("/admin/tokens?client_id={}&", operator.client.id), &of_tokens);
    assert_rejected("/admin/clients?", &of_tokens);
    assert_rejected(&tokens, &own);
    // A cursor of another server is just a position in the list here.
    let elsewhere = Setup::on_empty_database().start();
    let other = Operator::of(&elsewhere);
    other.create(json!({}));
    let foreign = cursor_of(&other, "/admin/clients?");
    assert_rest_of(&all, &operator.document(&format!("/admin/clients?cursor={foreign}")));
    assert_rejected("/admin/audit?", &foreign);
    assert_rejected(&tokens, &foreign);
}

/// The page holds exactly the last items of the list.
fn assert_rest_of(list: &Value, page: &Value) {
    let [list, page] = [list, page].map(|part| part["items"].as_array().unwrap());
    assert!(list.ends_with(page), "{page:?}");
}

#[test]
fn a_cursor_remains_valid_after_a_restart() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    operator.create(json!({}));
    let page = operator.document("/admin/clients?limit=1");
    let next = format!("/admin/clients?cursor={}", page["next_cursor"].as_str().unwrap());
    let (rest, token) = (operator.document(&next), operator.token.clone());
    let restarted = app.restart();
    let answer = restarted.send(Request::get(&next).bearer(&token));
    assert_eq!((answer.status, answer.json()), (200, rest));
}

#[test]
fn g7_writes_are_503_while_the_database_accepts_none() {
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
        answer.assert_unavailable_problem();
    }
}
