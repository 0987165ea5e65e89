//! The folder of the artifacts, a Debian root to install them in, and the programs that read them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The output of a program, both streams in one text, and whether it succeeded.
pub struct Ran {
    pub succeeded: bool,
    pub text: String,
}

fn path_with_sbin() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// Runs a program, without input.
pub fn run(program: &str, arguments: &[&str]) -> Ran {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        // Maintainer scripts and dpkg look for programs there; a user's PATH may lack them.
        .env("PATH", path_with_sbin())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}: scripts/test --packaging installs it"));
    let text = [output.stdout, output.stderr].concat();
    Ran {
        succeeded: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// The output of a program that must succeed.
#[track_caller]
pub fn output(program: &str, arguments: &[&str]) -> String {
    let ran = run(program, arguments);
    assert!(ran.succeeded, "{program} {arguments:?}: {}", ran.text);
    ran.text
}

pub fn text(path: &Path) -> &str {
    path.to_str()
        .expect("temporary folders and names of artifacts are UTF-8")
}

/// What `scripts/test --packaging` names.
fn variable(name: &str) -> PathBuf {
    let value = std::env::var_os(name);
    value
        .unwrap_or_else(|| panic!("{name} is not set: run scripts/test --packaging"))
        .into()
}

/// The folder that `scripts/package` wrote.
pub fn folder() -> PathBuf {
    variable("MINTAGE_DIST")
}

/// A Python with the schemas of CycloneDX.
pub fn cyclonedx_python() -> PathBuf {
    variable("MINTAGE_CYCLONEDX_PYTHON")
}

/// The artifact whose name ends like this.
pub fn artifact(ending: &str) -> PathBuf {
    let entries = std::fs::read_dir(folder()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let found: Vec<PathBuf> = paths.filter(|path| text(path).ends_with(ending)).collect();
    assert_eq!(found.len(), 1, "{ending}: {found:?}");
    found[0].clone()
}

/// The binary that the packages contain.
pub fn binary() -> PathBuf {
    let name = format!("mintage-{}-", env!("CARGO_PKG_VERSION"));
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let folder = paths.find(|path| path.is_dir() && text(path.file_name().unwrap().as_ref()).starts_with(&name));
    folder.expect("the folder of the binary is there").join("mintage")
}

/// Debian 12 with the libraries that the packages need, unpacked for one test.
pub struct DebianRoot(TempDir);

impl DebianRoot {
    pub fn unpack() -> Self {
        let root = tempfile::tempdir().unwrap();
        let archive = variable("MINTAGE_DEBIAN_ROOT");
        output(
            "tar",
            &["--extract", "--file", text(&archive), "--directory", text(root.path())],
        );
        Self(root)
    }

    /// A path inside, such as `/etc/mintage`.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside.trim_start_matches('/'))
    }

    /// The text of a file inside.
    #[track_caller]
    pub fn read(&self, inside: &str) -> String {
        std::fs::read_to_string(self.path(inside)).unwrap_or_else(|error| panic!("{inside}: {error}"))
    }

    /// Writes a file inside, with the folders above it.
    pub fn write(&self, inside: &str, content: &str) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Copies a file to `/`, and returns its path inside.
    pub fn bring(&self, file: &Path) -> String {
        let inside = format!("/{}", text(file.file_name().unwrap().as_ref()));
        std::fs::copy(file, self.path(&inside)).unwrap();
        inside
    }

    /// Runs a command inside, without the variables of this process.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let clean = [
            text(self.0.path()),
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL=C.UTF-8",
        ];
        run("chroot", &[&clean, arguments].concat())
    }

    /// The output of a command inside that must succeed.
    #[track_caller]
    pub fn output(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert!(ran.succeeded, "{arguments:?}: {}", ran.text);
        ran.text
    }

    /// Makes the scripts of a package believe that systemd runs, with a `systemctl` that writes its
    /// arguments to `/systemctl.log` and does nothing.
    pub fn fake_systemd(&self) {
        std::fs::create_dir_all(self.path("/run/systemd/system")).unwrap();
        self.write("/systemctl.log", "");
        self.write("/usr/bin/systemctl", "#!/bin/sh\necho \"$@\" >>/systemctl.log\n");
        self.output(&["chmod", "755", "/usr/bin/systemctl"]);
    }

    /// What the scripts asked of systemd since the last call.
    pub fn asked_of_systemd(&self) -> Vec<String> {
        let lines = self.read("/systemctl.log").lines().map(str::to_owned).collect();
        self.write("/systemctl.log", "");
        lines
    }

    /// Starts the server inside on a free port, asks it whether it is ready, and stops it.
    pub fn server_becomes_ready(&self) -> bool {
        self.write("/etc/mintage/trial.toml", "[server]\nlisten = \"127.0.0.1:0\"\n");
        let script = "cd /tmp && /usr/bin/mintage --config /etc/mintage/trial.toml serve >log 2>&1 & server=$!
            n=0; until grep -q 'server ready' /tmp/log || [ $n -gt 300 ]; do n=$((n + 1)); sleep 0.2; done
            kill $server; wait $server; status=$?; cat /tmp/log; exit $status";
        let ran = self.run(&["/bin/sh", "-c", script]);
        std::fs::remove_file(self.path("/etc/mintage/trial.toml")).unwrap();
        assert!(ran.succeeded, "{}", ran.text);
        ran.text.contains("server ready")
    }
}
