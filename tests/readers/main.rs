//! Real readers, unmodified. Readers of the metadata find the endpoints from the issuer alone, get a
//! token and verify it with the published keys; others are told the addresses.
//!
//! `scripts/test --soak` installs them and sets `MINTAGE_READERS` to their folder. They connect only
//! to the server that the test starts, and to a listener of their own, on loopback.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use testkit::token::{claims, token_request};
use testkit::{Program, Server, TestClient, port};

/// A reader whose threads outlive its error must not stop the tests.
const TIMEOUT_SECONDS: &str = "120";

/// The audience of the API, which need not be a URI, and that of another API.
const OURS: &str = "orders";
const OTHER: &str = "https://other.example";

/// A file of the folder in which `scripts/test --soak` installs the readers.
fn installed(name: &str) -> PathBuf {
    let folder = std::env::var_os("MINTAGE_READERS").expect("scripts/test --soak sets MINTAGE_READERS");
    Path::new(&folder).join(name)
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers").join(name)
}

/// A server with an issuer of this path.
fn serve(path: &str) -> (Program, String, Server) {
    let address = format!("127.0.0.1:{}", port::free());
    let issuer = format!("http://{address}{path}");
    let program = testkit::program!()
        .with_database()
        .without("MINTAGE_SERVER__LISTEN")
        .with("MINTAGE_SERVER__LISTEN", &address)
        .with("MINTAGE_SERVER__ISSUER", &issuer);
    let server = program.serve(&[]);
    (program, issuer, server)
}

/// Runs a reader with an issuer, a client of it, and what more it is told.
fn run(reader: &Command, issuer: &str, client: &TestClient, more: &[&str]) -> Output {
    let mut bounded = Command::new("timeout");
    bounded
        .arg(TIMEOUT_SECONDS)
        .arg(reader.get_program())
        .args(reader.get_args());
    bounded.args([issuer, &client.id, &client.secret]).args(more);
    bounded.output().expect("coreutils are installed")
}

#[track_caller]
fn assert_accepts(output: &Output, what: &str) {
    let out = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let is_valid = output.status.success() && out.ends_with("the token is valid\n");
    assert!(is_valid, "{what}\n{out}\n{errors}");
}

/// Runs a reader for an issuer with and without a path.
fn assert_finds_the_keys(reader: impl Fn() -> Command) {
    assert_finds_the_keys_with(&[], reader);
}

/// As [`assert_finds_the_keys`], with further arguments of `client create`. The reader is told the
/// port of the API that it plays, whose audience the client may name.
fn assert_finds_the_keys_with(more: &[&str], reader: impl Fn() -> Command) {
    for path in ["", "/oauth"] {
        let (program, issuer, _server) = serve(path);
        let port = port::free();
        let audience = format!("http://127.0.0.1:{port}/mcp");
        // With ES256, the default.
        let create = ["--name", "n", "--scope", "orders:read", "--audience", &audience];
        let client = program.create_client(&[&create, more].concat());
        let output = run(&reader(), &issuer, &client, &[&port.to_string()]);
        assert_accepts(&output, &format!("issuer with path {path:?}"));
    }
}

/// Runs a reader with a token for another audience: it shows `error`, which docs/faq.md names.
fn assert_rejects_another_audience(error: &str, reader: &Command) {
    assert_is_in_faq(error);
    let (program, issuer, server) = serve("");
    let client = program.create_client(&["--name", "n", "--scope", "orders:read", "--default-audience", OTHER]);
    let of_other = token_request(&client, &[]).send(server.address).access_token();
    let output = run(reader, &issuer, &client, &[&port::free().to_string(), &of_other]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains(error), "{output:?}");
}

fn assert_is_in_faq(error: &str) {
    let faq = include_str!("../../docs/faq.md");
    assert!(faq.contains(error), "docs/faq.md does not name {error:?}");
}

/// What a reader does for the token that it verifies.
enum Reader {
    /// It asks for one.
    Client,
    /// It is given one, and reads it.
    ResourceServer,
    /// It is given one, and introspects it as a client of its own.
    Introspecting,
}

/// Runs a reader for an issuer with and without a path. It accepts a token for its audience, and
/// rejects one for another audience with `error`, which docs/faq.md names.
fn assert_accepts_its_audience_only(kind: &Reader, error: &str, reader: impl Fn() -> Command) {
    assert_is_in_faq(error);
    for path in ["", "/oauth"] {
        let (program, issuer, server) = serve(path);
        let create = ["--name", "n", "--scope", "orders:read", "--default-audience", OURS];
        let client = program.create_client(&[&create[..], &["--audience", OTHER]].concat());
        let token = |parameters: &[(&str, &str)]| {
            let request = token_request(&client, parameters);
            request.send(server.address).access_token()
        };
        let asking = match kind {
            Reader::Introspecting => {
                program.create_client(&["--name", "api", "--scope", "", "--introspection-audience", OURS])
            }
            Reader::Client | Reader::ResourceServer => client.clone(),
        };
        let of_ours = token(&[]);
        let told = match kind {
            Reader::Client => vec![OURS],
            Reader::ResourceServer | Reader::Introspecting => vec![OURS, &of_ours],
        };
        assert_accepts(&run(&reader(), &issuer, &asking, &told), path);
        let of_other = token(&[("resource", OTHER)]);
        let output = run(&reader(), &issuer, &asking, &[OURS, &of_other]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(error), "{output:?}");
    }
}

/// A program of one file, with the packages of the folder of that name.
fn java(file: &str) -> Command {
    let packages = file.trim_end_matches(".java").to_lowercase();
    let mut command = Command::new("java");
    command.arg("-cp").arg(installed("java").join(packages).join("*"));
    command.arg(source("java").join(file));
    command
}

fn python(script: &str) -> Command {
    let mut command = Command::new(installed("python/bin/python"));
    command.arg(source("python").join(script));
    command
}

/// Node.js takes the packages from the folder of the script. Another test may be reading the same
/// copy, so it is replaced as a whole.
fn node(script: &str) -> Command {
    let folder = installed("node");
    let copy = folder.join(script);
    let fresh = tempfile::NamedTempFile::new_in(&folder).unwrap();
    std::fs::copy(source("node").join(script), fresh.path()).unwrap();
    fresh.persist(&copy).unwrap();
    let mut command = Command::new("node");
    command.arg(copy);
    command
}

#[test]
#[ignore = "needs openid-client, which scripts/test --soak installs"]
fn openid_client_finds_the_keys_by_either_document() {
    assert_finds_the_keys(|| node("openid_client.mjs"));
}

#[test]
#[ignore = "needs the MCP SDK for TypeScript, which scripts/test --soak installs"]
fn the_mcp_sdk_for_typescript_gets_a_token_for_a_server_that_names_the_issuer() {
    assert_finds_the_keys(|| node("mcp.mjs"));
}

#[test]
#[ignore = "needs the MCP SDK for Python, which scripts/test --soak installs"]
fn the_mcp_sdk_for_python_gets_a_token_for_a_server_that_names_the_issuer() {
    assert_finds_the_keys(|| python("mcp_client.py"));
}

#[test]
#[ignore = "needs Spring Security, which scripts/test --soak installs"]
fn spring_security_finds_the_endpoints_as_a_client_and_the_keys_as_a_resource_server() {
    assert_finds_the_keys(|| java("Spring.java"));
}

#[test]
#[ignore = "needs Spring Security, which scripts/test --soak installs"]
fn spring_security_with_an_issuer_uri_alone_accepts_tokens_of_type_jwt() {
    assert_finds_the_keys_with(&["--typ", "JWT"], || java("Spring.java"));
}

#[test]
#[ignore = "needs go-oidc, which scripts/test --soak installs"]
fn go_oidc_finds_the_keys() {
    assert_finds_the_keys(|| Command::new(installed("go/go_oidc")));
}

#[test]
#[ignore = "needs Nimbus, which scripts/test --soak installs"]
fn nimbus_accepts_a_token_for_its_audience_only() {
    let error = "JWT aud claim rejected";
    assert_accepts_its_audience_only(&Reader::ResourceServer, error, || java("Nimbus.java"));
}

#[test]
#[ignore = "needs Kafka's clients, which scripts/test --soak installs"]
fn kafka_logs_in_and_accepts_a_token_for_its_audience_only() {
    let error = "Audience (aud) claim [https://other.example] doesn't contain an acceptable identifier";
    assert_accepts_its_audience_only(&Reader::Client, error, || java("Kafka.java"));
}

#[test]
#[ignore = "needs Authlib, which scripts/test --soak installs"]
fn authlib_gets_a_token_and_accepts_it_for_its_audience_only() {
    let error = "Invalid claim: 'aud'";
    assert_accepts_its_audience_only(&Reader::Client, error, || python("authlib_reader.py"));
}

#[test]
#[ignore = "needs zitadel/oidc, which scripts/test --soak installs"]
fn zitadel_introspects_a_token_for_its_audience_only() {
    let error = "Active: false";
    assert_accepts_its_audience_only(&Reader::Introspecting, error, || Command::new(installed("go/zitadel")));
}

#[test]
#[ignore = "needs confluent-kafka, which scripts/test --soak installs"]
fn librdkafka_logs_in_to_a_broker_with_a_token() {
    for path in ["", "/oauth"] {
        let (program, issuer, _server) = serve(path);
        let client = program.create_client(&["--name", "n", "--scope", "orders:read", "--default-audience", OURS]);
        let output = run(&python("librdkafka.py"), &issuer, &client, &[]);
        let token = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(output.status.success(), "{output:?}");
        let claims = claims(token.trim());
        assert_eq!(
            (claims["client_id"].as_str(), claims["aud"].as_str()),
            (Some(client.id.as_str()), Some(OURS))
        );
    }
}

#[test]
#[ignore = "needs Spring Security, which scripts/test --soak installs"]
fn spring_security_rejects_a_token_for_another_audience() {
    assert_rejects_another_audience("The aud claim is not valid", &java("Spring.java"));
}

#[test]
#[ignore = "needs go-oidc, which scripts/test --soak installs"]
fn go_oidc_rejects_a_token_for_another_audience() {
    let error = r#"got ["https://other.example"]"#;
    assert_rejects_another_audience(error, &Command::new(installed("go/go_oidc")));
}

#[test]
#[ignore = "needs jose, which scripts/test --soak installs"]
fn jose_rejects_a_token_for_another_audience() {
    let error = r#"unexpected "aud" claim value"#;
    assert_rejects_another_audience(error, &node("openid_client.mjs"));
}
