//! Labels of clients, and the search by name and label: in the admin API and on the command line.

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::{Value, json};
use testkit::http::Request;
use testkit::token::claims;
use testkit::{Program, TestApp};

use crate::operator::{Operator, assert_bad_request, path_of};

const RULE: &str = "labels must be an object of at most 16 texts: keys of 1 to 63 letters, digits and . _ / -, each once, \
                    values of at most 256 characters without control characters, together at most 4000 bytes";

/// The ids on all pages of a list.
fn listed(operator: &Operator, path: &str) -> Vec<String> {
    let pages = operator.pages(path).concat();
    pages
        .iter()
        .map(|client| client["client_id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn labels_are_created_replaced_and_removed_and_audited() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let (client, created) = operator.create(json!({"labels": {"team": "x", "env": "prod"}}));
    assert_eq!(created["labels"], json!({"team": "x", "env": "prod"}));
    let path = path_of(&client);
    let patched = |labels: Value| operator.patch(&path, &json!({ "labels": labels })).json()["labels"].clone();
    assert_eq!(patched(json!({"team": "y"})), json!({"team": "y"}), "all are replaced");
    let changes = operator.document("/admin/audit?limit=1");
    let expected = json!({"before": {"team": "x", "env": "prod"}, "after": {"team": "y"}});
    assert_eq!(changes["items"][0]["detail"]["labels"], expected);
    let renamed = operator.patch(&path, &json!({"name": "Other"}));
    assert_eq!(renamed.json()["labels"], json!({"team": "y"}), "others stay");
    assert_eq!(operator.document(&path)["labels"], json!({"team": "y"}));
    assert_eq!(patched(Value::Null), json!({}));
    let (_, plain) = operator.create(json!({}));
    assert_eq!(plain["labels"], json!({}));
}

#[test]
fn a_declaration_has_all_labels_and_the_same_again_changes_nothing() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let path = "/admin/clients/declared";
    let declare = |labels: Value| {
        let answer = operator.put(path, &json!({"name": "n", "scope": "a", "labels": labels}));
        let tag = answer.header("etag").unwrap().to_owned();
        (answer.status, answer.json()["labels"].clone(), tag)
    };
    let (status, labels, first) = declare(json!({"team": "x", "env": "prod"}));
    assert_eq!((status, labels), (201, json!({"team": "x", "env": "prod"})));
    let (status, _, again) = declare(json!({"env": "prod", "team": "x"}));
    assert_eq!((status, again), (200, first.clone()));
    let (status, labels, changed) = declare(json!({"team": "y"}));
    assert_eq!((status, labels), (200, json!({"team": "y"})));
    assert_ne!(changed, first);
    let without = operator.put(path, &json!({"name": "n", "scope": "a"}));
    assert_eq!((without.status, &without.json()["labels"]), (200, &json!({})));
    assert_eq!(operator.document(path)["labels"], json!({}));
}

#[test]
fn an_import_that_updates_keeps_labels_that_the_file_does_not_have() {
    let program = testkit::program!().with_database();
    let import = |more: Value| -> [Value; 3] {
        let mut client = json!({
            "client_id": "orders", "grant_types": ["client_credentials"], "scope": "a",
            "client_secret": "IIykoV67FWfyBw84t1DEKcEKiUruGt89",
        });
        client
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        program.write("clients.json", &client.to_string());
        let report = program.run_json(&["client", "import", "clients.json", "--update"]);
        ["created", "updated", "unchanged"].map(|count| report[count].clone())
    };
    let counts = |created: u64, updated: u64, unchanged: u64| [created, updated, unchanged].map(Value::from);
    let owned = || json!({"owner": "anna", "metadata": {"team": "x", "limits": {"rate": 1}}});
    assert_eq!(import(owned()), counts(1, 0, 0));
    assert_eq!(shown(&program, "orders"), json!({"owner": "anna", "team": "x"}));
    assert_eq!(import(owned()), counts(0, 0, 1));
    assert_eq!(import(json!({})), counts(0, 0, 1));
    assert_eq!(shown(&program, "orders"), json!({"owner": "anna", "team": "x"}));
    assert_eq!(import(json!({"owner": "bert"})), counts(0, 1, 0));
    assert_eq!(shown(&program, "orders"), json!({"owner": "bert"}));
    let csv = |labels: &str| {
        let text = format!("client_id,scope,secret,labels\norders,a,IIykoV67FWfyBw84t1DEKcEKiUruGt89,{labels}\n");
        program.write("clients.csv", &text);
        program.run_json(&["client", "import", "clients.csv", "--update"]);
        shown(&program, "orders")
    };
    assert_eq!(csv("\"{\"\"env\"\":\"\"prod\"\"}\""), json!({"env": "prod"}));
    assert_eq!(csv(""), json!({}), "an empty field is the default again");
}

#[test]
fn malformed_labels_are_400_with_their_rule() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({"labels": {"team": "x"}}));
    for labels in [
        json!([]),
        json!("team=x"),
        json!({"a b": "x"}),
        json!({"": "x"}),
        json!({"a": 1}),
        json!({"a": null}),
        json!({"a": "\n"}),
    ] {
        assert_bad_request(&operator.patch(&path_of(&client), &json!({ "labels": labels })), RULE);
    }
    let twice = Request::new("PATCH", &path_of(&client)).body("application/json", r#"{"labels":{"a":"x","a":"y"}}"#);
    assert_bad_request(&operator.send(twice), RULE);
    assert_eq!(operator.document(&path_of(&client))["labels"], json!({"team": "x"}));
}

#[test]
fn no_token_and_no_metric_has_labels() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({"labels": {"team": "LabelOfAClient"}}));
    let token = app.issue(&client, &[]);
    assert!(!claims(&token).to_string().contains("LabelOfAClient"));
    let (plain, _) = operator.create(json!({}));
    let members = |token: &str| claims(token).as_object().unwrap().len();
    assert_eq!(members(&token), members(&app.issue(&plain, &[])));
    let reader = Operator::with_scope(&app, "mintage:read");
    let metrics = reader.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(!metrics.text().contains("LabelOfAClient"));
}

#[test]
fn clients_are_found_by_name_and_label_on_pages() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    for number in 0..9 {
        let team = if number % 3 == 0 { "x" } else { "y z" };
        let name = if number < 6 { "Billing RB" } else { "Orders" };
        let id = format!("c{number}");
        operator.create(json!({"client_id": id, "name": name, "labels": {"team": team, "n": number.to_string()}}));
    }
    assert_eq!(listed(&operator, "/admin/clients?name=rb&label=team=x"), ["c0", "c3"]);
    assert_eq!(
        listed(&operator, "/admin/clients?label=team%3Dx&limit=2"),
        ["c0", "c3", "c6"]
    );
    assert_eq!(
        listed(&operator, "/admin/clients?label=team=y+z&name=ORD&limit=1"),
        ["c7", "c8"]
    );
    assert_eq!(listed(&operator, "/admin/clients?label=team=x&label=n=6"), ["c6"]);
    assert_eq!(
        listed(&operator, "/admin/clients?label=n&name=orders"),
        ["c6", "c7", "c8"]
    );
    assert_eq!(listed(&operator, "/admin/clients?name=%25"), [""; 0]);
    assert!(
        listed(&operator, "/admin/clients?name=&label=").len() > 9,
        "empty parts are none"
    );
}

#[test]
fn a_cursor_of_a_search_fits_no_other_search() {
    let app = TestApp::start();
    let operator = Operator::of(&app);
    for id in ["a", "b"] {
        operator.create(json!({"client_id": id, "name": "Billing", "labels": {"team": "x"}}));
    }
    let first = operator.document("/admin/clients?name=bill&label=team&limit=1");
    let cursor = first["next_cursor"].as_str().unwrap();
    let next = |filter: &str| operator.get(&format!("/admin/clients?{filter}&cursor={cursor}"));
    assert_eq!(next("name=BILL&label=team").json()["items"][0]["client_id"], "b");
    for filter in [
        "name=bill",
        "label=team",
        "name=bill&label=team=",
        "name=billi&label=team",
        "limit=1",
    ] {
        assert_bad_request(&next(filter), "the cursor does not belong to this list");
    }
}

#[test]
fn a_malformed_search_is_400() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    for (query, detail) in [
        (
            "label=a+b=x",
            "label must be KEY=VALUE or KEY, of a label that a client can have",
        ),
        (
            "label=team:x",
            "label must be KEY=VALUE or KEY, of a label that a client can have",
        ),
        (
            "name=a%0A",
            "name must be 1 to 200 characters without control characters",
        ),
        ("name=a&name=b", "name is repeated"),
        ("nam=a", "`nam` is not a parameter here"),
        ("name=%zz", "name is not well encoded"),
        (&["label=a"; 9].join("&"), "label can be given at most 8 times"),
    ] {
        assert_bad_request(&operator.get(&format!("/admin/clients?{query}")), detail);
    }
    assert_bad_request(&operator.get("/admin/audit?name=a"), "`name` is not a parameter here");
    assert_bad_request(&operator.get("/admin/audit?label=a"), "`label` is not a parameter here");
}

fn shown(program: &Program, id: &str) -> Value {
    program.run_json(&["client", "show", id])["labels"].clone()
}

#[test]
fn labels_are_set_removed_and_searched_on_the_command_line() {
    let program = testkit::program!().with_database();
    let create = |id: &str, more: &[&str]| {
        let arguments = [&["--name", "Orders RB", "--id", id, "--scope", "a"], more].concat();
        program.create_client(&arguments);
    };
    create("one", &["--label", "team=x", "--label", "url=https://a.example/?q=1"]);
    create("two", &["--label", "team=y"]);
    create("three", &[]);
    assert_eq!(
        shown(&program, "one"),
        json!({"team": "x", "url": "https://a.example/?q=1"})
    );
    let update = [
        "client",
        "update",
        "one",
        "--label",
        "env=prod",
        "--label",
        "team=z",
        "--remove-label",
        "url",
    ];
    program.run(&update).done();
    assert_eq!(shown(&program, "one"), json!({"team": "z", "env": "prod"}));
    program.run(&["client", "update", "one", "--name", "Orders"]).done();
    assert_eq!(shown(&program, "one"), json!({"team": "z", "env": "prod"}));
    let text = program.run(&["client", "show", "one"]);
    assert!(
        text.done().contains("labels                  env=prod team=z"),
        "{text:?}"
    );
    let listed = |more: &[&str]| -> Vec<String> {
        let list = program.run_json(&[&["client", "list"], more].concat());
        let items = list["items"].as_array().unwrap();
        items
            .iter()
            .map(|client| client["client_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(listed(&["--name", "rb"]), ["three", "two"]);
    assert_eq!(listed(&["--label", "team"]), ["one", "two"]);
    assert_eq!(
        listed(&["--name", "ORDERS", "--label", "team=z", "--label", "env=prod"]),
        ["one"]
    );
    let none = program.run(&["client", "list", "--label", "team=none"]);
    assert_eq!(none.done(), "No client matches.\n");
    let audit = program.run(&["audit"]);
    assert!(
        audit.done().contains(r#""labels":{"after":{"env":"prod","team":"z"}"#),
        "{audit:?}"
    );
}

#[test]
fn malformed_label_arguments_are_usage_errors() {
    let program = testkit::program!().with_database();
    program.create_client(&["--name", "n", "--id", "one", "--scope", "a", "--label", "team=x"]);
    for (arguments, message) in [
        (&["update", "one", "--label", "team"][..], "--label must be KEY=VALUE"),
        (
            &["update", "one", "--label", "a b=x"],
            "--label must be an object of at most 16 texts",
        ),
        (
            &["update", "one", "--remove-label", "a=b"],
            "--remove-label must be a key",
        ),
        (
            &["update", "one", "--label", "a=b", "--remove-label", "a"],
            "--remove-label must name no key of --label",
        ),
        (&["list", "--label", "a:b"], "--label must be KEY=VALUE or KEY"),
        (&["list", "--name", ""], "--name must be 1 to 200 characters"),
    ] {
        let outcome = program.run(&[&["client"], arguments].concat());
        assert!(outcome.failed(2).contains(message), "{outcome:?}");
    }
    assert_eq!(shown(&program, "one"), json!({"team": "x"}));
}

#[test]
fn a_search_continues_beyond_the_clients_that_one_page_visits() {
    let program = testkit::program!().with_database();
    let many = "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 20000) \
                INSERT INTO clients (client_id, name, enabled, scope, audiences, serves, auth_methods, created_at_ms, \
                updated_at_ms) SELECT 'c' || value, 'Last', 1, 'a', '', '', '', 1, 1 FROM n";
    let path = program.database_path().display().to_string();
    let mut database = SqliteConnection::establish(&path).unwrap();
    database.batch_execute(many).unwrap();
    program.create_client(&["--name", "Last", "--id", "last", "--scope", "a", "--label", "team=x"]);
    let found = program.run_json(&["client", "list", "--label", "team=x", "--name", "last"]);
    assert_eq!(found["items"][0]["client_id"], "last");
    let serving = program.serve(&[]);
    let reader = serving.client("mintage:read", &[]);
    let token = serving.token(&reader, "mintage:read", &[]);
    let page = |query: &str| serving.send(&Request::get(query).bearer(&token)).json();
    let first = page("/admin/clients?label=team=x");
    assert_eq!(first["items"], json!([]));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = page(&format!("/admin/clients?label=team=x&cursor={cursor}"));
    assert_eq!(
        (&second["items"][0]["client_id"], &second["next_cursor"]),
        (&json!("last"), &Value::Null)
    );
}
