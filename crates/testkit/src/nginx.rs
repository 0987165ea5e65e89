//! Runs nginx with a configuration block from the documentation, in the foreground and without
//! root.

use std::path::Path;
use std::process::{Command, Stdio};

/// A command that runs nginx with this `server` block and any `upstream` blocks before it. All its
/// files are in `folder`.
pub fn command(folder: &Path, block: &str) -> Command {
    let shown = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {shown}/{kind};\n"))
        .collect();
    let whole = format!(
        "daemon off;\nmaster_process off;\npid {shown}/nginx.pid;\nerror_log {shown}/error.log;\n\
         events {{}}\nhttp {{\naccess_log off;\n{temporary}{block}\n}}\n"
    );
    let configuration = folder.join("nginx.conf");
    std::fs::write(&configuration, whole).unwrap();
    let mut command = Command::new(program());
    command.arg("-e").arg(folder.join("error.log"));
    command.arg("-p").arg(folder).arg("-c").arg(configuration);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Debian installs nginx in `/usr/sbin`, which is only in the `PATH` of root.
fn program() -> &'static str {
    const DEBIAN_PATH: &str = "/usr/sbin/nginx";
    match Path::new(DEBIAN_PATH).exists() {
        true => DEBIAN_PATH,
        false => "nginx",
    }
}
