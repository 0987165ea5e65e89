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
fn p43_caddy_passes_authorized_requests_and_stops_others() {
    let caddy = caddy();
    caddy.assert_passes_authorized_requests();
    caddy.assert_stops_unauthorized_requests();
}

#[test]
fn caddy_passes_public_requests_and_preflights_without_a_token() {
    let caddy = caddy();
    caddy.assert_passes_public_requests();
    caddy.assert_passes_preflights();
    caddy.assert_withstands_tricks_without_a_token();
}

#[test]
fn p44_caddy_withstands_path_tricks() {
    caddy().assert_withstands_path_tricks();
}

#[test]
fn p43_caddy_withstands_forged_headers() {
    caddy().assert_withstands_forged_headers();
}

#[test]
fn p43_caddy_withstands_smuggling() {
    caddy().assert_withstands_smuggling();
}

#[test]
fn p45_caddy_passes_a_token_with_the_longest_scope() {
    caddy().assert_passes_the_longest_scope();
}

#[test]
fn caddy_opens_websockets_to_authorized_clients() {
    caddy().assert_opens_websockets_to_authorized_clients();
}
