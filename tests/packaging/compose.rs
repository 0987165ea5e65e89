//! `ops/compose.yaml`: compose reads it, and Mintage and Caddy run with what it says of them. The
//! images of the others cannot be had without a registry.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Child, Command};

use serde_json::Value;
use testkit::cluster::Cluster;
use testkit::program::SERVER_TIMEOUT;
use testkit::redis::Redis;
use testkit::{folder, poll, port};

use crate::installed;
use crate::manifest::{
    BOOTSTRAP_SECRET, ENCRYPTION_KEY, assert_config_check, assert_has_operator, data_folder, on_free_ports,
};
use crate::podman::Run;
use crate::python::documents;

fn compose() -> Value {
    documents("ops/compose.yaml").remove(0)
}

/// Caddy, which is stopped when it is dropped.
struct Caddy(Child);

impl Drop for Caddy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "scripts/test --packaging"]
fn podman_compose_reads_the_file() {
    let output = Command::new(installed("venv/bin/podman-compose"))
        .args(["--file", "ops/compose.yaml", "config"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("MINTAGE_HOST", "tokens.example")
        .output()
        .expect("scripts/test --packaging installs podman-compose");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("MINTAGE_SERVER__ISSUER: https://tokens.example"),
        "{text}"
    );
}

#[test]
#[ignore = "scripts/test --packaging"]
fn mintage_runs_with_the_environment_of_the_composition() {
    let (compose, cluster, redis, secrets) = (compose(), Cluster::start(), Redis::start(), folder::temporary());
    let service = &compose["services"]["mintage"];
    // What `read_only`, `cap_drop` and `security_opt` ask for is how the image runs in all tests.
    assert_eq!(service["read_only"], true);
    assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]));
    assert_eq!(service["security_opt"], serde_json::json!(["no-new-privileges:true"]));
    let values = [
        ("encryption-key", ENCRYPTION_KEY),
        ("bootstrap-secret", BOOTSTRAP_SECRET),
    ];
    for (name, value) in values {
        assert!(service["secrets"].as_array().unwrap().contains(&name.into()));
        let file = secrets.path().join(name);
        folder::write_private(&file, value.as_bytes());
        chown(&file, Some(65532), Some(65532)).unwrap();
    }
    // The folder of the socket, which the volume is.
    let sockets = data_folder(&cluster).replace("/data", "");
    fs::set_permissions(&sockets, Permissions::from_mode(0o755)).unwrap();
    cluster.sql("CREATE ROLE mintage LOGIN SUPERUSER");

    let mut run = Run::hardened()
        .mount(secrets.path(), "/run/secrets")
        .mount(sockets.as_ref(), "/run/postgresql");
    for (name, value) in service["environment"].as_object().unwrap() {
        run = run.env(
            name,
            &value
                .as_str()
                .unwrap()
                .replace("${MINTAGE_HOST:-localhost}", "tokens.example"),
        );
    }
    assert_config_check(&run);
    let url = service["environment"]["MINTAGE_DATABASE__URL"].as_str().unwrap();
    let url = format!("{url}&port={}", cluster.address().port());
    run = run
        .env("MINTAGE_DATABASE__URL", &url)
        .env("MINTAGE_REDIS__URL", &redis.url());
    let (run, listen, admin) = on_free_ports(run);
    let container = run.start();
    container.wait_until_healthy();
    assert_has_operator("ops", BOOTSTRAP_SECRET, listen, admin);
    assert_a_token_comes_through_caddy(&compose, listen);
    assert_eq!(container.stop(), 0);
}

/// Caddy with the configuration of the composition: on a free port, without a redirect from port 80, and
/// without a change to the certificates that this machine trusts.
fn assert_a_token_comes_through_caddy(compose: &Value, mintage: SocketAddr) {
    let (folder, port) = (folder::temporary(), port::free());
    let configured = compose["configs"]["caddyfile"]["content"].as_str().unwrap();
    let of_test = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n";
    let caddyfile = configured
        .replace("$$", "$")
        .replace("mintage:8080", &mintage.to_string());
    let path = folder.path().join("Caddyfile");
    fs::write(&path, format!("{of_test}{caddyfile}")).unwrap();
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&path);
    for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(name, folder.path());
    }
    command.env("MINTAGE_HOST", format!("localhost:{port}"));
    let _caddy = Caddy(command.spawn().expect("scripts/test installs caddy"));
    let authority = folder.path().join("caddy/pki/authorities/local/root.crt");
    poll::until("a token through Caddy", SERVER_TIMEOUT, || {
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--noproxy", "*", "--max-time", "5", "--cacert"])
            .arg(&authority)
            .args(["--user", &format!("ops:{BOOTSTRAP_SECRET}")])
            .args(["--data", "grant_type=client_credentials&scope=mintage:admin"])
            .arg(format!("https://localhost:{port}/token"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).contains("access_token")
    });
}

/// Only the proxy is believed about client IPs, and no one about requests: it passes /validate on.
#[test]
#[ignore = "scripts/test --packaging"]
fn the_proxy_of_the_composition_is_trusted_with_client_ips_only() {
    let compose = compose();
    let environment = &compose["services"]["mintage"]["environment"];
    let address = compose["services"]["proxy"]["networks"]["proxy"]["ipv4_address"]
        .as_str()
        .unwrap();
    assert_eq!(
        environment["MINTAGE_SERVER__CLIENT_IP_PROXIES"],
        format!("[\"{address}\"]")
    );
    assert_eq!(environment["MINTAGE_SERVER__TRUSTED_PROXIES"], Value::Null);
    // Otherwise one of them could get the address of the other.
    assert_eq!(
        compose["services"]["mintage"]["networks"]["proxy"]["ipv4_address"],
        "172.30.80.3"
    );
    assert_ne!(address, "172.30.80.3");
    // The admin port leaves the machine in no case.
    assert_eq!(
        compose["services"]["mintage"]["ports"],
        serde_json::json!(["127.0.0.1:8081:8081"])
    );
}
