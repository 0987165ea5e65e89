//! Through Debian's nginx, with `auth_request`.

use std::process::Command;

use tempfile::TempDir;

use crate::gateway::Gateway;

fn nginx() -> Gateway {
    Gateway::start("nginx", "nginx", |directory: &TempDir, port, block| {
        let block = block.replace("listen 80;", &format!("listen 127.0.0.1:{port};"));
        let folder = directory.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
            .collect();
        let whole = format!(
            "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n\
             events {{}}\nhttp {{\naccess_log off;\n{temporary}{block}\n}}\n"
        );
        let path = directory.path().join("nginx.conf");
        std::fs::write(&path, whole).unwrap();
        let mut command = Command::new(program());
        command.arg("-e").arg(directory.path().join("error.log"));
        command.arg("-p").arg(directory.path()).arg("-c").arg(path);
        command
    })
}

/// Debian puts it where only root looks for programs.
fn program() -> &'static str {
    const DEBIANS: &str = "/usr/sbin/nginx";
    if std::path::Path::new(DEBIANS).exists() {
        DEBIANS
    } else {
        "nginx"
    }
}

#[test]
fn p43_nginx_lets_pass_what_may_and_stops_what_may_not() {
    let nginx = nginx();
    nginx.assert_lets_pass_what_may();
    nginx.assert_stops_what_may_not();
}

#[test]
fn p44_nginx_withstands_tricks_with_paths() {
    nginx().assert_withstands_tricks_with_paths();
}

#[test]
fn p43_nginx_withstands_lies_in_headers() {
    nginx().assert_withstands_lies_in_headers();
}

#[test]
fn p43_nginx_withstands_smuggling() {
    nginx().assert_withstands_smuggling();
}
