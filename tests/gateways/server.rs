//! [`Server`]: the real binary with a database of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{Request, Response};

/// How long a server may take to become ready or to stop; the first one makes RSA keys.
const PATIENCE: Duration = Duration::from_secs(60);

/// The audience that the client `demo` may name.
pub const ORDERS: &str = "https://orders.example";

/// A running server. Dropped, it is killed.
pub struct Server {
    child: Child,
    directory: TempDir,
    environment: Vec<(&'static str, String)>,
    pub address: SocketAddr,
}

impl Server {
    /// With the defaults.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these variables in its environment.
    pub fn with(environment: &[(&'static str, &str)]) -> Self {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(directory.path().join("mintage.db"), template()).unwrap();
        Self::start_in(directory, environment)
    }

    fn start_in(directory: TempDir, environment: &[(&'static str, &str)]) -> Self {
        let mut all = vec![
            ("MINTAGE_SERVER__LISTEN", "127.0.0.1:0".to_owned()),
            ("MINTAGE_SERVER__WORKERS", "2".to_owned()),
        ];
        all.extend(environment.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let log = directory.path().join("stderr.log");
        let child = command(&directory, &all, &["serve"])
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self {
            child,
            directory,
            environment: all,
            address: ([127, 0, 0, 1], 0).into(),
        };
        eventually("it listens and is ready", || {
            let log = server.log();
            let (_, rest) = log.split_once("server listening url=http://")?;
            server.address = rest.split_once(' ')?.0.parse().ok()?;
            (Request::new("GET", "/readyz").send(server.address).status == 200).then_some(())
        });
        server
    }

    /// Where a browser finds it.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same of `server.admin_listen`.
    pub fn admin_origin(&self) -> String {
        let log = self.log();
        let (_, rest) = log.split_once("admin=http://").expect("it has a listener for admin");
        format!("http://{}", rest.split_whitespace().next().unwrap())
    }

    /// Stops its process without ending it: connections are accepted by the kernel, and nobody answers.
    pub fn pause(&mut self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// What Prometheus would read.
    pub fn metrics(&self) -> String {
        Request::new("GET", "/metrics").send(self.address).body
    }

    /// Fails to authenticate.
    pub fn wrong_secret(&self, client: &TestClient) {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret=wrong",
            client.id
        );
        let refused = Request::new("POST", "/token")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form)
            .send(self.address);
        assert!([401, 429].contains(&refused.status), "{refused:?}");
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("stderr.log")).unwrap()
    }

    /// Runs a command on its database: exit code, standard output, standard error.
    pub fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = command(&self.directory, &self.environment, arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// Runs a command that must succeed, with `--json`.
    #[track_caller]
    pub fn run_json(&self, arguments: &[&str]) -> Value {
        let (code, stdout, stderr) = self.run(&[arguments, &["--json"]].concat());
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        serde_json::from_str(&stdout).unwrap()
    }

    /// Makes a client that may have `scope`; more arguments of `client create` may follow.
    #[track_caller]
    pub fn client(&self, id: &str, scope: &str, more: &[&str]) -> TestClient {
        let all = [
            &["client", "create", "--name", "test", "--id", id, "--scope", scope],
            more,
        ]
        .concat();
        let made = self.run_json(&all);
        TestClient {
            id: id.to_owned(),
            secret: made["client_secret"].as_str().unwrap().to_owned(),
        }
    }

    /// Makes so many clients `service-…`, through the admin API: a command for each would take long.
    pub fn many_clients(&self, count: usize) {
        let maker = self.client("maker", "mintage:admin", &[]);
        let token = self.token(&maker, "mintage:admin", "");
        for number in 1..=count {
            let client = serde_json::json!({
                "client_id": format!("service-{number:03}"), "name": format!("Service {number:03}"), "scope": "orders:read",
            });
            let made = Request::new("POST", "/admin/clients").bearer(&token).json(&client);
            assert_eq!(made.send(self.address).status, 201);
        }
        assert_eq!(self.run(&["client", "delete", "maker"]).0, Some(0));
    }

    /// Makes a route for a method (`*`: any) and a path; its id.
    #[track_caller]
    pub fn route(&self, method: &str, path: &str, scope: &str, more: &[&str]) -> String {
        let mut all = vec!["route", "add", "--path", path, "--scope", scope];
        if method != "*" {
            all.extend(["--method", method]);
        }
        let made = self.run_json(&[&all, more].concat());
        made["id"].as_str().unwrap().to_owned()
    }

    /// A token with this scope; more parameters of the request may follow.
    #[track_caller]
    pub fn token(&self, client: &TestClient, scope: &str, more: &str) -> String {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}{more}",
            encode(&client.id),
            encode(&client.secret),
            encode(scope)
        );
        let response = Request::new("POST", "/token")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form)
            .send(self.address);
        assert_eq!(response.status, 200, "{response:?}");
        response.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// What `/validate` says of a request in the dialect of Traefik and Caddy.
    #[track_caller]
    pub fn validate(&self, method: &str, target: &str, token: &str) -> Response {
        forwarded(method, target).bearer(token).send(self.address)
    }

    /// Waits until a request is answered with this status: what another process wrote counts within a second.
    #[track_caller]
    pub fn validates_within_a_second(&self, method: &str, target: &str, token: &str, status: u16) {
        let began = Instant::now();
        eventually("the change counts", || {
            (self.validate(method, target, token).status == status).then_some(())
        });
        assert!(began.elapsed() < Duration::from_secs(1), "after {:?}", began.elapsed());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the log of the server:\n{}", self.log());
        }
    }
}

/// A client and its secret.
pub struct TestClient {
    pub id: String,
    pub secret: String,
}

/// A question in the dialect of Traefik and Caddy about a request to `api.example`.
pub fn forwarded(method: &str, target: &str) -> Request {
    Request::without_host("GET", "/validate")
        .header("Host", "mintage.internal")
        .header("X-Forwarded-Method", method)
        .header("X-Forwarded-Host", "api.example")
        .header("X-Forwarded-Uri", target)
}

fn command(directory: &TempDir, environment: &[(&'static str, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mintage"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MINTAGE_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(directory.path())
        .stdin(Stdio::null());
    command
}

/// A database that is migrated and has its keys, made once, because making RSA keys takes long.
fn template() -> &'static [u8] {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut server = Server::start_in(directory, &[]);
        let terminated = Command::new("kill").arg(server.child.id().to_string()).status();
        assert!(terminated.unwrap().success());
        assert!(server.child.wait().unwrap().success());
        std::fs::read(server.directory.path().join("mintage.db")).unwrap()
    })
}

/// Asks again and again until there is an answer.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
