//! Through Debian's nginx, with `auth_request`.

use tempfile::TempDir;

use crate::gateway::Gateway;

fn nginx() -> Gateway {
    Gateway::start("nginx", "nginx", |directory: &TempDir, port, block| {
        let block = block.replace("listen 80;", &format!("listen 127.0.0.1:{port};"));
        testkit::nginx::command(directory.path(), &block)
    })
}

#[test]
fn p43_nginx_passes_authorized_requests_and_stops_others() {
    let nginx = nginx();
    nginx.assert_passes_authorized_requests();
    nginx.assert_stops_unauthorized_requests();
}

#[test]
fn nginx_passes_public_requests_and_preflights_without_a_token() {
    let nginx = nginx();
    nginx.assert_passes_public_requests();
    nginx.assert_passes_preflights();
    nginx.assert_withstands_tricks_without_a_token();
}

#[test]
fn p44_nginx_withstands_path_tricks() {
    nginx().assert_withstands_path_tricks();
}

#[test]
fn p43_nginx_withstands_forged_headers() {
    nginx().assert_withstands_forged_headers();
}

#[test]
fn p43_nginx_withstands_smuggling() {
    nginx().assert_withstands_smuggling();
}

#[test]
fn p45_nginx_passes_a_token_with_the_longest_scope() {
    nginx().assert_passes_the_longest_scope();
}

#[test]
fn nginx_opens_websockets_to_authorized_clients() {
    nginx().assert_opens_websockets_to_authorized_clients();
}
