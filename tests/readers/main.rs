//! Real readers of the metadata, unmodified: each finds the endpoints from the issuer alone, gets a
//! token and verifies it with the published keys.
//!
//! `scripts/test --soak` installs them and sets `MINTAGE_READERS` to their folder. They connect only
//! to the server that the test starts, and to a listener of their own, on loopback.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use testkit::{TestClient, port};

/// A file of the folder in which `scripts/test --soak` installs the readers.
fn installed(name: &str) -> PathBuf {
    let folder = std::env::var_os("MINTAGE_READERS").expect("scripts/test --soak sets MINTAGE_READERS");
    Path::new(&folder).join(name)
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers").join(name)
}

/// What a reader is told: an issuer, a client of it, and the port of the API that it plays, whose
/// audience the client may name.
struct Given {
    issuer: String,
    client: TestClient,
    port: u16,
}

impl Given {
    fn run(&self, mut reader: Command) -> Output {
        reader
            .args([
                &self.issuer,
                &self.client.id,
                &self.client.secret,
                &self.port.to_string(),
            ])
            .output()
            .expect("the reader is installed")
    }
}

/// Runs a reader for an issuer with and without a path.
fn assert_finds_the_keys(reader: impl Fn() -> Command) {
    assert_finds_the_keys_with(&[], reader);
}

/// As [`assert_finds_the_keys`], with further arguments of `client create`.
fn assert_finds_the_keys_with(more: &[&str], reader: impl Fn() -> Command) {
    for path in ["", "/oauth"] {
        let address = format!("127.0.0.1:{}", port::free());
        let issuer = format!("http://{address}{path}");
        let program = testkit::program!()
            .with_database()
            .without("MINTAGE_SERVER__LISTEN")
            .with("MINTAGE_SERVER__LISTEN", &address)
            .with("MINTAGE_SERVER__ISSUER", &issuer);
        let _server = program.serve(&[]);
        let port = port::free();
        let audience = format!("http://127.0.0.1:{port}/mcp");
        // With ES256, the default.
        let create = ["--name", "n", "--scope", "orders:read", "--audience", &audience];
        let client = program.create_client(&[&create, more].concat());
        let output = Given { issuer, client, port }.run(reader());
        let out = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let is_valid = output.status.success() && out.ends_with("the token is valid\n");
        assert!(is_valid, "issuer with path {path:?}\n{out}\n{errors}");
    }
}

fn spring() -> Command {
    let mut command = Command::new("java");
    command
        .arg("-cp")
        .arg(installed("java/*"))
        .arg(source("java/Reader.java"));
    command
}

/// Node.js takes the packages from the folder of the script.
fn node(script: &str) -> Command {
    let copy = installed("node").join(script);
    std::fs::copy(source("node").join(script), &copy).unwrap();
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
    assert_finds_the_keys(|| {
        let mut command = Command::new(installed("python/bin/python"));
        command.arg(source("python/mcp_client.py"));
        command
    });
}

#[test]
#[ignore = "needs Spring Security, which scripts/test --soak installs"]
fn spring_security_finds_the_endpoints_as_a_client_and_the_keys_as_a_resource_server() {
    assert_finds_the_keys(spring);
}

#[test]
#[ignore = "needs Spring Security, which scripts/test --soak installs"]
fn spring_security_with_an_issuer_uri_alone_accepts_tokens_of_type_jwt() {
    assert_finds_the_keys_with(&["--typ", "JWT"], spring);
}

#[test]
#[ignore = "needs go-oidc, which scripts/test --soak installs"]
fn go_oidc_finds_the_keys() {
    assert_finds_the_keys(|| Command::new(installed("go-oidc")));
}
