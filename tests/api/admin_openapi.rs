//! `/admin/openapi.json`: it says what there is, all of it and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use mintage::http::Resource;
use mintage::http::routes::{admin_table, public_table};
use serde_json::{Value, json};
use testkit::TestApp;

use crate::operator::Operator;

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
    // A pattern may say more than a path template can.
    let path = |row: &Resource| row.pattern().replace(":.*}", "}");
    rows.iter().map(|row| (path(row), methods(row))).collect()
}

fn of_document(api: &Value) -> Operations {
    let methods = |item: &Value| item.as_object().unwrap().keys().cloned().collect();
    let paths = api["paths"].as_object().unwrap();
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

#[test]
fn it_has_every_route_of_the_table_and_no_other() {
    let mut table = of_table(public_table());
    table.extend(of_table(admin_table()));
    assert_eq!(of_document(&api()), table);
}

#[test]
fn every_reference_in_it_leads_somewhere_and_nothing_is_left_over() {
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
    let there: BTreeSet<String> = schemas
        .keys()
        .map(|name| format!("#/components/schemas/{name}"))
        .collect();
    assert_eq!(named, there);
}

#[test]
fn a_client_that_is_made_must_have_what_a_change_may_leave_out() {
    let api = api();
    let body_of = |method: &str, path: &str| {
        let schema = &api["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"];
        let name = schema["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        api["components"]["schemas"][name].clone()
    };
    let made = body_of("post", "/admin/clients");
    let changed = body_of("patch", "/admin/clients/{client_id}");
    assert_eq!(
        (&made["required"], &changed["required"]),
        (&json!(["name", "scope"]), &Value::Null)
    );
    assert_eq!(made["properties"]["scope"]["type"], "string");
    // A default that a generated client sent would change what nobody asked to be changed.
    assert!(!changed.to_string().contains("default\":"), "{changed}");
}

#[test]
fn every_operation_tells_who_may_call_it_and_how_it_refuses() {
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
            assert!(
                has("413") && responses.iter().any(|status| status.starts_with('2')),
                "{path} {method}"
            );
            let admin = path.starts_with("/admin");
            let reads = operation.get("requestBody").is_some();
            assert!(!reads || ["400", "408", "415"].into_iter().all(has), "{path} {method}");
            if admin {
                let scope = if method == "get" {
                    "mintage:read"
                } else {
                    "mintage:admin"
                };
                assert_eq!(operation["security"][0]["bearer"][0], scope, "{path} {method}");
                assert!(
                    ["400", "401", "403", "500", "503"].into_iter().all(has),
                    "{path} {method}"
                );
                assert_eq!(has("404"), path.contains('{'), "{path} {method}");
                let problem = &operation["responses"]["401"]["content"]["application/problem+json"];
                assert_eq!(
                    problem["schema"]["$ref"], "#/components/schemas/Problem",
                    "{path} {method}"
                );
            }
        }
    }
}
