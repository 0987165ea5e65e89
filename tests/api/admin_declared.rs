//! Clients that are declared: `PUT /admin/clients/{client_id}`, and secrets that the request gives.

use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::secret_hash::SecretHash;
use serde_json::{Value, json};
use testkit::app::Setup;
use testkit::http::{Request, Response};
use testkit::{Program, TestApp, TestClient};

use crate::introspection::is_active;
use crate::operator::{Operator, assert_bad_request, assert_no_content, escaped, path_of};

const CHOSEN: &str = "hunter2-hunter2-hunter2";

fn at(id: &str) -> String {
    format!("/admin/clients/{}", escaped(id))
}

fn shop() -> Value {
    json!({"name": "Shop", "scope": "orders:read"})
}

/// A document with more members.
fn with(mut document: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        document[name] = value.clone();
    }
    document
}

fn generated() -> String {
    ClientSecret::generate().reveal().to_owned()
}

fn digest(secret: &str) -> String {
    let stored = SecretHash::of(&ClientSecret::new(secret.to_owned())).to_stored();
    stored.strip_prefix("sha256:").unwrap().to_owned()
}

/// The audit events about a client, oldest first: action and detail.
fn events(operator: &Operator, id: &str) -> Vec<(String, Value)> {
    let lines = operator.document("/admin/audit?limit=500");
    let of_client = lines["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["subject"] == id);
    let event = |line: &Value| (line["action"].as_str().unwrap().to_owned(), line["detail"].clone());
    of_client.rev().map(event).collect()
}

fn actions(operator: &Operator, id: &str) -> Vec<String> {
    events(operator, id).into_iter().map(|(action, _)| action).collect()
}

fn put_if(operator: &Operator, id: &str, header: (&str, &str), document: &Value) -> Response {
    operator.send(Request::new("PUT", &at(id)).header(header.0, header.1).json(document))
}

#[test]
fn a_declaration_creates_a_client_and_the_same_again_changes_nothing() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let document = with(
        shop(),
        json!({"ttl_seconds": 90, "claims": {"tenant": "t1"}, "audiences": ["https://a.example"]}),
    );
    let created = operator.put(&at("declared one"), &document);
    assert_eq!(created.status, 201, "{}", created.text());
    created.assert_common_headers();
    assert_eq!(created.header("location"), Some("/admin/clients/declared%20one"));
    let client = TestClient::created(&created.json());
    assert!(client.secret.starts_with("mtgcs") && client.id == "declared one");
    app.issue(&client, &[]);
    for _ in 0..2 {
        let again = operator.put(&at("declared one"), &document);
        assert_eq!((again.status, again.header("etag")), (200, created.header("etag")));
        assert_eq!(again.header("location"), None);
        assert_eq!(again.json(), operator.document(&at("declared one")));
    }
    // A document that was read is a declaration as well.
    let read = operator.document(&at("declared one"));
    let again = operator.put(&at("declared one"), &read);
    assert_eq!((again.status, again.header("etag")), (200, created.header("etag")));
    assert_eq!(actions(&operator, "declared one"), ["client.create"]);
    app.issue(&client, &[]);
}

#[test]
fn members_that_a_declaration_leaves_out_get_their_defaults_and_secrets_stay() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let id = "declared-defaults";
    let document = with(
        shop(),
        json!({"ttl_seconds": 90, "default_scope": "", "auth_methods": ["client_secret_post"]}),
    );
    let created = operator.put(&at(id), &document);
    let client = TestClient::created(&created.json());
    let changed = operator.put(&at(id), &with(shop(), json!({"name": "Other"})));
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), created.header("etag"));
    let after = changed.json();
    assert_eq!(
        (&after["ttl_seconds"], &after["default_scope"], &after["auth_methods"]),
        (
            &Value::Null,
            &json!("orders:read"),
            &json!(["client_secret_basic", "client_secret_post"])
        )
    );
    assert_eq!(after["created_at"], created.json()["created_at"]);
    assert_eq!(app.ask(&client, &[]).json()["expires_in"], 3600);
    let events = events(&operator, id);
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[1].0, "client.update");
    assert_eq!(events[1].1["name"], json!({"before": "Shop", "after": "Other"}));
}

#[test]
fn a_declaration_leaves_a_disabled_client_disabled_and_revoked_tokens_revoked() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let id = "declared-disabled";
    let client = TestClient::created(&operator.put(&at(id), &shop()).json());
    let token = app.issue(&client, &[]);
    operator.patch(&at(id), &json!({"enabled": false}));
    let again = operator.put(&at(id), &with(shop(), json!({"name": "Other"})));
    assert_eq!((again.status, &again.json()["enabled"]), (200, &json!(false)));
    app.ask(&client, &[]).assert_invalid_client();
    assert_eq!(
        operator.put(&at(id), &with(shop(), json!({"enabled": true}))).status,
        200
    );
    assert!(is_active(&app, &client, &token));
    assert_no_content(&operator.delete(&at(id)));
    // A client with the id of a deleted one is a new client.
    let second = operator.put(&at(id), &shop());
    assert_eq!(second.status, 201);
    let second = TestClient::created(&second.json());
    assert!(!is_active(&app, &second, &token));
    app.ask(&client, &[]).assert_invalid_client();
}

#[test]
fn a_declaration_honors_its_preconditions() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let id = "declared-if";
    const STALE: &str = "If-Match does not name the current version of the client";
    const NOT_NEW: &str = "If-None-Match: * requires that the client does not exist";
    let failed = |answer: Response, detail: &str| answer.assert_problem(412, "Precondition Failed", detail, None);
    for tag in ["*", "\"1\""] {
        failed(put_if(&operator, id, ("If-Match", tag), &shop()), STALE);
    }
    assert_eq!(operator.get(&at(id)).status, 404);
    let created = put_if(&operator, id, ("If-None-Match", "*"), &shop());
    assert_eq!(created.status, 201);
    failed(put_if(&operator, id, ("If-None-Match", "*"), &shop()), NOT_NEW);
    failed(put_if(&operator, id, ("If-Match", "\"1\""), &shop()), STALE);
    let tag = created.header("etag").unwrap();
    assert_eq!(put_if(&operator, id, ("If-Match", tag), &shop()).status, 200);
    assert_eq!(
        put_if(&operator, id, ("If-Match", "*"), &with(shop(), json!({"name": "b"}))).status,
        200
    );
    failed(put_if(&operator, id, ("If-Match", tag), &shop()), STALE);
    assert_bad_request(
        &put_if(&operator, id, ("If-None-Match", tag), &shop()),
        "If-None-Match must be *",
    );
    assert_eq!(operator.document(&at(id))["name"], "b");
}

#[test]
fn a_malformed_declaration_is_400_and_creates_nothing() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let id = "declared-malformed";
    for (document, detail) in [
        (json!({"scope": "a"}), "name must be given"),
        (json!({"name": "a"}), "scope must be given"),
        (
            with(shop(), json!({"client_id": "other"})),
            "client_id must be left out: it never changes",
        ),
        (
            with(shop(), json!({"ttl_seconds": 0})),
            "ttl_seconds must be whole seconds from 1s to 30d",
        ),
    ] {
        assert_bad_request(&operator.put(&at(id), &document), detail);
    }
    assert_eq!(operator.get(&at(id)).status, 404);
    let too_long = operator.put(&at(&"x".repeat(129)), &shop());
    assert_bad_request(
        &too_long,
        "the client id in the path must be 1 to 128 printable ASCII characters",
    );
    assert_eq!(operator.put(&at("é"), &shop()).status, 400);
    let unknown = operator.put(&at(id), &with(shop(), json!({"labels_": {}})));
    assert_eq!(unknown.status, 400);
}

#[test]
fn only_an_operator_that_holds_a_duty_declares_its_client() {
    let app = TestApp::shared();
    let (all, clients) = (Operator::of(&app), Operator::with_scope(&app, "mintage:clients"));
    let reads = Operator::with_scope(&app, "mintage:read");
    let id = "declared-ops";
    let admin = json!({"name": "Ops", "scope": "mintage:admin"});
    assert_eq!(reads.put(&at(id), &shop()).status, 403);
    assert_eq!(clients.put(&at(id), &admin).status, 403);
    assert_eq!(clients.get(&at(id)).status, 404);
    assert_eq!(all.put(&at(id), &admin).status, 201);
    // Neither a change, nor the same again: a given secret would otherwise be tried without a limit.
    for document in [
        admin.clone(),
        shop(),
        with(admin.clone(), json!({"client_secret": generated()})),
    ] {
        assert_eq!(clients.put(&at(id), &document).status, 403, "{document}");
    }
    // Nor whether a secret is one of the client's, valid or expired.
    let secret = generated();
    let given = with(admin.clone(), json!({"client_secret": secret}));
    assert_eq!(all.put(&at(id), &given).status, 200);
    assert_eq!(clients.put(&at(id), &given).status, 403);
    let secrets = format!("{}/secrets", at(id));
    assert_eq!(all.post(&secrets, &json!({"others_expire_in_seconds": 0})).status, 201);
    assert_eq!(
        (all.put(&at(id), &given).status, clients.put(&at(id), &given).status),
        (409, 403)
    );
    assert_eq!(all.document(&at(id))["scope"], "mintage:admin");
    assert_eq!(clients.put(&at("declared-by-clients"), &shop()).status, 201);
}

#[test]
fn of_concurrent_equal_declarations_one_creates_the_client() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    for round in 0..5 {
        let id = format!("declared-race-{round}");
        let mut statuses: Vec<u16> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| operator.put(&at(&id), &shop()).status))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 200, 201]);
        assert_eq!(actions(&operator, &id), ["client.create"]);
    }
}

#[test]
fn a_given_secret_or_digest_authenticates_and_is_not_shown() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (text, hashed) = (generated(), generated());
    let documents = [
        ("given-text", &text, json!({"client_secret": text})),
        ("given-digest", &hashed, json!({"secret_sha256": digest(&hashed)})),
    ];
    for (id, secret, given) in documents {
        let posted = with(with(shop(), given.clone()), json!({"client_id": id}));
        let answers = [
            operator.post("/admin/clients", &posted),
            operator.put(&at(&format!("{id}-put")), &with(shop(), given)),
        ];
        for created in answers {
            assert_eq!(created.status, 201, "{}", created.text());
            let created = created.json();
            assert!(
                created.get("client_secret").is_none() && created["secret_id"].is_string(),
                "{created}"
            );
            app.issue(&TestClient::new(created["client_id"].as_str().unwrap(), secret), &[]);
        }
    }
    let more = generated();
    let secrets = format!("{}/secrets", at("given-text"));
    let added = operator.post(&secrets, &json!({"client_secret": more, "expires_in_seconds": 60}));
    assert_eq!(added.status, 201, "{}", added.text());
    assert!(added.json().get("client_secret").is_none(), "{}", added.text());
    app.issue(&TestClient::new("given-text", &more), &[]);
    let twice = operator.post(&secrets, &json!({"secret_sha256": digest(&more)}));
    twice.assert_problem(409, "Conflict", "the client has this secret already", None);
    let audit = operator.get("/admin/audit?limit=500").text();
    for secret in [&text, &hashed, &more] {
        assert!(!audit.contains(secret.as_str()) && !audit.contains(&digest(secret)));
    }
}

#[test]
fn a_declared_secret_is_added_once_beside_the_others() {
    let app = Setup::new().with_mock_clock().start();
    let operator = Operator::of(&app);
    let id = "declared-secret";
    let first = TestClient::created(&operator.put(&at(id), &shop()).json());
    let second = first.with_secret(&generated());
    let document = with(shop(), json!({"client_secret": second.secret}));
    for _ in 0..2 {
        let answer = operator.put(&at(id), &document);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(
        operator
            .put(&at(id), &with(shop(), json!({"secret_sha256": digest(&second.secret)})))
            .status,
        200
    );
    for client in [&first, &second] {
        app.issue(client, &[]);
    }
    assert_eq!(actions(&operator, id), ["client.create", "secret.add"]);
    // One that has expired does not come back.
    let rotation = json!({"others_expire_in_seconds": 0});
    assert_eq!(operator.post(&format!("{}/secrets", at(id)), &rotation).status, 201);
    const EXPIRED: &str = "the client has this secret, and it has expired: give another, or revoke it first";
    operator
        .put(&at(id), &document)
        .assert_problem(409, "Conflict", EXPIRED, None);
    app.ask(&second, &[]).assert_invalid_client();
    for _ in 0..7 {
        let document = with(shop(), json!({"client_secret": generated()}));
        assert_eq!(operator.put(&at(id), &document).status, 200);
    }
    let too_many = operator.put(
        &at(id),
        &with(shop(), json!({"client_secret": generated(), "name": "Other"})),
    );
    too_many.assert_problem(409, "Conflict", "at most 10 secrets per client", None);
    assert_eq!(operator.document(&at(id))["name"], "Shop");
}

#[test]
fn a_given_secret_that_could_be_guessed_is_400_and_not_repeated() {
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    let (client, _) = operator.create(json!({}));
    let secrets = format!("{}/secrets", path_of(&client));
    for given in [
        json!({"client_secret": CHOSEN}),
        json!({"client_secret": ""}),
        json!({"secret_sha256": CHOSEN}),
        json!({"secret_sha256": digest("")}),
        json!({"client_secret": generated(), "secret_sha256": digest("x")}),
    ] {
        let member = if given["secret_sha256"].is_null() {
            "client_secret"
        } else {
            "secret_sha256"
        };
        let document = with(shop(), given.clone());
        for answer in [
            operator.post("/admin/clients", &document),
            operator.put(&at("declared-guessed"), &document),
            operator.post(&secrets, &given),
        ] {
            assert_eq!(answer.status, 400, "{}", answer.text());
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with(&format!("{member} must be ")), "{detail}");
            assert!(!detail.contains(CHOSEN), "{detail}");
        }
    }
    assert_eq!(operator.get(&at("declared-guessed")).status, 404);
    assert_eq!(operator.document(&secrets)["items"].as_array().unwrap().len(), 1);
    assert!(!operator.get("/admin/audit?limit=500").text().contains(CHOSEN));
    // A change of members is no place for a secret.
    let changed = operator.patch(&path_of(&client), &json!({"client_secret": generated()}));
    assert_eq!(changed.status, 400);
}

/// A program, a secret of a generator and one that a person chose.
fn program() -> (Program, String) {
    let program = testkit::program!().with_database();
    let secret = generated();
    program.write("secret", &format!("{secret}\n"));
    program.write("digest", &format!("sha256:{}", digest(&secret)));
    program.write("chosen", CHOSEN);
    (program, secret)
}

/// The command that creates a client with the secret in a file.
fn create<'a>(id: &'a str, file: &'a str) -> [&'a str; 10] {
    [
        "client",
        "create",
        "--id",
        id,
        "--name",
        "n",
        "--scope",
        "a",
        "--secret-file",
        file,
    ]
}

#[test]
fn the_command_line_takes_a_secret_from_a_file_or_from_standard_input() {
    let (program, secret) = program();
    let shown = program.run(&create("by-file", "secret")).done().to_owned();
    assert!(!shown.contains("secret"), "{shown}");
    let shown = program
        .run(&[&create("by-digest", "digest")[..], &["--json"]].concat())
        .json();
    assert_eq!(shown, json!({"client_id": "by-digest", "scope": "a"}));
    let mut piped = program.command(&create("by-pipe", "-"));
    let piped = piped
        .stdin(std::fs::File::open(program.path("secret")).unwrap())
        .output()
        .unwrap();
    assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
    program
        .run(&["client", "create", "--id", "generated", "--name", "n", "--scope", "a"])
        .done();
    let add = |file| ["client", "secret", "add", "generated", "--secret-file", file];
    assert!(!program.run(&add("secret")).done().contains(&secret));
    assert!(
        program
            .run(&add("digest"))
            .failed(1)
            .contains("client generated has this secret already")
    );
    let serving = program.serve(&[]);
    for id in ["by-file", "by-digest", "by-pipe", "generated"] {
        let answer = testkit::token::token_request(&TestClient::new(id, &secret), &[]).send(serving.address);
        assert_eq!(answer.status, 200, "{id}: {}", answer.text());
    }
}

#[test]
fn a_secret_file_without_an_acceptable_secret_is_one_line_that_says_what_is_required() {
    let (program, _) = program();
    program.write("empty", "");
    program.write("short", "sha256:00");
    let new = |file| create("x", file);
    for (file, text) in [
        ("chosen", "what chosen has must be a generated secret"),
        ("empty", "what empty has must be a generated secret"),
        (
            "short",
            "what short has must be the SHA-256 digest of a random secret, 64 hexadecimal digits",
        ),
        ("missing", "--secret-file: missing cannot be read: "),
    ] {
        let outcome = program.run(&new(file));
        let error = outcome.failed(1);
        assert!(error.contains(text) && !error.contains(CHOSEN), "{error}");
    }
    program.run(&["client", "show", "x"]).failed(1);
}

#[test]
fn a_client_that_exists_is_created_only_once_and_the_error_names_the_commands_that_change_it() {
    let (program, _) = program();
    let new = ["client", "create", "--id", "x", "--name", "n", "--scope", "a"];
    program.run(&new).done();
    let outcome = program.run(&new);
    let error = outcome.failed(1);
    for hint in ["mintage client update", "mintage client import --update"] {
        assert!(error.contains(hint), "{error}");
    }
}
