//! `/admin/openapi.json`: the document matches the route table and is consistent.

use std::collections::{BTreeMap, BTreeSet};

use mintage::http::Resource;
use mintage::http::routes::{admin_table, public_table};
use serde_json::{Value, json};
use testkit::TestApp;

use crate::operator::{OPERATIONS, Operator};

fn api() -> Value {
    let app = TestApp::shared();
    Operator::with_scope(&app, "mintage:read").document("/admin/openapi.json")
}

/// The methods of each path, in lower case.
type Operations = BTreeMap<String, BTreeSet<String>>;

fn of_table(rows: Vec<Resource>) -> Operations {
    const EVERY: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    let methods = |row: &Resource| {
        let named = row.methods().unwrap_or_else(|| EVERY.to_vec());
        named.iter().map(|method| method.to_ascii_lowercase()).collect()
    };
    // A pattern may contain a regular expression, a path template cannot.
    let path = |row: &Resource| row.pattern().replace(":.*}", "}");
    rows.iter().map(|row| (path(row), methods(row))).collect()
}

fn of_document(api: &Value) -> Operations {
    let methods = |item: &Value| item.as_object().unwrap().keys().cloned().collect();
    let paths = api["paths"].as_object().unwrap();
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

#[test]
fn the_document_has_exactly_the_routes_of_the_route_table() {
    let mut table = of_table(public_table());
    table.extend(of_table(admin_table()));
    assert_eq!(of_document(&api()), table);
}

#[test]
fn every_reference_resolves_and_every_schema_is_referenced() {
    let api = api();
    let (mut named, mut queue) = (BTreeSet::new(), vec![&api]);
    while let Some(value) = queue.pop() {
        match value {
            Value::Object(members) => {
                named.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                queue.extend(members.values());
            }
            Value::Array(items) => queue.extend(items),
            _ => {}
        }
    }
    let schemas = api["components"]["schemas"].as_object().unwrap();
    let defined: BTreeSet<String> = schemas
        .keys()
        .map(|name| format!("#/components/schemas/{name}"))
        .collect();
    assert_eq!(named, defined);
}

#[test]
fn creating_a_client_requires_members_that_an_update_may_omit() {
    let api = api();
    let body_of = |method: &str, path: &str| {
        let schema = &api["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"];
        let name = schema["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        api["components"]["schemas"][name].clone()
    };
    let create = body_of("post", "/admin/clients");
    let update = body_of("patch", "/admin/clients/{client_id}");
    assert_eq!(
        (&create["required"], &update["required"]),
        (&json!(["name", "scope"]), &Value::Null)
    );
    assert_eq!(create["properties"]["scope"]["type"], "string");
    // A generated client would send a default value and so change a member that its user did not
    // mention.
    assert!(!update.to_string().contains("default\":"), "{update}");
}

/// The scopes of which the operation requires one.
fn scopes_of(method: &str, path: &str) -> Vec<&'static str> {
    let is_this = |row: &&(&str, &str, &'static [&'static str])| row.0.eq_ignore_ascii_case(method) && row.1 == path;
    let (_, _, duties) = OPERATIONS.iter().find(is_this).unwrap();
    match duties.is_empty() {
        true => vec!["mintage:admin"],
        false => duties.to_vec(),
    }
}

#[test]
fn every_operation_documents_its_scope_and_its_error_responses() {
    let api = api();
    assert_eq!(api["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses: Vec<&str> = operation["responses"]
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            let has = |status: &str| responses.contains(&status);
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap()),
                "{path} {method}"
            );
            // The authorization endpoint supports no response type.
            let succeeds = path != "/authorize";
            let success = responses.iter().any(|status| status.starts_with('2'));
            assert!(has("413") && success == succeeds, "{path} {method}");
            let admin = path.starts_with("/admin");
            let has_body = operation.get("requestBody").is_some();
            assert!(
                !has_body || ["400", "408", "415"].into_iter().all(has),
                "{path} {method}"
            );
            if admin {
                let alternatives = operation["security"].as_array().unwrap();
                let scopes: Vec<&str> = alternatives
                    .iter()
                    .map(|one| one["bearer"][0].as_str().unwrap())
                    .collect();
                assert_eq!(scopes, scopes_of(method, path), "{path} {method}");
                let summary = operation["summary"].as_str().unwrap();
                assert!(summary.ends_with(&format!("({})", scopes.join(" or "))), "{summary}");
                assert!(
                    ["400", "401", "403", "500", "503"].into_iter().all(has),
                    "{path} {method}"
                );
                // PUT creates what does not exist.
                assert_eq!(has("404"), path.contains('{') && method != "put", "{path} {method}");
                let problem = &operation["responses"]["401"]["content"]["application/problem+json"];
                assert_eq!(
                    problem["schema"]["$ref"], "#/components/schemas/Problem",
                    "{path} {method}"
                );
            }
        }
    }
}

#[test]
fn introspection_is_documented_with_client_credentials_or_a_token() {
    let api = api();
    let operation = &api["paths"]["/introspect"]["post"];
    assert_eq!(
        operation["security"],
        json!([{"client": []}, {"bearer": ["mintage:introspect"]}])
    );
    assert_eq!(operation["summary"], "Whether a token is active (RFC 7662)");
    assert!(operation["responses"]["403"].is_object());
}
