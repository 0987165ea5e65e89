//! All admin operations × all kinds of credentials: authorization comes before any other check of
//! the request.

use std::collections::BTreeSet;
use std::time::Duration;

use mintage::http::routes::admin_table;
use mintage::oauth::claims::{AccessTokenClaims, Audience};
use serde_json::Value;
use testkit::TestApp;
use testkit::app::{ADMIN, ISSUER, ORDERS, Setup};
use testkit::http::{Request, Response};

use crate::operator::{OPERATIONS, Operation, Operator};

const MISSING: &str = "Bearer realm=\"mintage\"";
const INVALID: &str = "Bearer realm=\"mintage\", error=\"invalid_token\"";

/// Sends a request adapted by `shape` for every operation, and calls `check` with the response.
fn check_each(app: &TestApp, shape: impl Fn(Request) -> Request, check: impl Fn(&Operation, &Response)) {
    for operation in Operation::all() {
        let answer = shape(operation.request()).send(app.admin_address);
        println!("{} {} {}", operation.method, operation.path, answer.status);
        check(&operation, &answer);
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

/// Every operation denies this token as invalid.
fn assert_invalid_everywhere(app: &TestApp, token: &str) {
    check_each(app, |request| request.bearer(token), |_, answer| assert_invalid(answer));
}

#[track_caller]
fn assert_insufficient(answer: &Response, scope: &str) {
    let challenge = format!("{MISSING}, error=\"insufficient_scope\", scope=\"{scope}\"");
    answer.assert_problem(403, "Forbidden", "the token lacks the scope for this", Some(&challenge));
}

#[test]
fn the_operations_are_those_of_the_route_table() {
    let known: BTreeSet<(String, String)> = OPERATIONS
        .iter()
        .map(|row| (row.0.to_owned(), row.1.to_owned()))
        .collect();
    let mut of_table = BTreeSet::new();
    for row in admin_table() {
        let methods = row.methods().expect("no admin route takes every method");
        of_table.extend(
            methods
                .iter()
                .map(|method| (method.to_string(), row.pattern().to_owned())),
        );
    }
    // HEAD is GET.
    let of_table = of_table.into_iter().filter(|(method, _)| *method != "HEAD");
    assert_eq!(
        of_table.filter(|(_, path)| path != "/metrics").collect::<BTreeSet<_>>(),
        known
    );
}

#[test]
fn p39_without_a_token_every_operation_is_401() {
    let app = TestApp::shared();
    check_each(&app, |request| request, |_, answer| assert_missing(answer));
}

#[test]
fn p40_client_credentials_instead_of_a_token_are_denied() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    check_each(
        &app,
        |request| request.basic(&operator.client),
        |_, answer| assert_missing(answer),
    );
}

#[test]
fn p40_two_tokens_are_rejected() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let twice = |request: Request| request.bearer(&operator.token).bearer(&operator.token);
    let detail = "there must be one Authorization header of the form: Bearer TOKEN";
    let challenge = format!("{MISSING}, error=\"invalid_request\"");
    check_each(&app, twice, |_, answer| {
        answer.assert_problem(400, "Bad Request", detail, Some(&challenge));
    });
}

#[test]
fn p41_an_expired_token_is_denied() {
    let app = Setup::new().with_mock_clock().start();
    let operator = Operator::of(&app);
    app.advance(Duration::from_secs(3601));
    assert_invalid_everywhere(&app, &operator.token);
}

#[test]
fn p41_a_revoked_token_is_denied() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let form = [("token", operator.token.as_str())];
    app.send(Request::post("/revoke").basic(&operator.client).form(&form));
    assert_invalid_everywhere(&app, &operator.token);
}

#[test]
fn p41_a_token_for_another_audience_is_denied() {
    let app = TestApp::shared();
    let valid = app.claims(&app.issue_with_scope("mintage:admin"));
    for aud in [
        Audience::One(ISSUER.into()),
        Audience::One(ORDERS.into()),
        Audience::Many(vec![ORDERS.into(), ADMIN.into()]),
    ] {
        let token = app.sign(&AccessTokenClaims { aud, ..valid.clone() });
        assert_invalid_everywhere(&app, &token);
    }
    assert_invalid_everywhere(&app, &app.issue_with_scope("orders:read"));
}

#[test]
fn p41_a_one_time_token_is_denied() {
    let app = TestApp::shared();
    let client = app.client_with_scope("mintage:admin");
    let token = app.issue(&client, &[("scope", "mintage:admin"), ("one_time", "true")]);
    assert_invalid_everywhere(&app, &token);
}

#[test]
fn p41_a_token_without_an_admin_scope_is_403() {
    let app = TestApp::shared();
    let token = app.issue_with_scope("mintage:introspect");
    check_each(
        &app,
        |request| request.bearer(&token),
        |operation, answer| assert_insufficient(answer, operation.least()),
    );
}

#[test]
fn p41_the_read_scope_allows_only_reads() {
    let app = TestApp::shared();
    let reader = Operator::with_scope(&app, "mintage:read");
    check_each(
        &app,
        |request| request.bearer(&reader.token),
        |operation, answer| match operation.is_allowed_to("mintage:read") {
            true => assert!([200, 400, 404, 415].contains(&answer.status), "{}", answer.text()),
            false => assert_insufficient(answer, operation.least()),
        },
    );
}

#[test]
fn p41_the_admin_scope_allows_every_operation() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    check_each(
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
fn without_permission_existing_and_missing_resources_are_indistinguishable() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(serde_json::json!({}));
    let token = app.issue_with_scope("mintage:introspect");
    let get = |path: &str| app.send(Request::get(path).bearer(&token));
    let (existing, missing) = (get(&crate::operator::path_of(&client)), get("/admin/clients/nobody"));
    assert_eq!((existing.status, existing.text()), (missing.status, missing.text()));
}
