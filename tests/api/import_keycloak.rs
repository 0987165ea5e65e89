//! A realm export of Keycloak, from the file to the token: its clients get tokens with their secrets,
//! and the tokens have the audience, the claims, the scope and the lifetime of before.

use serde_json::{Value, json};
use testkit::TestClient;
use testkit::token::{claims, token_request};

const REALM: &str = include_str!("keycloak/realm.json");

#[test]
fn a_client_of_a_realm_export_gets_tokens_as_keycloak_issued_them() {
    let program = testkit::program!().with_database();
    program.write("realm.json", REALM);
    let report = program.run_json(&["client", "import", "realm.json"]);
    assert_eq!(report["format"], "keycloak");
    let accepted = &report["accepted"][0];
    assert_eq!(
        (&accepted["client_id"], &report["written"]),
        (&json!("billing"), &json!(true))
    );
    assert_eq!(report["skipped"][0]["client_id"], "account");
    let warnings = accepted["warnings"].as_array().unwrap();
    let named = |text: &str| warnings.iter().any(|warning| warning.as_str().unwrap().contains(text));
    assert!(
        named(r#"not imported: "Client IP Address" ("oidc-usersessionmodel-note-mapper")"#),
        "{warnings:?}"
    );
    assert!(named("Keycloak added its audiences by itself"), "{warnings:?}");

    let serving = program.serve(&[]);
    let client = TestClient::new("billing", "Dg5PrFnGJpeRBdyuyb0WiCxIAzcYWWdY");
    let issued = |parameters: &[(&str, &str)]| {
        let answer = serving.send(&token_request(&client, parameters));
        assert_eq!(answer.status, 200, "{}", answer.text());
        (answer.json(), claims(&answer.access_token()))
    };
    let (answer, token) = issued(&[]);
    assert_eq!(
        (&answer["scope"], &answer["expires_in"]),
        (&json!("invoices:read"), &json!(600))
    );
    for (name, expected) in [
        ("aud", json!("https://invoices.example")),
        ("scope", json!("invoices:read")),
        ("client_id", json!("billing")),
        ("sub", json!("billing")),
        ("shop", json!({"tenant": "t1"})),
        ("level", json!(2)),
        ("clientAddress", Value::Null),
    ] {
        assert_eq!(token[name], expected, "{name}: {token}");
    }
    let (_, token) = issued(&[("scope", "invoices:write"), ("audience", "ledger")]);
    assert_eq!(
        (&token["aud"], &token["scope"]),
        (&json!("ledger"), &json!("invoices:write"))
    );

    let wrong = TestClient::new("billing", "Dg5PrFnGJpeRBdyuyb0WiCxIAzcYWWdX");
    serving.send(&token_request(&wrong, &[])).assert_invalid_client();
    let foreign = serving.send(&token_request(&client, &[("audience", "https://other.example")]));
    assert_eq!(
        (foreign.status, &foreign.json()["error"]),
        (400, &json!("invalid_target"))
    );
}
