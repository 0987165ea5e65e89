//! What operators set for the tokens of a client: the default audience, custom claims (P108), the
//! scope as a list (P109) and the type.

use mintage::config::Config;
use serde_json::{Value, json};
use testkit::app::{ISSUER, Setup};
use testkit::gateway::original;
use testkit::http::Request;
use testkit::token::claims;
use testkit::{TestApp, TestClient};

use crate::operator::Operator;

/// The `typ` of a token.
fn typ(token: &str) -> Value {
    use base64::Engine;
    let header = token.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["typ"].clone()
}

fn introspected(app: &TestApp, client: &TestClient, token: &str) -> Value {
    app.send(Request::post("/introspect").basic(client).form(&[("token", token)]))
        .json()
}

#[test]
fn p110_custom_claims_are_in_the_next_token_and_its_introspection_and_nowhere_else() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let (created, _) = operator.create(json!({"scope": "orders:read"}));
    let (client, path) = (created.clone(), format!("/admin/clients/{}", created.id));
    let plain = claims(&app.issue(&client, &[]));
    let custom = json!({"tenant": "t1", "roles": ["x"], "https://e.example/a": {"deep": [1.5, null]}});
    let changed = operator.patch(&path, &json!({"claims": custom}));
    assert_eq!((changed.status, &changed.json()["claims"]), (200, &custom));
    let token = app.issue(&client, &[]);
    let issued = claims(&token);
    let shown = introspected(&app, &client, &token);
    for (name, value) in custom.as_object().unwrap() {
        assert_eq!((&issued[name], &shown[name]), (value, value), "{name}");
    }
    assert_eq!(issued.as_object().unwrap().len(), plain.as_object().unwrap().len() + 3);
    let route = json!({"path": "/orders", "scope": "orders:read"});
    assert_eq!(operator.post("/admin/routes", &route).status, 201);
    let passed = app.send(original("GET", "/orders").bearer(&token));
    assert_eq!((passed.status, passed.header("X-Tenant")), (200, None));
    assert_eq!(
        operator.patch(&path, &json!({"claims": null})).json()["claims"],
        json!(null)
    );
    assert_eq!(claims(&app.issue(&client, &[])).get("tenant"), None);
    let revoke = Request::post("/revoke").basic(&client).form(&[("token", &token)]);
    assert_eq!(app.send(revoke).status, 200);
    assert_eq!(introspected(&app, &client, &token), json!({"active": false}));
}

#[test]
fn p108_a_rejected_object_of_claims_names_the_rule() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    for (claims, rule) in [
        (r#"{"aud":"x"}"#, "free of the names of standard claims"),
        (r#"{"Aud":"x"}"#, "free of the names of standard claims"),
        (r#"{"mintage_x":"x"}"#, "free of the names of standard claims"),
        (r#"{"a":1,"a":2}"#, "free of repeated names"),
        (r#"{"a":[[[[]]]]}"#, "at most 4 levels deep"),
        (r#""x""#, "a JSON object"),
    ] {
        let body = format!(r#"{{"name":"n","scope":"a","claims":{claims}}}"#);
        let post = Request::post("/admin/clients").body("application/json", body);
        let answer = operator.send(post);
        assert_eq!(answer.status, 400, "{claims}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(&format!("claims must be {rule}")), "{detail}");
    }
}

#[test]
fn p21_a_request_that_names_no_audience_gets_the_default_one_of_the_client() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({"scope": "orders:read", "default_audience": "kafka"}));
    assert_eq!(claims(&app.issue(&client, &[]))["aud"], "kafka");
    let answer = app.ask(&client, &[("audience", ISSUER)]);
    answer.assert_oauth_error(
        400,
        "invalid_target",
        "the audience is not one that the client may name",
    );
    let (client, _) = operator.create(json!({"scope": "a", "default_audience": format!("{ISSUER}/admin")}));
    const FOR_ADMIN: &str = "the default audience of the client is that of /admin, name another";
    app.ask(&client, &[])
        .assert_oauth_error(400, "invalid_target", FOR_ADMIN);
}

#[test]
fn p109_scp_lists_what_was_granted_and_typ_is_that_of_the_client_or_the_server() {
    let configure = |config: &mut Config| {
        config.token.typ = "JWT".into();
        config.token.scope_claim = "scp".into();
    };
    for (app, by_default) in [
        (Setup::new().start(), ("at+jwt", None)),
        (Setup::new().configured(configure).start(), ("JWT", Some(json!(["a"])))),
    ] {
        let operator = Operator::of(&app);
        // The tokens of operators are as others.
        assert_eq!(typ(&operator.token), by_default.0);
        for (options, expected) in [
            (json!({}), by_default),
            (json!({"typ": "JWT", "scope_claim": "scp"}), ("JWT", Some(json!(["a"])))),
            (json!({"typ": "at+jwt", "scope_claim": "scope"}), ("at+jwt", None)),
        ] {
            let mut document = options.clone();
            document["scope"] = "a b".into();
            let (client, _) = operator.create(document);
            let token = app.issue(&client, &[("scope", "a")]);
            assert_eq!(
                (typ(&token), claims(&token).get("scp")),
                (expected.0.into(), expected.1.as_ref())
            );
            assert_eq!(claims(&token)["scope"], "a");
            let shown = introspected(&app, &client, &token);
            assert_eq!(
                (&shown["active"], shown.get("scp")),
                (&json!(true), expected.1.as_ref())
            );
            let both = claims(&app.issue(&client, &[]));
            assert_eq!(both.get("scp"), expected.1.as_ref().map(|_| json!(["a", "b"])).as_ref());
        }
    }
}

#[test]
fn the_command_line_sets_shows_and_removes_token_options() {
    let program = testkit::program!().with_database();
    let id = |arguments: &[&str]| program.run_json(arguments)["client_id"].as_str().unwrap().to_owned();
    let client = id(&[
        "client",
        "create",
        "--name",
        "n",
        "--scope",
        "a",
        "--default-audience",
        "kafka",
        "--claims",
        r#"{"tenant": "t1"}"#,
        "--scope-claim",
        "scp",
        "--typ",
        "JWT",
    ]);
    let shown = program.run_json(&["client", "show", &client]);
    let options =
        |document: &Value| ["default_audience", "claims", "scope_claim", "typ"].map(|member| document[member].clone());
    assert_eq!(
        options(&shown),
        [json!("kafka"), json!({"tenant": "t1"}), json!("scp"), json!("JWT")]
    );
    let text = program.run(&["client", "show", &client]).stdout;
    assert!(text.contains(r#"{"tenant":"t1"}"#) && text.contains("kafka"), "{text}");
    let updated = program.run_json(&[
        "client",
        "update",
        &client,
        "--no-default-audience",
        "--no-claims",
        "--scope-claim",
        "default",
        "--typ",
        "default",
    ]);
    assert_eq!(options(&updated), [json!(null), json!(null), json!(null), json!(null)]);
    let wrong = program.run(&["client", "update", &client, "--claims", r#"{"scope":"x"}"#]);
    assert!(
        wrong
            .failed(2)
            .contains("--claims must be free of the names of standard claims"),
        "{wrong:?}"
    );
}
