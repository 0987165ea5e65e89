//! The client IP behind a proxy (P43): with nginx in front, no caller chooses its address.

use std::net::{SocketAddr, TcpStream};
use std::process::Child;

use tempfile::TempDir;
use testkit::http::Request;
use testkit::{Server, eventually, port};

use crate::TIMEOUT;

/// The address from which nginx connects to the server, so that it differs from a caller's.
const PROXY: &str = "127.0.0.9";

/// nginx in front of a server, killed on drop.
struct Proxied {
    server: Server,
    address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Proxied {
    /// `lines` are more lines of nginx. Without one about `X-Forwarded-For`, it passes the header on.
    fn start(lines: &str, environment: &[(&str, &str)]) -> Self {
        let server = crate::start_with(environment);
        let folder = testkit::folder::temporary();
        let address: SocketAddr = ([127, 0, 0, 1], port::free()).into();
        let block = format!(
            "server {{ listen {address}; location / {{ proxy_pass http://{}; {lines} }} }}",
            server.address
        );
        let child = testkit::nginx::command(folder.path(), &block).spawn().unwrap();
        eventually("nginx listens", TIMEOUT, || TcpStream::connect(address).ok());
        Self {
            server,
            address,
            child,
            _folder: folder,
        }
    }

    /// Sends wrong secrets, each with another invented address, until they are limited. Returns the
    /// number of those that were verified.
    fn verified(&self) -> usize {
        let fails = |number: &usize| {
            let request = Request::post("/token")
                .basic_raw("demo:wrong")
                .header("X-Forwarded-For", &format!("198.51.100.{number}"))
                .form_raw("grant_type=client_credentials");
            request.send(self.address).status == 401
        };
        (0..100).take_while(fails).count()
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A failure expires every two seconds, so a slow machine verifies a few more than 30.
#[track_caller]
fn assert_limited(proxied: &Proxied, client_ip: &str) {
    let verified = proxied.verified();
    assert!((30..60).contains(&verified), "{verified}");
    let log = proxied.server.log();
    assert!(log.contains(&format!("client_ip={client_ip} ")), "{log}");
    assert!(!log.contains("198.51.100."), "{log}");
}

#[test]
fn p43_behind_nginx_without_any_setting_invented_addresses_are_ignored() {
    assert_limited(&Proxied::start("", &[]), "127.0.0.1");
}

#[test]
fn p43_behind_nginx_that_appends_the_address_invented_ones_are_ignored() {
    let appends = format!("proxy_bind {PROXY}; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;");
    let proxies = format!("[\"{PROXY}\"]");
    let proxied = Proxied::start(&appends, &[("MINTAGE_SERVER__CLIENT_IP_PROXIES", &proxies)]);
    assert_limited(&proxied, "127.0.0.1");
}
