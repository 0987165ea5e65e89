//! `POST /token`: the request (P1 to P11), scope and audience (P18 to P21), the response (P22 to
//! P26).

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use mintage::config;
use mintage::oauth::bounds::MAX_FORM;
use mintage::oauth::client::Client;
use mintage::oauth::scope::Scope;
use serde_json::{Value, json};
use testkit::app::{ISSUER, ORDERS, Setup};
use testkit::gateway::original;
use testkit::http::{Connection, Request, send_raw};
use testkit::poll::until;
use testkit::token::{claims, jti, token_request};
use testkit::{TestApp, TestClient, eventually};

use crate::operator::Operator;

const FORM: &str = "application/x-www-form-urlencoded";
const GRANT: &str = "grant_type=client_credentials";

const BAD_ENCODING: &str = "the form is not well encoded";
const BAD_JSON: &str = "the JSON is not an object with the expected members";
const REPEATED: &str = "a parameter is repeated";
const MALFORMED_SCOPE: &str = "the scope is malformed";
const OTHER_SCOPE: &str = "the client may not have this scope";
const BAD_RESOURCE: &str = "the resource is not an absolute URI that the client may name";

#[test]
fn p1_another_method_is_405_and_issues_no_token() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let answer = app.send(Request::new(method, "/token").basic(&client).form_raw(GRANT));
        answer.assert_oauth_error(405, "invalid_request", "method not allowed");
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
    }
    app.issue(&client, &[]);
    let rows = eventually("the token is recorded", Duration::from_secs(5), || {
        Some(app.recorded(&client)).filter(|r| !r.is_empty())
    });
    assert_eq!(rows.len(), 1);
}

#[test]
fn p1_head_is_405_without_a_body() {
    let app = TestApp::shared();
    let answer = app.send(Request::new("HEAD", "/token"));
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert!(answer.body.is_empty());
}

#[test]
fn p2_the_media_type_is_case_insensitive_and_may_have_parameters() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    for media_type in [
        FORM,
        "Application/X-WWW-Form-URLEncoded",
        "application/x-www-form-urlencoded;charset=UTF-8",
        "application/x-www-form-urlencoded ; charset=utf-8",
    ] {
        let answer = app.send(Request::post("/token").basic(&client).body(media_type, GRANT));
        assert_eq!(answer.status, 200, "{media_type}");
    }
}

#[test]
fn p3_json_with_the_same_parameter_names_is_accepted() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let answer = app.send(Request::post("/token").json(&json!({
        "grant_type": "client_credentials", "client_id": client.id, "client_secret": client.secret,
        "scope": "orders:read", "resource": [ORDERS, "urn:example:two"], "one_time": true, "unknown": [{"deep": null}],
    })));
    let claims = claims(&answer.access_token());
    assert_eq!(claims["scope"], "orders:read");
    assert_eq!(claims["aud"], json!([ORDERS, "urn:example:two"]));
    assert_eq!(claims["one_time"], true);
}

#[test]
fn p3_json_may_have_a_media_type_parameter_and_one_resource_as_a_string() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let body = json!({"grant_type": "client_credentials", "resource": ORDERS, "one_time": false}).to_string();
    let answer = app.send(
        Request::post("/token")
            .basic(&client)
            .body("Application/JSON; charset=utf-8", body),
    );
    let claims = claims(&answer.access_token());
    assert_eq!((&claims["aud"], claims.get("one_time")), (&json!(ORDERS), None));
}

#[test]
fn p3_a_member_of_the_wrong_type_or_repeated_is_rejected() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    for bad in [
        "null",
        "[]",
        "\"a\"",
        "7",
        "{",
        "{} {}",
        "{\"grant_type\"}",
        "\u{feff}{}",
        r#"{"grant_type":1}"#,
        r#"{"grant_type":"client_credentials","scope":["orders:read"]}"#,
        r#"{"grant_type":"client_credentials","scope":null}"#,
        r#"{"grant_type":"client_credentials","one_time":"true"}"#,
        r#"{"grant_type":"client_credentials","one_time":1}"#,
        r#"{"grant_type":"client_credentials","resource":[1]}"#,
        r#"{"grant_type":"client_credentials","resource":{"a":"b"}}"#,
        r#"{"grant_type":"client_credentials","grant_type":"client_credentials"}"#,
        r#"{"grant_type":"client_credentials","resource":"urn:a","resource":"urn:b"}"#,
        r#"{"grant_type":"client_credentials","token":"a","scope":"\ud800"}"#,
    ] {
        let answer = app.send(Request::post("/token").basic(&client).body("application/json", bad));
        answer.assert_oauth_error(400, "invalid_request", BAD_JSON);
    }
}

#[test]
fn p4_an_unsupported_or_missing_media_type_is_415() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    for media_type in [
        "",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonx",
        ";",
        "é",
    ] {
        let answer = app.send(Request::post("/token").basic(&client).body(media_type, GRANT));
        answer.assert_unsupported_media_type("application/x-www-form-urlencoded or application/json");
        let answer = app.send(Request::post("/introspect").basic(&client).body(media_type, "token=x"));
        answer.assert_unsupported_media_type("application/x-www-form-urlencoded");
    }
}

#[test]
fn p4_an_empty_body_is_400() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    for media_type in [FORM, "application/json"] {
        let answer = app.send(Request::post("/token").basic(&client).body(media_type, ""));
        answer.assert_oauth_error(400, "invalid_request", "the body is empty");
    }
    let without_length = app.send(Request::post("/token").basic(&client).header("Content-Type", FORM));
    without_length.assert_oauth_error(400, "invalid_request", "the body is empty");
}

#[test]
fn p5_plus_and_percent_encoding_are_decoded() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let form =
        "gr%61nt_type=client%5Fcredentials&scope=orders%3Aread+orders:write&resource=https%3A%2F%2Forders.example";
    let token = app
        .send(Request::post("/token").basic(&client).form_raw(form))
        .access_token();
    assert_eq!(claims(&token)["scope"], "orders:read orders:write");
    assert_eq!(claims(&token)["aud"], ORDERS);
}

#[test]
fn p5_invalid_percent_encoding_and_invalid_utf8_are_rejected() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    for bad in [
        &b"%"[..],
        b"%2",
        b"%zz",
        b"%+1",
        b"%C3%28",
        b"%ff",
        b"\xff",
        b"%ED%A0%80",
        b"unknown=%",
        b"%=1",
    ] {
        let form = [GRANT.as_bytes(), b"&scope=", bad].concat();
        let answer = app.send(Request::post("/token").basic(&client).form_raw(form));
        answer.assert_oauth_error(400, "invalid_request", BAD_ENCODING);
    }
}

#[test]
fn p6_a_content_length_above_the_limit_is_413_immediately_on_every_path() {
    let app = TestApp::shared();
    for (method, target) in [
        ("POST", "/token"),
        ("GET", "/livez"),
        ("GET", "/.well-known/jwks.json"),
        ("POST", "/nowhere"),
    ] {
        // Neither the body nor credentials are sent.
        let head = Request::new(method, target).header("Content-Length", &(MAX_FORM + 1).to_string());
        let answer = app.send(head.header("Content-Type", FORM));
        answer.assert_oauth_error(413, "invalid_request", "the body is too large");
    }
    let overflowing = app.send(Request::post("/token").header("Content-Length", "18446744073709551615"));
    overflowing.assert_oauth_error(413, "invalid_request", "the body is too large");
}

#[test]
fn p6_a_body_of_the_maximum_size_is_accepted() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let padding = "x".repeat(MAX_FORM - GRANT.len() - 3);
    let form = format!("{GRANT}&x={padding}");
    assert_eq!(form.len(), MAX_FORM);
    let answer = app.send(Request::post("/token").basic(&client).form_raw(form));
    assert_eq!(answer.status, 200);
}

#[test]
fn p6_a_chunked_body_above_the_limit_is_rejected_before_authentication() {
    let app = TestApp::shared();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let head = Request::post("/token")
        .header("Content-Type", FORM)
        .header("Transfer-Encoding", "chunked");
    let bytes = [
        head.bytes(),
        chunk.repeat(MAX_FORM / 0x1000 + 1).into_bytes(),
        b"0\r\n\r\n".to_vec(),
    ]
    .concat();
    let answer = send_raw(app.address, &bytes).unwrap();
    answer.assert_oauth_error(413, "invalid_request", "the body is too large");
}

#[test]
fn p6_a_body_that_does_not_arrive_in_time_is_408() {
    let app = Setup::new()
        .configured(|config| config.server.request_timeout = config::Duration::millis(300))
        .start();
    let mut connection = Connection::open(app.address);
    let began = Instant::now();
    let head = Request::post("/token")
        .header("Content-Type", FORM)
        .header("Content-Length", "29");
    connection.write(&[head.bytes(), b"grant_type=".to_vec()].concat());
    let answer = connection.read_response(false).unwrap();
    answer.assert_oauth_error(408, "invalid_request", "the body did not arrive in time");
    assert!((Duration::from_millis(300)..Duration::from_secs(3)).contains(&began.elapsed()));
    assert!(connection.closes_within(Duration::from_secs(3)));
}

#[test]
fn p6_a_connection_whose_head_does_not_arrive_in_time_is_closed() {
    let app = Setup::new()
        .configured(|config| config.server.request_timeout = config::Duration::millis(300))
        .start();
    let mut connection = Connection::open(app.address);
    connection.write(b"POST /token HTTP/1.1\r\nHost: ");
    let answer = connection.read_response(false);
    assert!(answer.is_none_or(|answer| answer.status == 408));
    assert!(connection.closes_within(Duration::from_secs(3)));
}

#[test]
fn p6_an_unread_body_does_not_keep_the_connection_open() {
    let app = Setup::new()
        .configured(|config| config.server.request_timeout = config::Duration::millis(300))
        .start();
    for (method, target) in [("GET", "/livez"), ("POST", "/admin/cache/clear"), ("POST", "/nowhere")] {
        let mut connection = Connection::open(app.address);
        connection.write(&Request::new(method, target).header("Content-Length", "10").bytes());
        // The server responds immediately; then it has no reason to keep the connection.
        connection.read_response(false);
        assert!(connection.closes_within(Duration::from_secs(7)), "{target}");
    }
}

#[test]
fn p7_query_parameters_are_ignored() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let query = format!("client_id={}&client_secret={}&{GRANT}", client.id, client.secret);
    let credentials_in_query = app.send(Request::post(&format!("/token?{query}")).form_raw(GRANT));
    credentials_in_query.assert_invalid_client();
    let grant_in_query = app.send(
        Request::post(&format!("/token?{GRANT}&scope=other"))
            .basic(&client)
            .form_raw("x=1"),
    );
    grant_in_query.assert_oauth_error(400, "invalid_request", "grant_type is missing");
    let scope_in_query = app.send(
        Request::post("/token?scope=other&one_time=true&resource=urn:x")
            .basic(&client)
            .form_raw(GRANT),
    );
    assert_eq!(scope_in_query.json()["scope"], "orders:read orders:write");
}

#[test]
fn p8_an_empty_parameter_is_treated_as_omitted() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let form = format!("{GRANT}&scope=&resource=&one_time=&client_id=&client_secret=&=&&x");
    let token = app
        .send(Request::post("/token").basic(&client).form_raw(form))
        .access_token();
    assert_eq!(claims(&token)["scope"], "orders:read orders:write");
    assert_eq!(claims(&token)["aud"], ISSUER);
    let empty_grant = app.send(Request::post("/token").basic(&client).form_raw("grant_type="));
    empty_grant.assert_oauth_error(400, "invalid_request", "grant_type is missing");
}

#[test]
fn p8_names_and_values_are_case_sensitive_and_unknown_names_are_ignored() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let unknown = app.send(
        Request::post("/token")
            .basic(&client)
            .form_raw(format!("{GRANT}&Scope=other&foo=1")),
    );
    assert_eq!(unknown.json()["scope"], "orders:read orders:write");
    let other_name = app.send(
        Request::post("/token")
            .basic(&client)
            .form_raw("Grant_Type=client_credentials"),
    );
    other_name.assert_oauth_error(400, "invalid_request", "grant_type is missing");
    let other_value = app.send(
        Request::post("/token")
            .basic(&client)
            .form_raw("grant_type=Client_Credentials"),
    );
    other_value.assert_oauth_error(
        400,
        "unsupported_grant_type",
        "the grant type must be client_credentials",
    );
    let other_scope = app.ask(&client, &[("scope", "Orders:read")]);
    other_scope.assert_oauth_error(400, "invalid_scope", OTHER_SCOPE);
}

#[test]
fn p9_a_repeated_parameter_is_rejected_even_if_one_is_empty() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    for repeated in [
        "grant_type=client_credentials",
        "grant_type=",
        "scope=orders:read&scope=orders:read",
        "scope=&scope=orders:read",
        "scope=orders:read&sc%6fpe=",
        "client_id=a&client_id=a",
        "client_secret=a&client_secret=",
        "one_time=true&one_time=true",
        "one_time=&one_time=false",
    ] {
        let form = format!("{GRANT}&{repeated}");
        let answer = app.send(Request::post("/token").basic(&client).form_raw(form));
        answer.assert_oauth_error(400, "invalid_request", REPEATED);
    }
}

#[test]
fn p9_resource_and_unknown_parameters_may_be_repeated() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(
        &client,
        &[
            ("resource", ORDERS),
            ("resource", "urn:example:two"),
            ("x", "1"),
            ("x", "2"),
        ],
    );
    assert_eq!(claims(&token)["aud"], json!([ORDERS, "urn:example:two"]));
}

#[test]
fn p107_audience_means_what_resource_means_in_a_form_and_in_json() {
    const NOT_NAMEABLE: &str = "the audience is not one that the client may name";
    let app = TestApp::shared();
    let client = app.client(|client| client.audiences = vec![ORDERS.into(), "rabbitmq".into()]);
    let aud = |parameters: &[(&str, &str)]| claims(&app.issue(&client, parameters))["aud"].clone();
    assert_eq!(aud(&[("audience", ORDERS)]), ORDERS);
    assert_eq!(aud(&[("audience", "")]), ISSUER);
    assert_eq!(
        aud(&[("audience", "rabbitmq"), ("resource", ORDERS), ("audience", ORDERS)]),
        json!(["rabbitmq", ORDERS])
    );
    // `json!` orders members by name.
    let body = json!({"grant_type": "client_credentials", "resource": ORDERS, "audience": ["rabbitmq"]});
    let answer = app.send(Request::post("/token").basic(&client).json(&body));
    assert_eq!(claims(&answer.access_token())["aud"], json!(["rabbitmq", ORDERS]));
    for other in ["https://other.example", "rabbitmq kafka", "RABBITMQ"] {
        let answer = app.ask(&client, &[("audience", other)]);
        answer.assert_oauth_error(400, "invalid_target", NOT_NAMEABLE);
    }
    let answer = app.ask(&client, &[("resource", "rabbitmq")]);
    answer.assert_oauth_error(400, "invalid_target", BAD_RESOURCE);
}

#[test]
fn p107_an_audience_that_is_no_uri_serves_introspection_and_routes() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let service = app.client(|client| client.introspection_audiences = vec!["rabbitmq".into()]);
    let client = app.client(|client| client.audiences = vec!["rabbitmq".into()]);
    let route = json!({"path": "/queue", "scope": "orders:read", "audience": "rabbitmq"});
    assert_eq!(operator.post("/admin/routes", &route).status, 201);
    for (parameters, status) in [(&[("audience", "rabbitmq")][..], 200), (&[], 401)] {
        let token = app.issue(&client, parameters);
        let asked = Request::post("/introspect").basic(&service).form(&[("token", &token)]);
        assert_eq!(app.send(asked).json()["active"], status == 200);
        assert_eq!(app.send(original("GET", "/queue").bearer(&token)).status, status);
    }
}

#[test]
fn p9_one_time_is_true_or_false() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    assert_eq!(claims(&app.issue(&client, &[("one_time", "true")]))["one_time"], true);
    assert_eq!(
        claims(&app.issue(&client, &[("one_time", "false")])).get("one_time"),
        None
    );
    for bad in ["1", "TRUE", "True", "yes", " true"] {
        let answer = app.ask(&client, &[("one_time", bad)]);
        answer.assert_oauth_error(400, "invalid_request", "one_time must be true or false");
    }
}

#[test]
fn p10_each_invalid_grant_type_has_its_error_code() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let ask = |form: &str| app.send(Request::post("/token").basic(&client).form_raw(form));
    ask("scope=orders:read").assert_oauth_error(400, "invalid_request", "grant_type is missing");
    for unknown in [
        "password",
        "authorization_code",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    ] {
        let answer = ask(&format!("grant_type={unknown}"));
        answer.assert_oauth_error(
            400,
            "unsupported_grant_type",
            "the grant type must be client_credentials",
        );
    }
    let resource_server = app.client(|client| {
        client.scope = Scope::empty();
        client.default_scope = Scope::empty();
    });
    let answer = app.ask(&resource_server, &[]);
    answer.assert_oauth_error(400, "unauthorized_client", "the client may not use this grant type");
}

#[test]
fn p11_authentication_precedes_the_checks_of_grant_scope_and_resource() {
    let app = TestApp::shared();
    let client = app.client(|_| {}).with_secret("wrong");
    for form in [
        "x=1",
        "grant_type=password",
        "grant_type=client_credentials&scope=%22",
        "grant_type=client_credentials&resource=%23",
    ] {
        let answer = app.send(Request::post("/token").basic(&client).form_raw(form));
        answer.assert_invalid_client();
    }
}

#[test]
fn p18_a_scope_outside_the_grammar_is_rejected() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    for bad in [
        " ",
        " orders:read",
        "orders:read ",
        "orders:read  orders:write",
        "a\"b",
        "a\\b",
        "orders:read\torders:write",
        "\u{7f}",
        "é",
        "a\0b",
        "\r\n",
    ] {
        let answer = app.ask(&client, &[("scope", bad)]);
        answer.assert_oauth_error(400, "invalid_scope", MALFORMED_SCOPE);
    }
}

#[test]
fn p18_a_scope_may_contain_every_character_of_the_grammar() {
    let app = TestApp::shared();
    let all: String = (0x21u8..0x7f)
        .map(char::from)
        .filter(|c| !"\"\\".contains(*c))
        .collect();
    let token = app.issue_with_scope(&all);
    assert_eq!(claims(&token)["scope"], all);
}

#[test]
fn p18_scopes_may_be_in_any_order_and_duplicates_are_removed() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let answer = app.ask(&client, &[("scope", "orders:write orders:read orders:write")]);
    assert_eq!(answer.json()["scope"], "orders:write orders:read");
    assert_eq!(claims(&answer.access_token())["scope"], "orders:write orders:read");
}

#[test]
fn p19_an_omitted_scope_gives_the_default_without_admin_scopes() {
    let app = TestApp::shared();
    let without_own_default = app.client_with_scope("orders:read mintage:admin mintage:read");
    assert_eq!(app.ask(&without_own_default, &[]).json()["scope"], "orders:read");
    let requested = app.ask(&without_own_default, &[("scope", "mintage:read")]);
    assert_eq!(requested.json()["scope"], "mintage:read");
    let with_own_default = app.client(|client| client.default_scope = Scope::parse("orders:write").unwrap());
    assert_eq!(app.ask(&with_own_default, &[]).json()["scope"], "orders:write");
}

#[test]
fn p19_a_client_without_a_default_scope_must_request_one() {
    let app = TestApp::shared();
    let client = app.client_with_scope("mintage:admin");
    let answer = app.ask(&client, &[]);
    answer.assert_oauth_error(400, "invalid_scope", "the client has no default scope, ask for one");
}

#[test]
fn p19_a_request_with_any_disallowed_scope_is_rejected() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    for other in [
        "mintage:admin",
        "orders:read orders:delete",
        "orders:rea",
        "orders:read2",
        "ORDERS:READ",
    ] {
        let answer = app.ask(&client, &[("scope", other)]);
        answer.assert_oauth_error(400, "invalid_scope", OTHER_SCOPE);
    }
}

#[test]
fn p19_each_client_gets_only_its_own_scopes() {
    let app = TestApp::shared();
    let scopes = ["a:one", "b:two", "c:three"];
    for own in scopes {
        let client = app.client_with_scope(own);
        for requested in scopes {
            let status = app.ask(&client, &[("scope", requested)]).status;
            assert_eq!(status, if own == requested { 200 } else { 400 }, "{own} {requested}");
        }
    }
}

#[test]
fn p21_the_resource_becomes_the_audience_and_without_one_the_default_applies() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let aud = |parameters: &[(&str, &str)]| claims(&app.issue(&client, parameters))["aud"].clone();
    assert_eq!(aud(&[]), ISSUER);
    assert_eq!(aud(&[("resource", ISSUER)]), ISSUER);
    assert_eq!(aud(&[("resource", ORDERS)]), ORDERS);
    assert_eq!(aud(&[("resource", ORDERS), ("resource", ORDERS)]), ORDERS);
}

#[test]
fn p21_the_default_audience_can_be_configured() {
    let app = Setup::new()
        .configured(|config| config.token.audience = "urn:example:default".into())
        .start();
    let token = app.issue(&app.client(|_| {}), &[]);
    assert_eq!(
        (&claims(&token)["aud"], &claims(&token)["iss"]),
        (&json!("urn:example:default"), &json!(ISSUER))
    );
}

#[test]
fn p21_a_resource_that_is_not_a_uri_or_not_allowed_for_the_client_is_rejected() {
    let app = TestApp::shared();
    let client =
        app.client(|client| client.audiences = vec![ORDERS.into(), "no-uri".into(), "https://a.example/#f".into()]);
    for bad in [
        "https://other.example",
        "https://orders.example/",
        "https://ORDERS.example",
        "https://orders.example#f",
        "https://orders.example#",
        "no-uri",
        "https://a.example/#f",
        "/orders",
        "orders.example",
        "https://",
        "https://orders.example \r\nX: y",
    ] {
        let answer = app.ask(&client, &[("resource", bad)]);
        answer.assert_oauth_error(400, "invalid_target", BAD_RESOURCE);
        let one_of_two = app.ask(&client, &[("resource", ORDERS), ("resource", bad)]);
        one_of_two.assert_oauth_error(400, "invalid_target", BAD_RESOURCE);
    }
}

#[test]
fn p20_the_response_always_contains_the_scope() {
    let app = TestApp::shared();
    let client = app.client_with_scope("a b");
    let scope = |parameters: &[(&str, &str)]| app.ask(&client, parameters).json()["scope"].clone();
    assert_eq!(scope(&[]), "a b");
    assert_eq!(scope(&[("scope", "")]), "a b");
    assert_eq!(scope(&[("scope", "a")]), "a");
    assert_eq!(scope(&[("scope", "b a")]), "b a");
}

#[test]
fn p22_p23_the_response_is_exactly_a_bearer_token() {
    let app = TestApp::shared();
    let answer = app.ask(&app.client(|_| {}), &[("scope", "orders:read")]);
    let token = answer.access_token();
    assert_eq!(
        answer.json(),
        json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600, "scope": "orders:read"})
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.assert_common_headers();
}

#[test]
fn p23_expires_in_equals_the_lifetime_of_the_token() {
    let app = Setup::new()
        .configured(|config| config.token.one_time_ttl = config::Duration::seconds(90))
        .start();
    let lifetime = |shape: fn(&mut Client), parameters: &[(&str, &str)]| {
        let answer = app.ask(&app.client(shape), parameters);
        let claims = claims(&answer.access_token());
        assert_eq!(
            answer.json()["expires_in"],
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
        );
        answer.json()["expires_in"].as_i64().unwrap()
    };
    let short_lived: fn(&mut Client) = |client| client.ttl_seconds = Some(60);
    assert_eq!(lifetime(|_| {}, &[]), 3600);
    assert_eq!(lifetime(short_lived, &[]), 60);
    assert_eq!(lifetime(|_| {}, &[("one_time", "true")]), 90);
    assert_eq!(lifetime(short_lived, &[("one_time", "true")]), 60);
}

#[test]
fn p24_an_error_echoes_nothing_of_the_request() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let marker = "MARKER<script>";
    let requests = [
        token_request(&client, &[("scope", marker)]),
        token_request(&client, &[("resource", marker)]),
        token_request(&client, &[("one_time", marker)]),
        Request::post("/token").form(&[("grant_type", marker)]).basic(&client),
        Request::post("/token").form(&[("client_id", marker), ("client_secret", marker)]),
        Request::post("/token").body(marker, GRANT),
        Request::post("/token").body("application/json", format!("{{\"{marker}\":")),
        Request::post("/MARKER"),
        Request::new("MARKER", "/token"),
    ];
    for request in requests {
        let answer = app.send(request);
        assert!((400..500).contains(&answer.status));
        assert!(!format!("{answer:?}{}", answer.text()).contains("MARKER"), "{answer:?}");
        assert!(answer.json()["error"].is_string());
    }
}

#[test]
fn p25_without_a_database_the_response_is_503() {
    let setup = Setup::on_empty_database();
    let app = setup
        .configured(|config| config.database.url = "sqlite:/nonexistent/mintage.db".into())
        .start_unready();
    let client = TestClient::new("client", "secret");
    let answer = app.ask(&client, &[]);
    answer.assert_temporarily_unavailable();
}

#[test]
fn p25_cached_clients_get_tokens_while_the_database_is_unavailable() {
    let app = Setup::new().configured(|config| config.server.workers = 1).start();
    let (cached, uncached) = (app.client(|_| {}), app.client(|_| {}));
    app.wait_for_change_feed();
    app.issue(&cached, &[]);
    app.sql("ALTER TABLE clients RENAME TO clients_away");
    assert_eq!(app.ask(&cached, &[]).status, 200);
    for _ in 0..2 {
        let answer = app.ask(&uncached, &[]);
        answer.assert_temporarily_unavailable();
    }
    app.sql("ALTER TABLE clients_away RENAME TO clients");
    until("uncached clients get tokens again", Duration::from_secs(8), || {
        app.ask(&uncached, &[]).status == 200
    });
}

#[test]
fn p25_a_stale_entry_is_used_for_as_long_as_configured() {
    let app = Setup::new()
        .with_mock_clock()
        .configured(|config| config.server.workers = 1)
        .configured(|config| config.cache.stale_if_error = config::Duration::seconds(3600))
        .start();
    let client = app.client(|_| {});
    app.wait_for_change_feed();
    app.issue(&client, &[]);
    app.sql("ALTER TABLE clients RENAME TO clients_away");
    app.advance(Duration::from_secs(600 + 3599));
    app.issue(&client, &[]);
    app.advance(Duration::from_secs(2));
    app.ask(&client, &[]).assert_temporarily_unavailable();
}

#[test]
fn p25_a_full_queue_is_503_and_issues_no_token() {
    let app = Setup::new()
        .configured(|config| {
            config.writer.max_batch = 1;
            config.writer.max_pending = 1;
        })
        .start();
    let client = app.client(|_| {});
    // While another connection holds the write lock, records wait in the queue, which has a
    // capacity of one.
    let mut lock = app.sqlite();
    lock.batch_execute("BEGIN IMMEDIATE").unwrap();
    let issued = app.issue(&client, &[]);
    app.ask(&client, &[]).assert_temporarily_unavailable();
    lock.batch_execute("ROLLBACK").unwrap();
    let stopped = app.stop().unwrap();
    assert_eq!(stopped.ids_recorded(&client), [jti(&issued)]);
}

#[test]
fn p26_every_response_has_a_unique_request_id() {
    let app = TestApp::shared();
    let mut seen = std::collections::HashSet::new();
    for request in [
        Request::get("/livez"),
        Request::get("/nowhere"),
        Request::get("/.well-known/jwks.json"),
        Request::get("/admin/cache/stats"),
        Request::get("/token"),
        Request::post("/token").form_raw(GRANT),
        Request::post("/token").header("Content-Length", "99999"),
    ] {
        let answer = app.send(request);
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert!(
            (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
            "{id}"
        );
        assert!(seen.insert(id));
    }
}

#[test]
fn p26_a_well_formed_request_id_is_kept_and_a_malformed_one_is_replaced() {
    let app = TestApp::shared();
    let longest = "x".repeat(64);
    for good in ["a", "A.b_c-9", &longest] {
        let answer = app.send(Request::get("/livez").header("X-Request-Id", good));
        assert_eq!(answer.header("x-request-id"), Some(good));
    }
    let too_long = "x".repeat(65);
    for bad in ["", "a b", "a\"b", "a/b", "é", "a,b", &too_long] {
        let answer = app.send(Request::get("/livez").header("X-Request-Id", bad));
        let id = answer.header("x-request-id").unwrap();
        assert!(!id.is_empty() && id != bad, "{bad}");
    }
}

#[test]
fn attack_oversized_parameters_are_rejected_like_any_invalid_value() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let long = "a".repeat(12_000);
    app.ask(&client, &[("scope", &long)])
        .assert_oauth_error(400, "invalid_scope", OTHER_SCOPE);
    app.ask(&client, &[("grant_type_x", &long)]).access_token();
    let resource = format!("https://{long}.example");
    app.ask(&client, &[("resource", &resource)])
        .assert_oauth_error(400, "invalid_target", BAD_RESOURCE);
    let many = (0..129).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
    app.ask(&client, &[("scope", &many)])
        .assert_oauth_error(400, "invalid_scope", MALFORMED_SCOPE);
    let half = &long[..6_000];
    let post = Request::post("/token").form(&[("client_id", half), ("client_secret", half)]);
    app.send(post).assert_invalid_client();
    app.send(Request::post("/token").basic_raw(&format!("{long}:x")).form_raw(GRANT))
        .assert_invalid_client();
}

#[test]
fn attack_the_number_of_parameters_is_bounded() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let resources = vec![("resource", ORDERS); 17];
    let answer = app.ask(&client, &resources);
    answer.assert_oauth_error(400, "invalid_request", "there are too many resources");
    let pieces = format!("{GRANT}{}", "&".repeat(16_000));
    assert_eq!(
        app.send(Request::post("/token").basic(&client).form_raw(pieces)).status,
        200
    );
}

#[test]
fn attack_deeply_nested_json_is_harmless() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let nested = |name: &str, depth: usize| {
        format!(
            "{{\"grant_type\":\"client_credentials\",\"{name}\":{}{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    for (name, status) in [("unknown", 200), ("scope", 400), ("resource", 400)] {
        let answer = app.send(
            Request::post("/token")
                .basic(&client)
                .body("application/json", nested(name, 8000)),
        );
        assert_eq!(answer.status, status, "{name}");
    }
    let huge = app.send(
        Request::post("/token")
            .basic(&client)
            .body("application/json", nested("unknown", 500_000)),
    );
    huge.assert_oauth_error(413, "invalid_request", "the body is too large");
}

#[test]
fn attack_conflicting_lengths_are_never_parsed_as_two_requests() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let smuggled = token_request(&client, &[]).bytes();
    let head = |headers: &str| format!("POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: {FORM}\r\n{headers}\r\n");
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: 4, 4\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x4\r\n",
    ] {
        let bytes = [head(headers).as_bytes(), b"0\r\n\r\n", smuggled.as_slice()].concat();
        let mut connection = Connection::open(app.address);
        connection.write(&bytes);
        while let Some(answer) = connection.read_response(false) {
            assert!((400..500).contains(&answer.status), "{headers}{answer:?}");
            if connection.closes_within(Duration::from_millis(100)) {
                break;
            }
        }
    }
}

#[test]
fn attack_control_characters_in_a_head_never_cause_500() {
    let app = TestApp::shared();
    for bytes in [
        &b"POST /token\0 HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"POST /token HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n",
        b"POST /token HTTP/1.1\r\nAuthorization: Basic \x01\r\n\r\n",
        b"POST /token HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"POST http://[::1/token HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut connection = Connection::open(app.address);
        connection.write(bytes);
        connection.write(&Request::get("/livez").bytes());
        let answer = connection.read_response(false);
        assert!(
            answer.is_none_or(|answer| answer.status < 500),
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
    let value: Value = app.send(Request::get("/livez")).json();
    assert_eq!(value, json!({"status": "ok"}));
}
