//! `examples/`: each client gets a token and calls an API that checks it. `scripts/test` installs the
//! languages.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::http::Request;
use testkit::token::{about_token, token_request};
use testkit::{Server, TestClient, eventually};

/// Generous, because the first `go run` compiles the standard library, and the machine may be busy
/// with other tests.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// One client and one API, started as `examples/README.md` describes.
struct Example {
    /// The program that runs it.
    needs: &'static str,
    /// The folder below `examples/`.
    folder: &'static str,
    api: &'static [&'static str],
    client: &'static [&'static str],
}

#[test]
fn the_python_client_is_served_by_the_python_api() {
    run(&Example {
        needs: "python3",
        folder: "python",
        api: &["python3", "api.py"],
        client: &["python3", "client.py"],
    });
}

#[test]
fn the_curl_client_is_served_by_the_python_api() {
    run(&Example {
        needs: "python3",
        folder: ".",
        api: &["python3", "python/api.py"],
        client: &["curl/client.sh"],
    });
}

#[test]
fn the_go_client_is_served_by_the_go_api() {
    run(&Example {
        needs: "go",
        folder: "go",
        api: &["go", "run", "./api"],
        client: &["go", "run", "./client"],
    });
}

#[test]
fn the_java_client_is_served_by_the_java_api() {
    run(&Example {
        needs: "java",
        folder: "java",
        api: &["java", "Api.java"],
        client: &["java", "Client.java"],
    });
}

#[test]
fn the_javascript_client_is_served_by_the_javascript_api() {
    run(&Example {
        needs: "node",
        folder: "javascript",
        api: &["node", "api.mjs"],
        client: &["node", "client.mjs"],
    });
}

fn run(example: &Example) {
    assert!(
        is_installed(example.needs),
        "{} not found: scripts/test installs it",
        example.needs
    );
    let issuer = "http://127.0.0.1:8080";
    let program = testkit::program!().with_database();
    let mintage = program.serve(&[]);
    let orders = mintage.client("orders:none", &["--introspection-audience", issuer]);
    let reader = mintage.client("orders:read", &[]);
    let other = mintage.client("invoices:read", &[]);
    let api = Api::start(example, &mintage, &orders);

    let mut client = command(example, example.client);
    let output = client
        .env("MINTAGE_URL", url(&mintage))
        .env("CLIENT_ID", &reader.id)
        .env("CLIENT_SECRET", &reader.secret)
        .env("API_URL", &api.url)
        .output()
        .unwrap();
    let line = format!("{{\"order\":\"1\",\"read_by\":\"{}\"}}\n", reader.id);
    // Members are in alphabetical order, because Go sorts the keys of maps.
    assert_eq!(String::from_utf8_lossy(&output.stdout), line.repeat(2), "{output:?}");
    assert!(output.status.success(), "{output:?}");

    let order = Request::get("/orders/1");
    let get = |request: &Request| {
        let response = request.send(api.address());
        (response.status, response.header("www-authenticate").map(str::to_owned))
    };
    let challenge = |text: &str| Some(text.to_owned());
    assert_eq!(get(&order), (401, challenge("Bearer")));
    let invalid = (401, challenge("Bearer error=\"invalid_token\""));
    assert_eq!(get(&order.clone().bearer("x")), invalid);
    let insufficient_scope = (
        403,
        challenge("Bearer error=\"insufficient_scope\", scope=\"orders:read\""),
    );
    assert_eq!(get(&order.clone().bearer(&token(&mintage, &other))), insufficient_scope);

    let token = token(&mintage, &reader);
    let with_token = order.bearer(&token);
    assert_eq!(get(&with_token).0, 200);
    let revocation = about_token("/revoke", &reader, &token);
    assert_eq!(mintage.send(&revocation).status, 200);
    assert_eq!(get(&with_token), invalid);

    drop(mintage);
    assert_eq!(get(&with_token).0, 503);
}

fn token(mintage: &Server, client: &TestClient) -> String {
    mintage.send(&token_request(client, &[])).access_token()
}

fn url(mintage: &Server) -> String {
    format!("http://{}", mintage.address)
}

/// A running API. When dropped, it is killed with its child processes.
struct Api {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Api {
    fn start(example: &Example, mintage: &Server, credentials: &TestClient) -> Self {
        use std::os::unix::process::CommandExt;
        let folder = testkit::folder::temporary();
        let stdout = folder.path().join("stdout");
        let process = command(example, example.api)
            .env("MINTAGE_URL", url(mintage))
            .env("API_CLIENT_ID", &credentials.id)
            .env("API_CLIENT_SECRET", &credentials.secret)
            .env("API_PORT", "0")
            .stdout(File::create(&stdout).unwrap())
            // `go run` starts the API as a child process.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut api = Self {
            process,
            url: String::new(),
            _folder: folder,
        };
        api.url = eventually("the API listens", START_TIMEOUT, || {
            let text = std::fs::read_to_string(&stdout).unwrap();
            let (_, rest) = text.split_once("listening on ")?;
            let (url, _) = rest.split_once('\n')?;
            Some(url.to_owned())
        });
        api
    }

    fn address(&self) -> std::net::SocketAddr {
        self.url.strip_prefix("http://").unwrap().parse().unwrap()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.process.wait();
    }
}

fn command(example: &Example, words: &[&str]) -> Command {
    let folder = examples().join(example.folder);
    // A path is relative to the folder; a plain name is looked up in `PATH`.
    let program = match words[0].contains('/') {
        true => folder.join(words[0]),
        false => PathBuf::from(words[0]),
    };
    let mut command = Command::new(program);
    command.args(&words[1..]).current_dir(folder).stdin(Stdio::null());
    command
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}
