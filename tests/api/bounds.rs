//! The bounds of a client, a request and a token agree: what may be stored can be sent, and what is
//! issued can be introspected, used at a gateway and revoked.

use std::sync::Arc;

use mintage::oauth::bounds::{
    MAX_ADMIN_DOCUMENT, MAX_AUDIENCE, MAX_AUDIENCES, MAX_AUDIENCES_BYTES, MAX_BODY, MAX_CLIENT_ID, MAX_CUSTOM_CLAIMS,
    MAX_FORM, MAX_ISSUED_TOKEN, MAX_LABEL_KEY, MAX_LABEL_VALUE, MAX_LABELS, MAX_LABELS_BYTES, MAX_RESOURCES, MAX_SCOPE,
    MAX_SCOPE_TOKENS, MAX_SECRET,
};
use mintage::oauth::scope::Scope;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::fmt::Write;
use testkit::gateway::original;
use testkit::http::{Request, Response};
use testkit::{TestApp, TestClient};

use crate::operator::Operator;

const GRANT: &str = "client_credentials";
const TOO_LONG: [(&str, &str); 2] = [
    ("invalid_scope", "the token would be too long: ask for fewer scopes"),
    ("invalid_target", "the token would be too long: name fewer resources"),
];

/// A client, as the members that an operator gives.
#[derive(Clone, Debug)]
struct Drawn {
    id: String,
    scopes: Vec<String>,
    audiences: Vec<String>,
    alg: Option<&'static str>,
    claims: Option<Value>,
    scope_claim: Option<&'static str>,
}

impl Drawn {
    fn document(&self) -> Value {
        json!({
            "client_id": self.id, "name": "n", "scope": self.scopes.join(" "),
            "audiences": self.audiences, "alg": self.alg, "claims": self.claims, "scope_claim": self.scope_claim,
        })
    }
}

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// A form as usual programs write it.
    Form,
    /// A form with every byte percent-encoded.
    Encoded,
    Json,
}

#[derive(Clone, Debug)]
struct Asked {
    /// How many scopes to ask for; `None`: the default.
    scopes: Option<usize>,
    resources: usize,
    one_time: bool,
    written: Written,
}

/// Mostly at a bound, sometimes below it.
fn near(bound: usize, least: usize) -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(bound), 2 => (bound - bound / 20).max(least)..=bound, 3 => least..=bound]
}

fn scopes() -> impl Strategy<Value = Vec<String>> {
    let number = prop_oneof![Just(1), Just(MAX_SCOPE_TOKENS), 1..=MAX_SCOPE_TOKENS];
    (number, near(MAX_SCOPE, 1000), select(vec!["/", "x", "!"])).prop_map(|(number, length, filler)| {
        let each = (length + 1) / number - 1;
        let name = |index: usize| {
            let begin = format!("{index}:");
            let room = each - begin.len();
            begin + &filler.repeat(room)
        };
        (0..number).map(name).collect()
    })
}

fn audiences() -> impl Strategy<Value = Vec<String>> {
    let number = prop_oneof![Just(0), Just(MAX_RESOURCES), Just(MAX_AUDIENCES), 0..=MAX_AUDIENCES];
    (number, near(MAX_AUDIENCE, 30), select(vec!["/", "x", "%41"])).prop_map(|(number, length, filler)| {
        let length = length.min(MAX_AUDIENCES_BYTES / number.max(1));
        let uri = |index: usize| {
            let begin = format!("urn:aud:{index}:");
            let room = (length - begin.len()) / filler.len();
            begin + &filler.repeat(room)
        };
        (0..number).map(uri).collect()
    })
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let id = (near(MAX_CLIENT_ID, 24), select(vec!["\"", "\\", "/", ":", "%", "a"]));
    let id = id.prop_map(|(length, filler)| format!("{:a<24}{}", rand_id(), filler.repeat(length - 24)));
    let alg = select(vec![None, Some("ES256"), Some("EdDSA"), Some("HS256"), Some("RS256")]);
    let claims = select(vec![None, Some(json!({"tenant": "t1"})), Some(largest_claims())]);
    let form = (claims, select(vec![None, Some("scp")]));
    (id, scopes(), audiences(), alg, form).prop_map(|(id, scopes, audiences, alg, (claims, scope_claim))| Drawn {
        id,
        scopes,
        audiences,
        alg,
        claims,
        scope_claim,
    })
}

fn largest_claims() -> Value {
    json!({"a": "/".repeat(MAX_CUSTOM_CLAIMS - r#"{"a":""}"#.len())})
}

/// A beginning that no other client has, also when a case is repeated to shrink it.
fn rand_id() -> String {
    mintage::random::random_text(20)
}

fn asked() -> impl Strategy<Value = Asked> {
    let scopes = prop_oneof![Just(None), Just(Some(1)), (1..=MAX_SCOPE_TOKENS).prop_map(Some)];
    let resources = prop_oneof![Just(0), Just(MAX_RESOURCES), 0..=MAX_RESOURCES];
    let written = select(vec![Written::Form, Written::Encoded, Written::Json]);
    (scopes, resources, any::<bool>(), written).prop_map(|(scopes, resources, one_time, written)| Asked {
        scopes,
        resources,
        one_time,
        written,
    })
}

fn form(pairs: &[(&str, &str)], written: Written) -> Vec<u8> {
    let encode = |text: &str| match written {
        Written::Encoded => text.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        _ => url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>(),
    };
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    pairs.join("&").into_bytes()
}

fn post(path: &str, client: &TestClient, pairs: &[(&str, &str)], written: Written) -> Request {
    let credentials = [
        ("client_id", client.id.as_str()),
        ("client_secret", client.secret.as_str()),
    ];
    Request::post(path).form_raw(form(&[pairs, &credentials].concat(), written))
}

fn ask(app: &TestApp, client: &TestClient, drawn: &Drawn, asked: &Asked, written: Written) -> Response {
    let resources: Vec<&str> = drawn
        .audiences
        .iter()
        .map(String::as_str)
        .take(asked.resources)
        .collect();
    let scope = asked
        .scopes
        .map(|number| drawn.scopes[..number.min(drawn.scopes.len())].join(" "));
    let one_time = asked.one_time.to_string();
    if written == Written::Json {
        let mut body = json!({"grant_type": GRANT, "resource": resources, "one_time": asked.one_time});
        if let Some(scope) = scope {
            body["scope"] = scope.into();
        }
        return app.send(Request::post("/token").basic(client).json(&body));
    }
    let mut pairs = vec![("grant_type", GRANT), ("one_time", &one_time)];
    pairs.extend(scope.as_deref().map(|scope| ("scope", scope)));
    pairs.extend(resources.iter().map(|resource| ("resource", *resource)));
    app.send(post("/token", client, &pairs, written))
}

/// The token can be used everywhere, or it was not issued.
fn assert_usable_or_not_issued(operator: &Operator, drawn: &Drawn, asked: &Asked) {
    let app = operator.app;
    let created = operator.post("/admin/clients", &drawn.document());
    assert_eq!(created.status, 201, "{}", created.text());
    let client = TestClient::created(&created.json());
    let mut answer = ask(app, &client, drawn, asked, asked.written);
    if answer.status == 413 {
        // Encoding every byte triples what is too much in any case.
        answer = ask(app, &client, drawn, asked, Written::Json);
        assert_eq!(answer.status, 400, "413 although the token could be issued");
    }
    if answer.status != 200 {
        let (code, description) = TOO_LONG[usize::from(asked.resources.min(drawn.audiences.len()) > 0)];
        answer.assert_oauth_error(400, code, description);
        return;
    }
    let token = answer.access_token();
    assert!(token.len() <= MAX_ISSUED_TOKEN);
    let introspect = || {
        let response = app.send(post("/introspect", &client, &[("token", &token)], asked.written));
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    };
    let shown = introspect();
    assert_eq!(shown["active"], true);
    assert_eq!(shown.get("a"), drawn.claims.as_ref().and_then(|claims| claims.get("a")));
    assert_eq!(shown.get("scp").is_some(), drawn.scope_claim.is_some());
    let audience = shown["aud"].as_array().map_or(&shown["aud"], |many| &many[0]);
    let route = json!({"path": "/bounds", "method": "GET", "scope": shown["scope"], "audience": audience});
    let added = operator.post("/admin/routes", &route);
    assert_eq!(added.status, 201, "{}", added.text());
    let passed = app.send(original("GET", "/bounds").bearer(&token));
    assert_eq!(passed.status, 200, "{}", passed.text());
    let id = added.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(operator.delete(&format!("/admin/routes/{id}")).status, 204);
    assert_eq!(introspect()["active"], !asked.one_time);
    let revoked = app.send(post("/revoke", &client, &[("token", &token)], asked.written));
    assert_eq!((revoked.status, revoked.text().as_str()), (200, "{}"));
    assert_eq!(introspect()["active"], false);
}

fn run(cases: u32) {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&(drawn(), asked()), |(drawn, asked)| {
        assert_usable_or_not_issued(&operator, &drawn, &asked);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn an_issued_token_can_be_introspected_validated_and_revoked() {
    run(96);
}

#[test]
#[ignore = "takes more than a minute: scripts/test --soak"]
fn soak_an_issued_token_can_be_introspected_validated_and_revoked() {
    run(2000);
}

#[test]
fn p21_a_token_for_many_long_audiences_is_not_issued() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let uri = |index: usize| format!("https://{index:02}.example/{}", "a".repeat(400));
    let drawn = Drawn {
        id: rand_id(),
        scopes: vec!["a".into()],
        audiences: (0..14).map(uri).collect(),
        alg: None,
        claims: None,
        scope_claim: None,
    };
    for resources in [14, 13, 1] {
        for written in [Written::Form, Written::Encoded, Written::Json] {
            let asked = Asked {
                scopes: None,
                resources,
                one_time: false,
                written,
            };
            let drawn = Drawn {
                id: rand_id(),
                ..drawn.clone()
            };
            assert_usable_or_not_issued(&operator, &drawn, &asked);
        }
    }
}

#[test]
fn p110_a_client_with_the_largest_claims_gets_a_token() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let audience = "\\".repeat(MAX_AUDIENCE);
    for alg in ["ES256", "EdDSA", "RS256", "PS256", "HS256"] {
        let drawn = Drawn {
            id: format!("{:\"<1$}", rand_id(), MAX_CLIENT_ID),
            scopes: vec!["a".into()],
            audiences: vec![audience.clone()],
            alg: Some(alg),
            claims: Some(largest_claims()),
            scope_claim: Some("scp"),
        };
        let created = operator.post("/admin/clients", &drawn.document());
        let client = TestClient::created(&created.json());
        let token = app.issue(&client, &[("audience", &audience)]);
        assert!(token.len() <= MAX_ISSUED_TOKEN, "{alg}: {}", token.len());
        let header = format!("Authorization: Bearer {token}");
        assert!(header.len() < 8 << 10);
    }
}

/// The longest token is exactly as long as allowed, with every algorithm.
#[test]
fn p21_a_token_that_would_be_too_long_is_not_issued() {
    let app = TestApp::start();
    for alg in ["ES256", "EdDSA", "RS256", "PS256", "HS256"] {
        let length_with = |audience: usize| {
            let audience: Arc<str> = format!("urn:{}", "x".repeat(audience - 4)).into();
            let client = app.client(|client| {
                client.scope = Scope::parse("a").unwrap();
                client.default_scope = client.scope.clone();
                client.audiences = vec![audience.clone()];
                client.alg = Some(alg.parse().unwrap());
            });
            let answer = app.ask(&client, &[("resource", &audience)]);
            match answer.status {
                200 => Some(answer.access_token().len()),
                _ => {
                    answer.assert_oauth_error(400, TOO_LONG[1].0, TOO_LONG[1].1);
                    None
                }
            }
        };
        let (mut issued, mut rejected) = (4000, 6000);
        while rejected - issued > 1 {
            let middle = (issued + rejected) / 2;
            match length_with(middle) {
                Some(_) => issued = middle,
                None => rejected = middle,
            }
        }
        // base64 has 4 characters for 3 bytes, so not every length exists.
        let longest = length_with(issued).unwrap();
        assert!(
            (MAX_ISSUED_TOKEN - 1..=MAX_ISSUED_TOKEN).contains(&longest),
            "{alg}: {longest}"
        );
    }
}

fn largest_labels() -> Value {
    let key = |index: usize| format!("{index:02}{}", "/".repeat(MAX_LABEL_KEY - 2));
    let value = "é".repeat((MAX_LABELS_BYTES / MAX_LABELS - MAX_LABEL_KEY) / 2);
    (0..MAX_LABELS)
        .map(|index| (key(index), Value::from(value.clone())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The largest client, with every list at its bound.
fn largest(id: &str) -> Value {
    let audiences = |begin: &str| -> Vec<String> {
        let uri = |index: usize| {
            format!(
                "{begin}:{index:02}{}",
                "/".repeat(MAX_AUDIENCES_BYTES / MAX_AUDIENCES - begin.len() - 3)
            )
        };
        (0..MAX_AUDIENCES).map(uri).collect()
    };
    json!({
        "client_id": id, "name": "\u{1f512}".repeat(200), "scope": "/".repeat(MAX_SCOPE), "default_scope": "/".repeat(MAX_SCOPE),
        "audiences": audiences("urn:a"), "introspection_audiences": audiences("urn:b"),
        "auth_methods": ["client_secret_basic", "client_secret_post"], "ttl_seconds": 2_592_000, "alg": "RS256",
        "enabled": true, "default_audience": "/".repeat(MAX_AUDIENCE), "claims": largest_claims(), "scope_claim": "scp",
        "typ": "at+jwt", "labels": largest_labels(),
    })
}

/// JSON in its longest usual notation: `/` as `\/`, and everything outside of ASCII as `\u` escapes.
fn escaped(document: &Value) -> String {
    let mut text = String::new();
    for c in document.to_string().replace('/', "\\/").chars() {
        match c.is_ascii() {
            true => text.push(c),
            false => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| write!(text, "\\u{unit:04x}").unwrap()),
        }
    }
    text
}

#[test]
fn every_written_form_of_the_largest_client_is_accepted() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let id = "\\".repeat(MAX_CLIENT_ID);
    let text = escaped(&largest(&id));
    assert!(
        text.len() > MAX_ADMIN_DOCUMENT / 4 * 3 && text.len() <= MAX_ADMIN_DOCUMENT,
        "{}",
        text.len()
    );
    let post = Request::post("/admin/clients").body("application/json", &text);
    let created = operator.send(post);
    assert_eq!(created.status, 201, "{}", created.text());
    let path = format!("/admin/clients/{}", crate::operator::escaped(&id));
    for request in [
        Request::new("PATCH", &path).body("application/json", &text),
        Request::new("PATCH", &path)
            .header("Content-Type", "application/json")
            .chunked(text.as_bytes()),
    ] {
        let changed = operator.send(request);
        assert_eq!(changed.status, 200, "{}", changed.text());
    }
    for (member, expected) in largest(&id).as_object().unwrap() {
        assert_eq!(&operator.document(&path)[member], expected, "{member}");
    }
}

#[test]
fn the_largest_client_is_created_on_the_command_line_and_imported() {
    let program = testkit::program!().with_database();
    let client = largest("largest");
    let text = |member: &str| client[member].as_str().unwrap().to_owned();
    let list = |member: &str| -> Vec<String> { serde_json::from_value(client[member].clone()).unwrap() };
    let mut arguments = vec!["client".to_owned(), "create".into(), "--name".into(), text("name")];
    arguments.extend([
        "--scope".into(),
        text("scope"),
        "--default-scope".into(),
        text("default_scope"),
    ]);
    for (flag, member) in [
        ("--audience", "audiences"),
        ("--introspection-audience", "introspection_audiences"),
    ] {
        list(member)
            .into_iter()
            .for_each(|uri| arguments.extend([flag.into(), uri]));
    }
    arguments.extend(["--default-audience".into(), text("default_audience")]);
    arguments.extend(["--claims".into(), client["claims"].to_string()]);
    for (key, value) in client["labels"].as_object().unwrap() {
        arguments.extend(["--label".into(), format!("{key}={}", value.as_str().unwrap())]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert_eq!(program.run(&arguments).code, Some(0));
    let header = "client_id,name,scope,default_scope,audiences,introspection_audiences,labels,secret";
    let joined = |member: &str| list(member).join(" ");
    let row = [
        text("client_id"),
        text("name"),
        text("scope"),
        text("default_scope"),
        joined("audiences"),
        joined("introspection_audiences"),
        format!("\"{}\"", client["labels"].to_string().replace('"', "\"\"")),
        mintage::random::random_text(MAX_SECRET),
    ];
    program.write("clients.csv", &format!("{header}\n{}\n", row.join(",")));
    let imported = program.run(&["client", "import", "clients.csv"]);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert_eq!(
        program.run_json(&["client", "show", "largest"])["audiences"],
        client["audiences"]
    );
    assert_eq!(
        program.run_json(&["client", "show", "largest"])["labels"],
        client["labels"]
    );
}

#[test]
fn one_byte_more_is_rejected_in_every_member() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let rejected = |member: &str, value: Value| {
        let mut document = json!({"name": "n", "scope": "a"});
        document[member] = value;
        let answer = operator.post("/admin/clients", &document);
        assert_eq!(answer.status, 400, "{member}");
        assert!(
            answer.json()["detail"].as_str().unwrap().starts_with(member),
            "{}",
            answer.text()
        );
    };
    rejected("claims", json!({"a": "x".repeat(MAX_CUSTOM_CLAIMS - 7)}));
    rejected("labels", json!({"a": "x".repeat(MAX_LABEL_VALUE + 1)}));
    rejected("labels", json!({"k".repeat(MAX_LABEL_KEY + 1): "x"}));
    let mut labels = largest_labels();
    labels["one-more"] = "".into();
    rejected("labels", labels);
    rejected("default_audience", "x".repeat(MAX_AUDIENCE + 1).into());
    rejected("scope", "x".repeat(MAX_SCOPE + 1).into());
    rejected("audiences", json!([format!("urn:{}", "x".repeat(MAX_AUDIENCE - 3))]));
    let many: Vec<String> = (0..=MAX_AUDIENCES).map(|index| format!("urn:{index}")).collect();
    rejected("introspection_audiences", json!(many));
    let long: Vec<String> = (0..16)
        .map(|index| format!("urn:{index:02}{}", "x".repeat(495)))
        .collect();
    rejected("audiences", json!(long));
    let route = json!({"path": "/r", "scope": "x".repeat(MAX_SCOPE + 1)});
    assert_eq!(operator.post("/admin/routes", &route).status, 400);
    let route = json!({"path": "/r", "scope": "a", "audience": format!("urn:{}", "x".repeat(MAX_AUDIENCE - 3))});
    assert_eq!(operator.post("/admin/routes", &route).status, 400);
}

#[test]
fn a_body_limit_below_a_token_request_is_rejected() {
    let program = testkit::program!().with_database();
    for (size, code) in [(MAX_FORM, 0), (MAX_FORM - 1, 1), (MAX_BODY, 0), (MAX_BODY + 1, 1)] {
        program.write("mintage.toml", &format!("[server]\nmax_body = \"{size}B\"\n"));
        let checked = program.run(&["config", "check"]);
        assert_eq!(checked.code, Some(code), "{size}: {checked:?}");
        let names_the_bound = checked.stderr.contains("server.max_body must be from 32KiB");
        assert_eq!(names_the_bound, code == 1, "{checked:?}");
    }
}
