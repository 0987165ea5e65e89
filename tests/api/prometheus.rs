//! The Prometheus configuration of `docs/metrics.md`, in a real Prometheus. It is Debian's package,
//! which `scripts/test` installs.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::http::Request;
use testkit::{Program, eventually, port};

const DOCUMENT: &str = include_str!("../../docs/metrics.md");

/// How long Prometheus may take to start and to scrape; it shares the machine with other tests.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running Prometheus, killed when the test ends.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    fn start(folder: &Path, configuration: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port::free()));
        std::fs::write(folder.join("prometheus.yml"), configuration).unwrap();
        let child = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("prometheus.log")).unwrap())
            .spawn()
            .expect("prometheus, which scripts/test installs");
        Self { child, address }
    }

    fn is_ready(&self) -> bool {
        let listens = std::net::TcpStream::connect(self.address).is_ok();
        listens && Request::get("/-/ready").send(self.address).status == 200
    }

    /// What it knows about the target of a job, once the job has been scraped.
    fn target(&self, job: &str) -> Option<Value> {
        let answer = Request::get("/api/v1/targets?state=active").send(self.address).json();
        let targets = answer["data"]["activeTargets"].as_array().unwrap();
        let target = targets.iter().find(|target| target["labels"]["job"] == job)?;
        (target["health"] != "unknown").then(|| target.clone())
    }

    /// The latest value of a metric of the documented job.
    fn value(&self, metric: &str) -> Option<String> {
        let path = format!("/api/v1/query?query={metric}%7Bjob%3D%22mintage%22%7D");
        let answer = Request::get(&path).send(self.address).json();
        Some(answer["data"]["result"][0]["value"][1].as_str()?.to_owned())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text between a fence and the next, of the section about Prometheus.
fn block(fence: &str) -> &'static str {
    let (_, section) = DOCUMENT.split_once("\n### Scrape with Prometheus\n").unwrap();
    let (_, rest) = section.split_once(&format!("\n```{fence}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// The documented configuration, for a server and a file with the secret of the client.
fn configuration(server: SocketAddr, secret: &Path) -> String {
    let mut text = block("yaml").to_owned();
    for (documented, here) in [
        ("https://tokens.example/token", format!("http://{server}/token")),
        ("\"tokens.example\"", format!("\"{server}\"")),
        ("scheme: https", "scheme: http".into()),
        ("/etc/prometheus/mintage-secret", secret.display().to_string()),
        ("scrape_interval: 15s", "scrape_interval: 1s".into()),
    ] {
        assert!(text.contains(documented), "{documented}");
        text = text.replace(documented, &here);
    }
    text
}

/// Creates the client with the documented command. Returns its secret.
fn create_client(program: &Program) -> String {
    let command = block("").trim();
    let arguments: Vec<&str> = command.strip_prefix("mintage ").unwrap().split(' ').collect();
    let created = program.run(&arguments);
    let line = created
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("client_secret "));
    line.unwrap_or_else(|| panic!("{created:?}")).trim().to_owned()
}

#[test]
fn the_documented_configuration_scrapes_a_server_whose_metrics_need_a_token() {
    let program = testkit::program!()
        .with_database()
        .with("MINTAGE_SERVER__OPEN_METRICS", "false");
    program.write("secret", &format!("{}\n", create_client(&program)));
    let server = program.serve(&[]);
    let documented = configuration(server.address, &program.path("secret"));
    let stranger = format!(
        "  - job_name: stranger\n    scrape_interval: 1s\n    static_configs:\n      - targets: [\"{}\"]\n",
        server.address
    );
    let prometheus = Prometheus::start(&program.path(""), &(documented + &stranger));
    eventually("Prometheus is ready", TIMEOUT, || prometheus.is_ready().then_some(()));
    let is = |job: &str, health: &str| {
        eventually(&format!("{job} is {health}"), TIMEOUT, || {
            prometheus.target(job).filter(|target| target["health"] == health)
        })
    };
    let down = is("stranger", "down");
    assert!(down["lastError"].to_string().contains("401"), "{down}");
    let up = is("mintage", "up");
    assert_eq!(up["lastError"], "");
    let ready = eventually("a sample is stored", TIMEOUT, || prometheus.value("mintage_ready"));
    assert_eq!(ready, "1");
    // As documented, it keeps using a token that the server no longer accepts.
    let revoked = program.run(&["client", "revoke-tokens", "prometheus"]);
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    let down = is("mintage", "down");
    assert!(down["lastError"].to_string().contains("401"), "{down}");
}
