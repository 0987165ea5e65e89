//! The image as `scripts/package-image` makes it, run by podman as [`Run::hardened`] says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::cluster::Cluster;
use testkit::http::Request;
use testkit::load::{Load, received};
use testkit::{TestClient, poll, port};

use crate::pod::{Objects, Pod, object};
use crate::podman::{Container, Image, Run, archive, files_of_build, package};
use crate::source;

/// A status line of a process on this machine, such as `Uid`.
fn status(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A client, made by the command in the container, as the documentation has it.
#[track_caller]
fn client_of(container: &Container) -> TestClient {
    let create = [
        "client",
        "create",
        "--name",
        "n",
        "--alg",
        "HS256",
        "--scope",
        "orders:read",
        "--json",
    ];
    let output = container.exec(&create);
    assert!(output.status.success(), "{output:?}");
    TestClient::created(&serde_json::from_slice::<Value>(&output.stdout).unwrap())
}

/// 32 bytes in base64.
const ENCRYPTION_KEY: &str = "q0n3YjV7b2F4m1xQd6kPzT8uWcR5hLsEaJgB9yIoNvA=";

/// A server on loopback whose URL of the database and encryption key are in a Secret, mounted as in
/// Kubernetes.
fn with_secret(cluster: &Cluster, port: u16) -> Pod {
    let url = cluster.url(cluster.address(), "mintage");
    let secret = [("database-url", url.as_str()), ("encryption-key", ENCRYPTION_KEY)];
    let deployment = json!({"spec": {"template": {"spec": {
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            // And the user of the image.
            "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}
        },
        "containers": [{
            "args": ["serve"],
            "env": [
                {"name": "MINTAGE_SERVER__LISTEN", "value": format!("127.0.0.1:{port}")},
                {"name": "MINTAGE_DATABASE__URL_FILE", "value": "/run/secrets/mintage/database-url"},
                {"name": "MINTAGE_KEYS__ENCRYPTION_KEY_FILE", "value": "/run/secrets/mintage/encryption-key"},
            ],
            "securityContext": {
                "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}
            },
            "volumeMounts": [{"name": "secrets", "mountPath": "/run/secrets/mintage", "readOnly": true}],
        }],
        "volumes": [{"name": "secrets", "secret": {"secretName": "mintage", "defaultMode": 0o440}}],
    }}}});
    Pod::of(&deployment, &Objects::from([object("mintage", &secret)]))
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q61_the_image_runs_unprivileged_and_stops_without_losing_a_record() {
    let (cluster, port) = (Cluster::start(), port::free());
    let pod = with_secret(&cluster, port);
    let container = pod.run.start();
    container.wait_until_healthy();

    let pid = container.pid();
    assert_eq!(status(pid, "Uid"), "65532 65532 65532 65532");
    assert_eq!(status(pid, "Gid"), "65532 65532 65532 65532");
    for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(pid, capabilities), "0000000000000000", "{capabilities}");
    }
    assert_eq!(status(pid, "NoNewPrivs"), "1");
    let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(
        root.split(' ').nth(3).unwrap().split(',').any(|option| option == "ro"),
        "{root}"
    );

    let client = client_of(&container);
    let load = Load::start(([127, 0, 0, 1], port).into(), &[client], 4, Duration::from_millis(2));
    poll::until("200 tokens", Duration::from_secs(60), || load.issued() >= 200);
    let code = container.stop();
    let receipts = load.stop();
    assert_eq!(code, 0, "{}", container.log());
    let (mut received, recorded) = (received(&receipts), cluster.recorded());
    received.sort();
    assert!(received.len() >= 200);
    assert!(
        received.iter().all(|jti| recorded.binary_search(jti).is_ok()),
        "a record was lost"
    );
    // The key of the Secret was read: no key is in clear any more.
    assert!(container.log().contains("signing key encrypted"));
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q61_the_health_check_fails_while_the_database_is_away() {
    let (cluster, port) = (Cluster::start(), port::free());
    let pod = with_secret(&cluster, port);
    let container = pod.run.start();
    container.wait_until_healthy();
    cluster.stop();
    poll::until("the container is unhealthy", Duration::from_secs(30), || {
        !container.is_healthy()
    });
    // It serves its known clients meanwhile, and is not restarted for that.
    assert_eq!(Request::get("/livez").send(([127, 0, 0, 1], port).into()).status, 200);
    cluster.start_again();
    container.wait_until_healthy();
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q61_the_image_keeps_a_sqlite_database_in_its_volume() {
    let listen = format!("127.0.0.1:{}", port::free());
    let container = Run::hardened().env("MINTAGE_SERVER__LISTEN", &listen).start();
    container.wait_until_healthy();
    client_of(&container);
    let volume = container.field("{{range .Mounts}}{{.Destination}} {{.Source}}{{end}}");
    let folder = volume.strip_prefix("/var/lib/mintage ").unwrap();
    assert!(fs::metadata(format!("{folder}/mintage.db")).unwrap().len() > 0);
    assert_eq!(container.stop(), 0);
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q61_the_image_has_labels_and_a_health_check() {
    let config = Image::get().inspect();
    assert_eq!(config["Config"]["User"], "65532:65532");
    assert_eq!(
        config["Healthcheck"]["Test"],
        json!(["CMD", "/usr/local/bin/mintage", "health"])
    );
    let labels = &config["Labels"];
    assert_eq!(labels["org.opencontainers.image.title"], "mintage");
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(labels["org.opencontainers.image.licenses"], env!("CARGO_PKG_LICENSE"));
    assert_eq!(labels["org.opencontainers.image.revision"], "0123456789ab");
}

#[test]
#[ignore = "scripts/test --packaging"]
fn two_images_of_one_binary_are_the_same_bytes() {
    let again = testkit::folder::temporary();
    let output = package(again.path());
    assert!(output.status.success(), "{output:?}");
    let read = |dist: &Path| fs::read(archive(dist, ".oci.tar")).unwrap();
    assert!(read(again.path()) == read(&Image::get().dist));
}

#[test]
#[ignore = "scripts/test --packaging"]
fn the_oci_archive_can_be_copied_to_a_registry() {
    let output = Command::new("skopeo")
        .arg("inspect")
        .arg(format!(
            "oci-archive:{}",
            archive(&Image::get().dist, ".oci.tar").display()
        ))
        .output()
        .expect("scripts/test --packaging installs skopeo");
    assert!(output.status.success(), "{output:?}");
    let image: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(image["Labels"]["org.opencontainers.image.title"], "mintage");
    assert_eq!(image["Os"], "linux");
}

/// What the Dockerfile copies into its first stage: the sources of each COPY.
fn copied() -> Vec<String> {
    let dockerfile = fs::read_to_string(source("ops/Dockerfile")).unwrap();
    let lines = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY "));
    lines
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| {
            let mut names: Vec<String> = line.split(' ').map(str::to_owned).collect();
            names.pop();
            names
        })
        .collect()
}

/// No test compiles them as the image does, which takes a registry.
#[test]
#[ignore = "scripts/test --packaging"]
fn cargo_finds_a_whole_workspace_in_what_the_image_copies() {
    let folder = testkit::folder::temporary();
    for name in copied() {
        let to = folder.path().join(&name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let status = Command::new("cp").arg("-r").arg(source(&name)).arg(to).status();
        assert!(status.unwrap().success(), "{name}");
    }
    let output = Command::new("cargo")
        .args([
            "metadata",
            "--locked",
            "--offline",
            "--no-deps",
            "--format-version",
            "1",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The files that a build gets, of a folder that has everything that a working copy can have.
#[test]
#[ignore = "scripts/test --packaging"]
fn a_build_gets_the_sources_and_neither_secrets_nor_builds() {
    let folder = testkit::folder::temporary();
    let context = folder.path().join("context");
    let unwanted = [
        ".git/config",
        "target/dist/mintage",
        "dist/mintage.tar",
        "mintage.db",
        "mintage.toml",
        "ops/secrets/encryption-key",
        "fuzz/target/x",
        "fuzz/corpus/x",
        "docs/x",
        "tests/x",
    ];
    let wanted: Vec<String> = copied()
        .iter()
        .map(|name| format!("{name}{}", if name.contains("argo.") { "" } else { "/x" }))
        .collect();
    for name in unwanted.iter().copied().chain(wanted.iter().map(String::as_str)) {
        fs::create_dir_all(context.join(name).parent().unwrap()).unwrap();
        fs::write(context.join(name), "x").unwrap();
    }
    fs::copy(source(".dockerignore"), context.join(".dockerignore")).unwrap();
    let everything = folder.path().join("Dockerfile");
    fs::write(&everything, "FROM scratch\nCOPY . /\n").unwrap();
    let got: BTreeSet<String> = files_of_build(folder.path(), &everything, &context)
        .into_iter()
        .collect();
    assert_eq!(got, wanted.into_iter().collect());
}
