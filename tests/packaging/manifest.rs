//! `ops/kubernetes.yaml`: valid for every version of Kubernetes, and its container runs as shipped,
//! with the commands of its first lines.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use diesel::RunQueryDsl;
use serde_json::{Value, json};
use testkit::cluster::Cluster;
use testkit::http::Request;
use testkit::program::SERVER_TIMEOUT;
use testkit::token::token_request;
use testkit::{TestClient, poll, port};

use crate::pod::{Objects, Pod, object};
use crate::podman::{Container, Run};
use crate::python::{assert_valid, documents, of_kind};

const MANIFEST: &str = include_str!("../../ops/kubernetes.yaml");

/// 32 bytes in base64.
pub const ENCRYPTION_KEY: &str = "q0n3YjV7b2F4m1xQd6kPzT8uWcR5hLsEaJgB9yIoNvA=";
/// 32 bytes in hexadecimal.
pub const BOOTSTRAP_SECRET: &str = "5f2c91e07ab3d48c6610fe9d27b85a43c0e19d7462fb8a35ce07d1b4983f6ea2";

/// PostgreSQL with a certificate for the name `postgres`, of an authority of its own.
pub struct TlsCluster {
    pub cluster: Cluster,
    /// The certificate of the authority, in PEM.
    pub authority: String,
    /// The certificate of another authority of the same name.
    pub other_authority: String,
}

impl TlsCluster {
    pub fn start() -> Self {
        let cluster = Cluster::start();
        // The user of PostgreSQL reads the key here.
        let made = data_folder(&cluster);
        let script = r#"
            set -e
            authority() {
                openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=Test CA' \
                    -keyout "$1.key" -out "$1.crt"
            }
            authority ca && authority other
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=postgres -keyout server.key -out server.csr
            echo subjectAltName=DNS:postgres >server.ext
            openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.crt
            chmod 600 server.key && chown --reference=PG_VERSION server.key server.crt"#;
        let output = Command::new("sh")
            .args(["-c", script])
            .current_dir(&made)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        for setting in [
            "ssl_cert_file = 'server.crt'",
            "ssl_key_file = 'server.key'",
            "ssl = on",
        ] {
            cluster.sql(&format!("ALTER SYSTEM SET {setting}"));
        }
        cluster.sql("SELECT pg_reload_conf()");
        let read = |name: &str| std::fs::read_to_string(format!("{made}/{name}")).unwrap();
        let (authority, other_authority) = (read("ca.crt"), read("other.crt"));
        poll::until("PostgreSQL offers TLS", Duration::from_secs(10), || {
            cluster.number("SELECT count(*) FROM pg_settings WHERE name = 'ssl' AND setting = 'on'") == 1
        });
        Self {
            cluster,
            authority,
            other_authority,
        }
    }

    /// The URL of a database without clients, at the host name `postgres`, with the parameters of libpq
    /// of another URL.
    pub fn url(&self, like: &str) -> String {
        let parameters = like.split_once('?').map_or("", |(_, parameters)| parameters);
        let port = self.cluster.address().port();
        format!("postgres://postgres@postgres:{port}/empty?hostaddr=127.0.0.1&{parameters}")
    }
}

/// Where a cluster has its data.
pub fn data_folder(cluster: &Cluster) -> String {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        folder: String,
    }
    let query = diesel::sql_query("SELECT current_setting('data_directory') AS folder");
    query.get_result::<Row>(&mut cluster.connect()).unwrap().folder
}

/// Starts the container of a Deployment with [`on_free_ports`].
#[track_caller]
pub fn start(pod: &Pod) -> (Container, SocketAddr, SocketAddr) {
    let (run, listen, admin) = on_free_ports(pod.run.clone());
    (run.start(), listen, admin)
}

/// A server that listens on two free ports of loopback, instead of its own ports on all addresses.
pub fn on_free_ports(run: Run) -> (Run, SocketAddr, SocketAddr) {
    let [listen, admin] = [port::free(), port::free()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let run = run.env("MINTAGE_SERVER__LISTEN", &listen.to_string());
    let run = run.env("MINTAGE_SERVER__ADMIN_LISTEN", &admin.to_string());
    (run, listen, admin)
}

/// The probes of the Deployment pass in time.
#[track_caller]
pub fn assert_becomes_ready(deployment: &Value, listen: SocketAddr) {
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let ports = container["ports"].as_array().unwrap();
    for probe in ["livenessProbe", "readinessProbe"] {
        let get = &container[probe]["httpGet"];
        assert!(
            ports
                .iter()
                .any(|port| port["name"] == get["port"] && port["containerPort"] == 8080),
            "{get}"
        );
        let request = Request::get(get["path"].as_str().unwrap());
        poll::until(probe, SERVER_TIMEOUT, || {
            testkit::http::Connection::try_open(listen)
                .and_then(|mut connection| connection.try_ask(&request))
                .is_some_and(|response| response.status == 200)
        });
    }
}

/// `mintage config check` accepts the environment of the container as it is, and finds nothing weak but
/// plain HTTP of both listeners, which the proxy in front is for.
#[track_caller]
pub fn assert_config_check(run: &Run) {
    let (code, output) = config_check(run);
    assert_eq!(code, Some(0), "{output}");
    let weak: Vec<&str> = output.lines().filter(|line| line.contains("warning")).collect();
    let in_clear = "secrets and tokens cross the network in clear";
    assert!(
        weak.len() == 2 && weak.iter().all(|line| line.contains(in_clear)),
        "{output}"
    );
}

/// The exit code and the output of `mintage config check` in the container.
pub fn config_check(run: &Run) -> (Option<i32>, String) {
    let output = run.clone().arguments(&["config", "check"]).to_its_end();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// The operator gets a token of the server and may use the admin API, on the admin port only.
#[track_caller]
pub fn assert_has_operator(id: &str, secret: &str, listen: SocketAddr, admin: SocketAddr) {
    let request = token_request(&TestClient::new(id, secret), &[("scope", "mintage:admin")]);
    let token = request.send(listen).access_token();
    let list = |address| Request::get("/admin/clients").bearer(&token).send(address).status;
    assert_eq!((list(admin), list(listen)), (200, 404));
    assert_eq!(Request::get("/metrics").send(admin).status, 200);
}

/// The value of `--from-literal=KEY=` in the first lines of the manifest.
#[track_caller]
fn documented(key: &str) -> &'static str {
    let (_, rest) = MANIFEST
        .split_once(&format!("--from-literal={key}="))
        .unwrap_or_else(|| panic!("{key}"));
    let quote = &rest[..1];
    rest[1..].split(quote).next().unwrap()
}

/// What the commands in the first lines of the manifest create.
fn objects(database: &TlsCluster, authority: &str) -> Objects {
    assert_eq!(documented("encryption-key"), "$(openssl rand -base64 32)");
    assert_eq!(documented("bootstrap-secret"), "$(openssl rand -hex 32)");
    let url = database.url(documented("database-url"));
    let secret = [
        ("database-url", url.as_str()),
        ("encryption-key", ENCRYPTION_KEY),
        ("bootstrap-secret", BOOTSTRAP_SECRET),
    ];
    Objects::from([
        object("mintage", &secret),
        object("mintage-postgresql", &[("ca.crt", authority)]),
    ])
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q62_every_version_of_kubernetes_accepts_the_manifest() {
    assert_valid(&documents("ops/kubernetes.yaml"), 5);
}

#[test]
#[ignore = "scripts/test --packaging"]
fn the_manifest_runs_with_the_commands_of_its_first_lines() {
    let database = TlsCluster::start();
    let documents = documents("ops/kubernetes.yaml");
    let deployment = of_kind(&documents, "Deployment");
    let pod = Pod::of(deployment, &objects(&database, &database.authority));
    assert_config_check(&pod.run);
    let (container, listen, admin) = start(&pod);
    assert_becomes_ready(deployment, listen);
    assert_has_operator("ops", BOOTSTRAP_SECRET, listen, admin);
    assert_eq!(container.stop(), 0);
}

#[test]
#[ignore = "scripts/test --packaging"]
fn the_root_certificate_of_the_manifest_is_the_one_that_counts() {
    let database = TlsCluster::start();
    let documents = documents("ops/kubernetes.yaml");
    let pod = Pod::of(
        of_kind(&documents, "Deployment"),
        &objects(&database, &database.other_authority),
    );
    let (container, listen, _) = start(&pod);
    container.wait_for_log("certificate verify failed");
    if let Some(mut connection) = testkit::http::Connection::try_open(listen) {
        let status = connection
            .try_ask(&Request::get("/readyz"))
            .map(|response| response.status);
        assert!(status.is_none_or(|status| status == 503), "{status:?}");
    }
}

/// Two Services with the ports of the container, of which only the admin Service has the admin port.
#[test]
#[ignore = "scripts/test --packaging"]
fn the_admin_port_has_a_service_and_a_policy_of_its_own() {
    let documents = documents("ops/kubernetes.yaml");
    assert_admin_is_apart(&documents, &json!([{"port": 80, "targetPort": "http", "name": "http"}]));
}

#[track_caller]
pub fn assert_admin_is_apart(documents: &[Value], public_ports: &Value) {
    let services: Vec<&Value> = documents
        .iter()
        .filter(|document| document["kind"] == "Service")
        .collect();
    let [public, admin] = services[..] else {
        panic!("two services")
    };
    assert_eq!(&public["spec"]["ports"], public_ports);
    assert_eq!(admin["spec"]["ports"][0]["targetPort"], "admin");
    assert_eq!(admin["spec"]["ports"].as_array().unwrap().len(), 1);
    let template = &of_kind(documents, "Deployment")["spec"]["template"];
    let policy = of_kind(documents, "NetworkPolicy");
    for selector in [
        &public["spec"]["selector"],
        &admin["spec"]["selector"],
        &policy["spec"]["podSelector"]["matchLabels"],
        &of_kind(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        &of_kind(documents, "Deployment")["spec"]["selector"]["matchLabels"],
    ] {
        let labels = selector.as_object().unwrap();
        assert!(!labels.is_empty());
        for (label, value) in labels {
            assert_eq!(&template["metadata"]["labels"][label], value);
        }
    }
    for rule in policy["spec"]["ingress"].as_array().unwrap() {
        for port in rule["ports"].as_array().unwrap() {
            assert!(
                port["port"] == "http" || !rule["from"].is_null(),
                "everyone reaches {port}"
            );
        }
    }
}
