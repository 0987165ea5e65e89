//! The procedures in the section Emergencies of `docs/operations.md`, walked through with the real
//! binary. Each command must stand in its procedure, so document and test cannot part.

use std::collections::BTreeSet;
use std::time::Duration;

use mintage::config;
use mintage::db::{Db, signing_keys};
use mintage::keys::{Signer, SigningKey};
use mintage::oauth::alg::Alg;
use mintage::oauth::claims::AccessTokenClaims;
use serde_json::{Value, json};
use testkit::http::Request;
use testkit::poll::until;
use testkit::token::{about_token, claims, token_request};
use testkit::{Program, Server, TestClient};

/// A command is in effect on every instance within a second; a busy machine may take longer.
const EFFECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One procedure of the document.
struct Procedure {
    text: &'static str,
    program: Program,
}

impl Procedure {
    fn of(title: &str, program: &Program) -> Self {
        let document = include_str!("../../docs/operations.md");
        let (_, emergencies) = document.split_once("\n## Emergencies\n").unwrap();
        let emergencies = emergencies.split_once("\n## ").unwrap().0;
        let (_, rest) = emergencies.split_once(&format!("\n### {title}\n")).unwrap();
        Self {
            text: rest.split_once("\n### ").map_or(rest, |(procedure, _)| procedure),
            program: program.clone(),
        }
    }

    /// Runs a command of the procedure, with the placeholders replaced. Returns its output.
    #[track_caller]
    fn run(&self, documented: &str, with: &[(&str, &str)]) -> String {
        let stands_there = |line: &str| line.trim() == documented || line.contains(&format!("`{documented}`"));
        assert!(self.text.lines().any(stands_there), "{documented}");
        let words: Vec<&str> = documented
            .strip_prefix("mintage ")
            .unwrap()
            .split(' ')
            .map(|word| {
                with.iter()
                    .find(|(name, _)| *name == word)
                    .map_or(word, |(_, value)| *value)
            })
            .collect();
        let outcome = self.program.run(&words);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        outcome.stdout
    }
}

fn token(server: &Server, client: &TestClient, scope: &str) -> String {
    server.send(&token_request(client, &[("scope", scope)])).access_token()
}

/// The id of the oldest secret of a client.
fn secret_id(program: &Program, id: &str) -> String {
    let listed = program.run_json(&["client", "secret", "list", id]);
    listed["items"][0]["secret_id"].as_str().unwrap().to_owned()
}

/// A token with the claims of another one and a later end, signed by the thief of a database.
fn forged(database: &std::path::Path, token: &str) -> String {
    let stolen = config::Database {
        url: format!("sqlite:{}", database.display()),
        ..config::Database::default()
    };
    let stored = Db::open(&stolen)
        .run_here(|conn| signing_keys::list(conn, None))
        .unwrap();
    let key = stored.keys.iter().find(|key| key.alg == Alg::Hs256).unwrap();
    let key = SigningKey::from_stored(key, None).unwrap();
    let mut claims: AccessTokenClaims = serde_json::from_value(claims(token)).unwrap();
    claims.exp += 3600;
    Signer::new(&key).unwrap().sign(&claims).unwrap()
}

fn status(server: &Server, path: &str, token: &str) -> u16 {
    server.send(&Request::get(path).bearer(token)).status
}

#[test]
fn a_stolen_database_gives_no_access_after_its_procedure() {
    let program = testkit::program!().with_database();
    let procedure = Procedure::of("A stolen database", &program);
    let ops = program.client("mintage:admin", &[]);
    let shop = program.client("orders:read", &[]);
    let mut server = program.serve(&[]);
    let copy = program.run(&["audit"]).stdout;
    program.write("audit.jsonl", &copy);
    let admin = token(&server, &ops, "mintage:admin");
    server.stop();
    std::fs::copy(program.database_path(), program.path("stolen.db")).unwrap();
    let forged = forged(&program.path("stolen.db"), &admin);

    let server = program.serve(&[]);
    assert_eq!(status(&server, "/admin/clients", &forged), 200, "the thief rules");
    drop(server);
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let program = program.with("MINTAGE_KEYS__ENCRYPTION_KEY", key);
    let procedure = Procedure {
        program: program.clone(),
        ..procedure
    };
    let mut server = program.serve(&[]);
    procedure.run("mintage key rotate --immediately", &[]);
    until("the forged token is denied", EFFECT_TIMEOUT, || {
        status(&server, "/admin/clients", &forged) == 401
    });
    assert_eq!(
        server.send(&token_request(&shop, &[])).status,
        200,
        "generated secrets still work"
    );
    procedure.run("mintage client secret add ID", &[("ID", &shop.id)]);
    let old = secret_id(&program, &shop.id);
    procedure.run(
        "mintage client secret revoke ID SECRET_ID",
        &[("ID", &shop.id), ("SECRET_ID", &old)],
    );
    procedure.run("mintage audit verify --copy audit.jsonl", &[]);

    // A second theft finds no key that can be used.
    server.stop();
    let database = config::Database {
        url: format!("sqlite:{}", program.database_path().display()),
        ..config::Database::default()
    };
    let stored = Db::open(&database).run_here(|conn| signing_keys::list(conn, None));
    let usable = stored.map(|stored| {
        let usable = stored
            .keys
            .iter()
            .filter(|key| SigningKey::from_stored(key, None).is_ok());
        usable.count()
    });
    assert!(usable.as_ref().is_err() || usable == Ok(0), "{usable:?}");
}

#[test]
fn a_stolen_key_is_worthless_on_all_instances_after_its_procedure() {
    let program = testkit::program!().with_database();
    let procedure = Procedure::of("Replace a stolen key", &program);
    let shop = program.client("orders:read", &[]);
    let instances = [program.serve(&[]), program.serve(&[])];
    let forged = forged(&program.database_path(), &token(&instances[0], &shop, "orders:read"));
    let is_active = |server: &Server| {
        let introspection = server.send(&about_token("/introspect", &shop, &forged)).json();
        introspection["active"] == true
    };
    program.run(&["key", "rotate"]);
    for server in &instances {
        server.wait_for_change_feed();
        assert!(is_active(server), "a scheduled rotation does not help");
    }
    let kids = |server: &Server| -> BTreeSet<String> {
        let document = server.send(&Request::get("/.well-known/jwks.json")).json();
        let keys = document["keys"].as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let before = kids(&instances[0]);
    procedure.run("mintage key rotate --immediately", &[]);
    for server in &instances {
        until("the forged token is inactive", EFFECT_TIMEOUT, || !is_active(server));
        assert!(kids(server).is_disjoint(&before));
    }
    let printed = program.run(&["audit"]).stdout;
    let last: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["action"], &last["actor_kind"]),
        (&json!("key.rotate"), &json!("user"))
    );
}

#[test]
fn a_stolen_admin_secret_leaves_nothing_behind_after_its_procedure() {
    let program = testkit::program!().with_database();
    let procedure = Procedure::of("A stolen admin secret", &program);
    let ops = program.client("mintage:clients mintage:routes", &[]);
    let shop = program.client("orders:read", &[]);
    let server = program.serve(&[]);
    program.write("audit.jsonl", &program.run(&["audit"]).stdout);

    // The thief.
    let admin = token(&server, &ops, "mintage:clients mintage:routes");
    let post = |path: &str, document: Value| server.send(&Request::post(path).bearer(&admin).json(&document));
    let backdoor = TestClient::created(&post("/admin/clients", json!({"name": "n", "scope": "orders:read"})).json());
    let added = post(&format!("/admin/clients/{}/secrets", shop.id), json!({})).json();
    let shop_of_thief = shop.with_secret(added["client_secret"].as_str().unwrap());
    let route = post("/admin/routes", json!({"path": "/open", "scope": "orders:read"}));
    assert_eq!(route.status, 201);
    assert_eq!(post("/admin/keys/rotate", json!({})).status, 403);
    let thieves_tokens = [&backdoor, &shop_of_thief].map(|client| token(&server, client, "orders:read"));
    assert_eq!(server.validate("GET", "/open", &thieves_tokens[0]).status, 200);

    procedure.run("mintage client disable OPS", &[("OPS", &ops.id)]);
    until("the thief is out", EFFECT_TIMEOUT, || {
        status(&server, "/admin/clients", &admin) == 401
    });

    // From the audit log alone.
    until("the denied call is written", EFFECT_TIMEOUT, || {
        program.run(&["audit"]).stdout.contains("admin.denied")
    });
    assert!(
        procedure
            .text
            .contains("mintage audit | jq -c 'select(.actor == \"OPS\")'")
    );
    let printed = program.run(&["audit"]).stdout;
    let lines: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["actor"] == ops.id)
        .collect();
    let mut touched = BTreeSet::new();
    let mut actions = BTreeSet::new();
    for line in &lines {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (action, subject) = (text(&line["action"]), text(&line["subject"]));
        match action.as_str() {
            "client.create" => {
                procedure.run("mintage client delete ID", &[("ID", &subject)]);
            }
            "secret.add" => {
                let secret = text(&line["detail"]["secret_id"]);
                procedure.run(
                    "mintage client secret revoke ID SECRET_ID",
                    &[("ID", &subject), ("SECRET_ID", &secret)],
                );
                touched.insert(subject);
            }
            "route.add" => {
                procedure.run("mintage route remove ID", &[("ID", &subject)]);
            }
            _ => {}
        }
        assert_eq!(line["source"], "127.0.0.1", "{line}");
        actions.insert(action);
    }
    let expected = [
        "admin.denied",
        "client.create",
        "operator.sign_in",
        "route.add",
        "secret.add",
    ];
    assert_eq!(actions, expected.map(str::to_owned).into());
    for id in &touched {
        procedure.run("mintage client revoke-tokens ID", &[("ID", id)]);
    }
    let stolen_id = secret_id(&program, &ops.id);
    let printed = procedure.run("mintage client secret add OPS", &[("OPS", &ops.id)]);
    assert!(printed.contains("mtgcs"), "{printed}");
    procedure.run(
        "mintage client secret revoke OPS SECRET_ID",
        &[("OPS", &ops.id), ("SECRET_ID", &stolen_id)],
    );
    procedure.run("mintage client enable OPS", &[("OPS", &ops.id)]);
    procedure.run("mintage audit verify --copy audit.jsonl", &[]);

    // Nothing of the thief works.
    until("the changes are in effect", EFFECT_TIMEOUT, || {
        server.validate("GET", "/open", &thieves_tokens[0]).status != 200
    });
    server.wait_for_change_feed();
    for client in [&backdoor, &shop_of_thief, &ops] {
        assert_eq!(server.send(&token_request(client, &[])).status, 401, "{}", client.id);
    }
    for token in &thieves_tokens {
        let introspection = server.send(&about_token("/introspect", &shop, token)).json();
        assert_eq!(introspection["active"], false);
    }
    assert_eq!(status(&server, "/admin/clients", &admin), 403, "its secret has ended");
    assert_eq!(server.send(&token_request(&shop, &[])).status, 200);

    // The thief still tries.
    assert!(procedure.text.contains("`GET /admin/denials`"));
    let auditor = token(&server, &program.client("mintage:audit", &[]), "mintage:audit");
    let denials = server.send(&Request::get("/admin/denials").bearer(&auditor)).json();
    let of_ops: BTreeSet<&str> = denials["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["client_id"] == ops.id && item["client_ip"] == "127.0.0.1")
        .map(|item| item["reason"].as_str().unwrap())
        .collect();
    let expected = ["insufficient_scope", "invalid_token", "wrong_secret"];
    assert_eq!(of_ops, expected.into());
}

#[test]
fn a_stolen_client_secret_ends_with_its_tokens() {
    let program = testkit::program!().with_database();
    let procedure = Procedure::of("A stolen client secret", &program);
    let shop = program.client("orders:read", &[]);
    let server = program.serve(&[]);
    let stolen = token(&server, &shop, "orders:read");
    let old = secret_id(&program, &shop.id);
    let reader = token(&server, &program.client("mintage:read", &[]), "mintage:read");
    assert!(
        procedure
            .text
            .contains("GET /admin/tokens?client_id=ID&secret_id=SECRET_ID")
    );
    let path = format!("/admin/tokens?client_id={}&secret_id={old}", shop.id);
    until("the record is written", EFFECT_TIMEOUT, || {
        let page = server.send(&Request::get(&path).bearer(&reader)).json();
        let items = page["items"].as_array().unwrap();
        items.len() == 1 && items[0]["client_ip"] == "127.0.0.1" && items[0]["jti"] == claims(&stolen)["jti"]
    });
    let id = ("ID", shop.id.as_str());
    let printed = procedure.run("mintage client secret add ID", &[id]);
    let new = printed
        .split_whitespace()
        .find(|word| word.starts_with("mtgcs"))
        .unwrap();
    procedure.run("mintage client secret revoke ID SECRET_ID", &[id, ("SECRET_ID", &old)]);
    procedure.run("mintage client revoke-tokens ID", &[id]);
    let client = shop.with_secret(new);
    server.wait_for_change_feed();
    assert_eq!(server.send(&token_request(&client, &[])).status, 200);
    assert_eq!(server.send(&token_request(&shop, &[])).status, 401);
    let introspection = server.send(&about_token("/introspect", &client, &stolen)).json();
    assert_eq!(introspection["active"], false);
}
