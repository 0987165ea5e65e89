//! Admin routes × every kind of credential: who may not is told so before anything else of the request is looked at.

use std::time::Duration;

use mintage::http::routes::admin_table;
use serde_json::Value;
use testkit::TestApp;
use testkit::app::{ORDERS, Setup};
use testkit::http::{Request, Response};

use crate::operator::Operator;

const MISSING: &str = "Bearer realm=\"mintage\"";
const INVALID: &str = "Bearer realm=\"mintage\", error=\"invalid_token\"";

/// Every operation of the route table, with ids that are nobody's.
fn operations() -> Vec<(String, String)> {
    let of_row = |row: mintage::http::Resource| -> Vec<(String, String)> {
        let path: Vec<&str> = row.pattern().split('/').collect();
        let path: Vec<&str> = path
            .iter()
            .map(|part| if part.starts_with('{') { "nobody" } else { *part })
            .collect();
        let methods = row.methods().expect("no admin route takes every method");
        methods
            .iter()
            .map(|method| (method.to_string(), path.join("/")))
            .collect()
    };
    let rows = admin_table().into_iter();
    // Prometheus has no token.
    let rows = rows.filter(|row| row.pattern() != "/metrics");
    let operations: Vec<_> = rows.flat_map(of_row).collect();
    assert!(operations.len() > 20);
    operations
}

/// With a body that would be refused, were it read first.
fn request(method: &str, path: &str) -> Request {
    Request::new(method, path).body("text/plain", "{nonsense")
}

/// Sends every operation with what `shape` adds, and hands each answer to `judge` with its method.
fn each(app: &TestApp, shape: impl Fn(Request) -> Request, judge: impl Fn(&str, &Response)) {
    for (method, path) in operations() {
        let answer = shape(request(&method, &path)).send(app.admin_address);
        println!("{method} {path} {}", answer.status);
        judge(&method, &answer);
    }
}

#[track_caller]
fn assert_missing(answer: &Response) {
    answer.assert_problem(401, "Unauthorized", "a bearer token is required", Some(MISSING));
}

#[track_caller]
fn assert_invalid(answer: &Response) {
    answer.assert_problem(401, "Unauthorized", "the token is not active", Some(INVALID));
}

#[track_caller]
fn assert_insufficient(answer: &Response, scope: &str) {
    let challenge = format!("{MISSING}, error=\"insufficient_scope\", scope=\"{scope}\"");
    answer.assert_problem(403, "Forbidden", "the token lacks the scope for this", Some(&challenge));
}

#[test]
fn p39_no_token_at_all() {
    let app = TestApp::shared();
    each(&app, |request| request, |_, answer| assert_missing(answer));
}

#[test]
fn p40_the_secret_of_an_operator_in_the_place_of_its_token() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    each(
        &app,
        |request| request.basic(&operator.client),
        |_, answer| assert_missing(answer),
    );
}

#[test]
fn p40_two_tokens() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let twice = |request: Request| request.bearer(&operator.token).bearer(&operator.token);
    let detail = "there must be one Authorization header of the form: Bearer TOKEN";
    let challenge = format!("{MISSING}, error=\"invalid_request\"");
    each(&app, twice, |_, answer| {
        answer.assert_problem(400, "Bad Request", detail, Some(&challenge));
    });
}

#[test]
fn p41_an_expired_token() {
    let app = Setup::new().with_mock_clock().start();
    let operator = Operator::of(&app);
    app.advance(Duration::from_secs(3601));
    each(
        &app,
        |request| request.bearer(&operator.token),
        |_, answer| assert_invalid(answer),
    );
}

#[test]
fn p41_a_revoked_token() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let form = [("token", operator.token.as_str())];
    app.send(Request::post("/revoke").basic(&operator.client).form(&form));
    each(
        &app,
        |request| request.bearer(&operator.token),
        |_, answer| assert_invalid(answer),
    );
}

#[test]
fn p41_a_token_for_another_audience() {
    let app = TestApp::shared();
    let client = app.client_with_scope("mintage:admin");
    let token = app.issue(&client, &[("scope", "mintage:admin"), ("resource", ORDERS)]);
    each(
        &app,
        |request| request.bearer(&token),
        |_, answer| assert_invalid(answer),
    );
}

#[test]
fn p41_a_token_for_one_use() {
    let app = TestApp::shared();
    let client = app.client_with_scope("mintage:admin");
    let token = app.issue(&client, &[("scope", "mintage:admin"), ("one_time", "true")]);
    each(
        &app,
        |request| request.bearer(&token),
        |_, answer| assert_invalid(answer),
    );
}

#[test]
fn p41_the_token_of_an_ordinary_client() {
    let app = TestApp::shared();
    let token = app.issue_with_scope("orders:read");
    each(
        &app,
        |request| request.bearer(&token),
        |method, answer| match method {
            "GET" => assert_insufficient(answer, "mintage:read"),
            _ => assert_insufficient(answer, "mintage:admin"),
        },
    );
}

#[test]
fn p41_the_token_of_a_reader_reads_and_nothing_else() {
    let app = TestApp::shared();
    let reader = Operator::with_scope(&app, "mintage:read");
    each(
        &app,
        |request| request.bearer(&reader.token),
        |method, answer| match method {
            "GET" => assert!([200, 400, 404].contains(&answer.status), "{}", answer.text()),
            _ => assert_insufficient(answer, "mintage:admin"),
        },
    );
}

#[test]
fn p41_the_token_of_an_operator_opens_everything() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    each(
        &app,
        |request| request.bearer(&operator.token),
        |_, answer| {
            assert!([200, 204, 400, 404, 415].contains(&answer.status), "{}", answer.text());
            let detail: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            assert_ne!(detail["detail"], "path not found");
        },
    );
}

#[test]
fn what_is_there_is_not_told_to_who_may_not_look() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(serde_json::json!({}));
    let stranger = app.issue_with_scope("orders:read");
    let ask = |path: &str| app.send(Request::get(path).bearer(&stranger));
    let (there, missing) = (ask(&crate::operator::path_of(&client)), ask("/admin/clients/nobody"));
    assert_eq!((there.status, there.text()), (missing.status, missing.text()));
}
