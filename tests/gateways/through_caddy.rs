//! Through Debian's Caddy, with `forward_auth`.

use std::process::Command;

use tempfile::TempDir;

use crate::gateway::Gateway;

fn caddy() -> Gateway {
    Gateway::start("caddy", "caddyfile", |directory: &TempDir, port, block| {
        let block = block.replace("api.example {", &format!("http://:{port} {{\n\tbind 127.0.0.1"));
        let path = directory.path().join("Caddyfile");
        std::fs::write(&path, format!("{{\n\tadmin off\n}}\n{block}\n")).unwrap();
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(path);
        command
            .env("HOME", directory.path())
            .env("XDG_DATA_HOME", directory.path());
        command.env("XDG_CONFIG_HOME", directory.path());
        command
    })
}

#[test]
fn p43_caddy_lets_pass_what_may_and_stops_what_may_not() {
    let caddy = caddy();
    caddy.assert_lets_pass_what_may();
    caddy.assert_stops_what_may_not();
}

#[test]
fn p44_caddy_withstands_tricks_with_paths() {
    caddy().assert_withstands_tricks_with_paths();
}

#[test]
fn p43_caddy_withstands_lies_in_headers() {
    caddy().assert_withstands_lies_in_headers();
}

#[test]
fn p43_caddy_withstands_smuggling() {
    caddy().assert_withstands_smuggling();
}
