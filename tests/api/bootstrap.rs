//! The first operator comes from the configuration, where no one has a shell.

use serde_json::{Value, json};
use testkit::http::Request;
use testkit::token::token_request;
use testkit::{Program, Server, TestClient, postgres};

const ID: &str = "MINTAGE_BOOTSTRAP__CLIENT_ID";
const SECRET: &str = "MINTAGE_BOOTSTRAP__CLIENT_SECRET";
const SECRET_FILE: &str = "MINTAGE_BOOTSTRAP__CLIENT_SECRET_FILE";
/// As `openssl rand -hex 32` prints it.
const RANDOM: &str = "3f9c1e7ab0d45c2286e1f7739ad05b4e61c8d2f05a97be341c6d80f2e9b7a453";
const NOT_REPLACED: &str = "bootstrap secret not replaced";

fn token(server: &Server, secret: &str) -> String {
    let client = TestClient::new("first", secret);
    server
        .send(&token_request(&client, &[("scope", "mintage:admin")]))
        .access_token()
}

#[track_caller]
fn document(server: &Server, token: &str, request: Request) -> Value {
    let answer = server.send(&request.bearer(token));
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    answer.json()
}

/// A program with the secret in a file that ends with a newline.
fn bootstrapped(program: Program) -> Program {
    let path = program.path("bootstrap-secret");
    program.write("bootstrap-secret", &format!("{RANDOM}\n"));
    program.with(ID, "first").with(SECRET_FILE, path.to_str().unwrap())
}

fn a_new_deployment_has_its_first_operator(program: Program) {
    let program = bootstrapped(program);
    let mut server = program.serve(&[]);
    let admin = token(&server, RANDOM);
    let created = document(&server, &admin, Request::get("/admin/clients/first"));
    assert_eq!(
        (&created["scope"], &created["enabled"]),
        (&json!("mintage:admin"), &json!(true))
    );
    let log = server.log();
    assert!(log.contains("bootstrap client created client=first"), "{log}");
    assert!(log.contains(&format!("{NOT_REPLACED} client=first")), "{log}");
    let audit = document(&server, &admin, Request::get("/admin/audit"));
    let items = audit["items"].as_array().unwrap();
    let event = items.iter().find(|event| event["action"] == "client.create").unwrap();
    assert_eq!(
        (
            &event["actor"],
            &event["actor_kind"],
            &event["source"],
            &event["subject"]
        ),
        (
            &json!("mintage"),
            &json!("server"),
            &json!("bootstrap.client_id"),
            &json!("first")
        )
    );
    server.stop();
    // The next start reports it, and changes nothing.
    let mut server = program.serve(&[]);
    let log = server.log();
    assert!(
        log.contains(NOT_REPLACED) && !log.contains("bootstrap client created"),
        "{log}"
    );
    let admin = token(&server, RANDOM);
    assert_eq!(document(&server, &admin, Request::get("/admin/clients/first")), created);
    let secrets = Request::post("/admin/clients/first/secrets").json(&json!({"others_expire_in_seconds": 0}));
    let replaced = document(&server, &admin, secrets);
    server.stop();
    let server = program.serve(&[]);
    assert!(!server.log().contains("bootstrap"), "{}", server.log());
    let wrong = server.send(&token_request(
        &TestClient::new("first", RANDOM),
        &[("scope", "mintage:admin")],
    ));
    assert_eq!(wrong.status, 401);
    token(&server, replaced["client_secret"].as_str().unwrap());
    assert!(!program.logs().contains(RANDOM));
}

#[test]
fn a_new_deployment_on_sqlite_has_its_first_operator() {
    a_new_deployment_has_its_first_operator(testkit::program!());
}

#[test]
fn a_new_deployment_on_postgresql_has_its_first_operator() {
    a_new_deployment_has_its_first_operator(testkit::program!().on(&postgres::empty().url, &[]));
}

#[test]
fn instances_that_start_together_on_a_new_database_have_one_first_operator() {
    let program = bootstrapped(testkit::program!().on(&postgres::empty().url, &[]));
    let mut servers = [(); 3].map(|()| program.spawn(&[], &[]));
    for server in &mut servers {
        server.wait_until_it_listens().expect("it listens");
    }
    for server in &servers {
        server.wait_until_ready();
        token(server, RANDOM);
    }
    assert_eq!(program.logs().matches("bootstrap client created").count(), 1);
    assert_eq!(
        program.run_json(&["client", "list"])["items"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn where_there_is_an_operator_none_is_created() {
    let program = bootstrapped(testkit::program!().with_database());
    program.create_client(&["--name", "Ops", "--scope", "mintage:admin"]);
    let server = program.serve(&[]);
    assert!(!server.log().contains("bootstrap"), "{}", server.log());
    assert_eq!(
        program.run_json(&["client", "list"])["items"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn a_client_with_the_id_is_not_made_an_operator() {
    let program = bootstrapped(testkit::program!().with_database());
    program.create_client(&["--name", "Shop", "--scope", "orders", "--id", "first"]);
    let before = program.run_json(&["client", "show", "first"]);
    let server = program.serve(&[]);
    assert!(
        server.log().contains("bootstrap client not created client=first"),
        "{}",
        server.log()
    );
    assert_eq!(program.run_json(&["client", "show", "first"]), before);
}

#[test]
fn g8_a_bootstrap_secret_that_looks_chosen_ends_the_start_with_one_line() {
    let program = testkit::program!().with(ID, "first");
    const RULE: &str = "bootstrap.client_secret must be random: generate one with `openssl rand -hex 32`";
    for chosen in [
        "hunter2",
        "MyCompanyOrdersServiceProduction2024",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let outcome = program.clone().with(SECRET, chosen).run(&["serve"]);
        assert_eq!(outcome.failed(1), format!("mintage: {RULE} ({SECRET})"));
        assert!(!program.database_path().exists());
    }
    let alone = program.run(&["serve"]);
    let expected =
        format!("mintage: bootstrap.client_id must come with bootstrap.client_secret: set both, or neither ({ID})");
    assert_eq!(alone.failed(1), expected);
}

#[test]
fn g8_the_bootstrap_secret_is_not_printed() {
    let program = bootstrapped(testkit::program!());
    let shown = program.run(&["config", "show"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("client_secret = \"***\""), "{}", shown.stdout);
    assert!(!format!("{shown:?}").contains(RANDOM));
}
