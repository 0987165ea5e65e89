//! A malformed body of the admin API is answered with the member and what it must be, or with the
//! place where the JSON breaks. The members come from the OpenAPI document, so none is left out.

use serde_json::{Map, Value, json};
use testkit::TestApp;
use testkit::http::{Request, Response};

use crate::operator::{Operator, path_of};

/// An operation with a JSON body.
struct Operation {
    method: String,
    path: String,
    /// The schema of each member.
    members: Map<String, Value>,
    /// The members that the schema requires.
    required: Vec<String>,
    /// A body that is read: the required members, and those that are required in most cases.
    sample: Value,
    is_optional: bool,
}

impl Operation {
    /// Every operation of `/admin` with a body. `path` is that of a client.
    fn all(api: &Value, client_path: &str) -> Vec<Self> {
        let mut operations = Vec::new();
        for (path, item) in api["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if path.starts_with("/admin") && operation.get("requestBody").is_some() {
                    let path = path.replace("/admin/clients/{client_id}", client_path);
                    assert!(!path.contains('{'), "{path}: there is no such object here");
                    operations.push(Self::of(api, method, path, &operation["requestBody"]));
                }
            }
        }
        operations
    }

    fn of(api: &Value, method: &str, path: String, body: &Value) -> Self {
        let schema = resolved(api, &body["content"]["application/json"]["schema"]);
        let members = schema["properties"].as_object().unwrap().clone();
        let required = schema["required"].as_array().into_iter().flatten();
        let required: Vec<String> = required.map(|name| name.as_str().unwrap().to_owned()).collect();
        let mut sample = json!({});
        for (name, value) in [
            ("name", "x"),
            ("scope", "x"),
            ("path", "/x"),
            ("url", "/x"),
            ("method", "GET"),
        ] {
            if members.contains_key(name) {
                sample[name] = json!(value);
            }
        }
        assert!(required.iter().all(|name| sample.get(name).is_some()), "{required:?}");
        Self {
            method: method.to_uppercase(),
            path,
            members,
            required,
            sample,
            is_optional: body["required"] == json!(false),
        }
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn send(&self, operator: &Operator, body: &[u8]) -> Response {
        let request = Request::new(&self.method, &self.path);
        operator.send(request.body("application/json", body))
    }

    /// Sends the sample, with `value` for one member.
    fn send_with(&self, operator: &Operator, member: &str, value: &Value) -> Response {
        let mut body = self.sample.clone();
        body[member] = value.clone();
        self.send(operator, body.to_string().as_bytes())
    }
}

fn resolved(api: &Value, schema: &Value) -> Value {
    match schema["$ref"].as_str() {
        None => schema.clone(),
        Some(reference) => {
            let name = reference.rsplit('/').next().unwrap();
            api["components"]["schemas"][name].clone()
        }
    }
}

/// The types that a member may have.
fn types(api: &Value, schema: &Value) -> Vec<String> {
    let schema = resolved(api, schema);
    if let Some(alternatives) = schema["oneOf"].as_array() {
        return alternatives.iter().flat_map(|schema| types(api, schema)).collect();
    }
    match &schema["type"] {
        Value::Array(types) => types.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
        one => vec![one.as_str().expect("each member has a type").to_owned()],
    }
}

#[track_caller]
fn detail(answer: &Response, what: &str) -> String {
    assert_eq!(answer.status, 400, "{what}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    answer.json()["detail"].as_str().unwrap().to_owned()
}

fn words(text: &str) -> Vec<&str> {
    text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
        .collect()
}

#[test]
fn every_member_of_every_body_is_named_if_its_value_has_another_type() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let api = operator.document("/admin/openapi.json");
    let operations = Operation::all(&api, &path_of(&client));
    let mut members = 0;
    for operation in &operations {
        for (member, schema) in &operation.members {
            let allowed = types(&api, schema);
            members += 1;
            for (kind, value) in [
                ("string", json!("hunter2")),
                ("integer", json!(4711)),
                ("number", json!(4711.5)),
                ("boolean", json!(true)),
                ("array", json!([["hunter2"]])),
                ("object", json!({"hunter2": {"x": ["hunter2"]}})),
                ("null", Value::Null),
            ] {
                if allowed.iter().any(|allowed| allowed == kind) {
                    continue;
                }
                let what = format!("{} {member} {value}", operation.name());
                let detail = detail(&operation.send_with(&operator, member, &value), &what);
                assert!(words(&detail).contains(&member.as_str()), "{what}: {detail}");
                assert!(
                    !detail.contains("hunter2") && !detail.contains("4711"),
                    "{what}: {detail}"
                );
            }
            if allowed.iter().any(|allowed| allowed == "null") {
                let answer = operation.send_with(&operator, member, &Value::Null);
                let what = format!("{} {member} null", operation.name());
                match answer.status {
                    // What is asked for exists already.
                    200..=299 | 409 => {}
                    _ => assert!(words(&detail(&answer, &what)).contains(&member.as_str()), "{what}"),
                }
            }
        }
    }
    assert!(operations.len() >= 6 && members >= 39, "{} {members}", operations.len());
}

/// Values of the right type that most members do not allow.
fn odd_values(schema: &Value) -> Vec<Value> {
    let number = |name: &str, otherwise: i64| schema[name].as_i64().unwrap_or(otherwise);
    let long = usize::try_from(number("maxLength", 5_000)).unwrap() + 1;
    let odd = [
        String::new(),
        "\u{7}".into(),
        "é".into(),
        "/a b".into(),
        "x".repeat(long),
    ];
    let mut values: Vec<Value> = odd.iter().map(|text| json!(text)).collect();
    values.extend(odd.iter().map(|text| json!([text])));
    values.extend(odd.iter().map(|text| json!({text: text})));
    values.push(json!(vec!["x"; 200]));
    values.push(json!({"iss": "x"}));
    values.extend([number("minimum", 0) - 1, number("maximum", 1 << 40) + 1].map(|number| json!(number)));
    values.push(json!(u64::MAX));
    values
}

#[test]
fn every_member_is_named_if_its_value_is_not_allowed() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let api = operator.document("/admin/openapi.json");
    let mut rejected = 0;
    for operation in Operation::all(&api, &path_of(&client)) {
        for (member, schema) in &operation.members {
            for value in odd_values(&resolved(&api, schema)) {
                let answer = operation.send_with(&operator, member, &value);
                if (200..300).contains(&answer.status) || answer.status == 409 {
                    continue;
                }
                rejected += 1;
                let what = format!("{} {member} {value:.60}", operation.name());
                let detail = detail(&answer, &what);
                assert!(words(&detail).contains(&member.as_str()), "{what}: {detail}");
            }
        }
    }
    assert!(rejected > 300, "{rejected}");
}

#[test]
fn every_missing_unknown_and_repeated_member_is_named() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let api = operator.document("/admin/openapi.json");
    for operation in Operation::all(&api, &path_of(&client)) {
        let what = operation.name();
        let unknown = detail(&operation.send_with(&operator, "desc", &json!("hunter2")), &what);
        let known: Vec<&str> = operation.members.keys().map(String::as_str).collect();
        assert!(unknown.starts_with("`desc` is not a member"), "{what}: {unknown}");
        assert!(
            known.iter().all(|name| words(&unknown).contains(name)),
            "{what}: {unknown}"
        );
        for name in &operation.required {
            let mut body = operation.sample.clone();
            body.as_object_mut().unwrap().remove(name);
            let missing = detail(&operation.send(&operator, body.to_string().as_bytes()), &what);
            assert_eq!(missing, format!("{name} must be given"), "{what}");
        }
        let name = known[0];
        let twice = format!("{{\"{name}\":null,\"{name}\":null}}");
        let repeated = detail(&operation.send(&operator, twice.as_bytes()), &what);
        assert_eq!(repeated, format!("{name} is repeated"), "{what}");
    }
}

#[test]
fn every_body_that_is_no_json_object_is_answered_with_the_place() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let api = operator.document("/admin/openapi.json");
    for operation in Operation::all(&api, &path_of(&client)) {
        for (body, expected) in [
            (&b"{bad"[..], "the body is not JSON: it breaks at line 1, column 2"),
            (b"{\n \"a\" 1}", "the body is not JSON: it breaks at line 2, column 6"),
            (
                b"{\"a\": \"",
                "the body is not JSON: it ends too early, at line 1, column 7",
            ),
            (
                b"{\"a\": \"\xff\"}",
                "the body is not UTF-8: it breaks at line 1, column 8",
            ),
            (b"[{}]", "the body must be a JSON object"),
            (b" ", "the body is not JSON: it ends too early, at line 1, column 1"),
        ] {
            let what = format!("{} {}", operation.name(), String::from_utf8_lossy(body));
            assert_eq!(detail(&operation.send(&operator, body), &what), expected, "{what}");
        }
        if !operation.is_optional {
            let empty = detail(&operation.send(&operator, b""), &operation.name());
            assert_eq!(empty, "the body must be a JSON object, but it is empty");
        }
    }
}

#[test]
fn the_examples_of_the_documentation_are_what_the_server_answers() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let document = include_str!("../../docs/admin.md");
    let (_, table) = document.split_once("| body | `detail` |\n| --- | --- |\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 5, "{rows:?}");
    for row in rows {
        let cells: Vec<&str> = row
            .split(" | ")
            .map(|cell| cell.trim_matches(['|', '`', ' ']))
            .collect();
        let path = match cells[0].contains("path") {
            true => "/admin/routes",
            false => "/admin/clients",
        };
        let answer = operator.send(Request::post(path).body("application/json", cells[0]));
        // The first backtick of the name in the answer is trimmed with those of the cell.
        assert_eq!(detail(&answer, row).trim_start_matches('`'), cells[1], "{row}");
    }
}
