//! The image, made by `scripts/package-image`, and containers of it, run by podman and runc.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use testkit::program::SERVER_TIMEOUT;
use testkit::{eventually, poll};

use crate::{binary, installed, source};

/// How long an orderly stop may take, as the manifest has it.
const STOP_TIMEOUT: &str = "45";

/// podman with storage of its own, so that images and containers of this machine are neither used
/// nor changed.
///
/// runc and cgroupfs: without systemd nothing else runs. vfs: without support in the kernel.
fn podman() -> Command {
    let mut command = Command::new("podman");
    let folder = |name| installed("storage").join(name);
    command
        .arg("--root")
        .arg(folder("root"))
        .arg("--runroot")
        .arg(folder("run"));
    command.args([
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
        "--runtime",
        "runc",
    ]);
    command
}

fn output_of(command: &mut Command) -> Output {
    match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?}: {error}: scripts/test --packaging installs it"),
    }
}

/// What podman prints. It must succeed.
#[track_caller]
fn podman_prints(arguments: &[&str]) -> String {
    let output = output_of(podman().args(arguments));
    assert!(output.status.success(), "podman {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The image, made once.
pub struct Image {
    /// Where `scripts/package-image` wrote the archives.
    pub dist: PathBuf,
    /// Its name for podman.
    pub name: String,
}

impl Image {
    pub fn get() -> &'static Self {
        static IMAGE: OnceLock<Image> = OnceLock::new();
        IMAGE.get_or_init(Self::make)
    }

    fn make() -> Self {
        let dist = installed("dist");
        let _ = std::fs::remove_dir_all(&dist);
        let output = package(&dist);
        assert!(output.status.success(), "scripts/package-image: {output:?}");
        // Containers and images of an earlier run that was killed.
        podman_prints(&["rm", "--all", "--force", "--time", "0"]);
        podman_prints(&["rmi", "--all", "--force"]);
        load(&archive(&dist, ".docker.tgz"));
        let names = podman_prints(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let name = names.lines().next().expect("the image is loaded").to_owned();
        Self { dist, name }
    }

    pub fn inspect(&self) -> Value {
        let text = podman_prints(&["image", "inspect", &self.name]);
        serde_json::from_str::<Value>(&text).unwrap()[0].take()
    }
}

/// As the documentation has it: podman does not unpack by itself, as `docker load` does.
fn load(archive: &Path) {
    let mut gunzip = Command::new("gunzip")
        .arg("--stdout")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = output_of(podman().args(["load", "--quiet"]).stdin(gunzip.stdout.take().unwrap()));
    assert!(
        gunzip.wait().unwrap().success() && output.status.success(),
        "{output:?}"
    );
}

/// Runs `scripts/package-image` on the compiled binary.
pub fn package(dist: &Path) -> Output {
    let mut script = Command::new(source("scripts/package-image"));
    script.arg(binary()).arg(dist).env("BASE_TAR", installed("base.tar"));
    script.env("BUILD_COMMIT", "0123456789ab");
    output_of(&mut script)
}

/// The archive in a folder whose name ends like this.
#[track_caller]
pub fn archive(dist: &Path, ending: &str) -> PathBuf {
    let paths = std::fs::read_dir(dist).unwrap().map(|entry| entry.unwrap().path());
    let mut found = paths.filter(|path| path.to_str().unwrap().ends_with(ending));
    found
        .next()
        .unwrap_or_else(|| panic!("no {ending} in {}", dist.display()))
}

/// The files that a build gets from the folder `context`, by a Dockerfile that copies all. `folder` is
/// for the build.
pub fn files_of_build(folder: &Path, dockerfile: &Path, context: &Path) -> Vec<String> {
    let (root, run, output) = (folder.join("root"), folder.join("run"), folder.join("output"));
    let mut command = Command::new("buildah");
    command.arg("--root").arg(root).arg("--runroot").arg(run);
    command.args(["--storage-driver", "vfs", "bud", "--isolation", "chroot", "--output"]);
    command.arg(format!("type=local,dest={}", output.display()));
    command.arg("--file").arg(dockerfile).arg(context);
    let built = output_of(&mut command);
    assert!(built.status.success(), "{built:?}");
    let files = output_of(
        Command::new("find")
            .args([".", "-type", "f", "-printf", "%P\\n"])
            .current_dir(output),
    );
    String::from_utf8(files.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// How a container runs.
#[derive(Clone, Default)]
pub struct Run {
    /// Options of `podman run`.
    options: Vec<String>,
    /// What follows the image: arguments of mintage. Empty: the image's.
    arguments: Vec<String>,
}

impl Run {
    /// As the documentation and the manifest run it: unprivileged, and with a root that cannot be
    /// written. On the network of the machine, where the databases of the tests listen on loopback.
    ///
    /// podman would mount writable folders at `/run` and `/tmp`, which Kubernetes does not.
    pub fn hardened() -> Self {
        // The limits of files and processes: runc may not raise them in a container.
        Self::default()
            .option("--network=host")
            .option("--ulimit=nofile=4096:4096")
            .option("--ulimit=nproc=4096:4096")
            .option("--read-only")
            .option("--read-only-tmpfs=false")
            .option("--cap-drop=all")
            .option("--security-opt=no-new-privileges")
    }

    pub fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    pub fn env(self, name: &str, value: &str) -> Self {
        self.option(format!("--env={name}={value}"))
    }

    /// Mounts a folder for reading only.
    pub fn mount(self, folder: &Path, at: &str) -> Self {
        self.option(format!("--volume={}:{at}:ro", folder.display()))
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = podman();
        command.arg("run").args(more).args(&self.options);
        command.arg(&Image::get().name).args(&self.arguments);
        command
    }

    /// Runs a container until it ends.
    pub fn to_its_end(&self) -> Output {
        output_of(&mut self.command(&["--rm"]))
    }

    /// Starts a container.
    #[track_caller]
    pub fn start(&self) -> Container {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("mintage-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let output = output_of(&mut self.command(&["--detach", "--name", &name]));
        let container = Container { name };
        assert!(output.status.success(), "{output:?}");
        container
    }
}

/// A running container. It is removed when it is dropped.
pub struct Container {
    name: String,
}

impl Container {
    /// The field of `podman inspect` that a Go template names.
    #[track_caller]
    pub fn field(&self, template: &str) -> String {
        podman_prints(&["inspect", "--format", template, &self.name])
    }

    /// The process id of the server, on this machine.
    pub fn pid(&self) -> u32 {
        self.field("{{.State.Pid}}").parse().unwrap()
    }

    /// Runs mintage in the container.
    pub fn exec(&self, arguments: &[&str]) -> Output {
        output_of(podman().args(["exec", &self.name, "mintage"]).args(arguments))
    }

    /// Whether the health check of the image passes.
    pub fn is_healthy(&self) -> bool {
        output_of(podman().args(["healthcheck", "run", &self.name]))
            .status
            .success()
    }

    #[track_caller]
    pub fn wait_until_healthy(&self) {
        poll::until("the container is healthy", SERVER_TIMEOUT, || {
            assert_eq!(self.field("{{.State.Status}}"), "running", "{}", self.log());
            self.is_healthy()
        });
    }

    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        poll::until(text, SERVER_TIMEOUT, || self.log().contains(text));
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        let output = output_of(podman().args(["logs", &self.name]));
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Sends SIGTERM, and waits until the container has stopped. Returns its exit code.
    #[track_caller]
    pub fn stop(&self) -> i32 {
        podman_prints(&["stop", "--time", STOP_TIMEOUT, &self.name]);
        eventually("the container has stopped", Duration::from_secs(5), || {
            let state = self.field("{{.State.Status}} {{.State.ExitCode}}");
            state.strip_prefix("exited ")?.parse().ok()
        })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of the container:\n{}", self.log());
        }
        // It may not have been created.
        let _ = podman().args(["rm", "--force", "--time", "0", &self.name]).output();
    }
}
