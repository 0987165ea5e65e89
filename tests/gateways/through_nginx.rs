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
