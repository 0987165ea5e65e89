//! What strangers can do with connections. Every state of a connection ends by a deadline, what
//! connections hold is bounded, and none of it is felt by other clients.
//!
//! With the real binary and on SQLite, so that nothing else affects memory and descriptors. One
//! thread drives all hostile connections of a test.

mod cell;
mod endpoint;
mod fairness;
mod flood;
mod hostile;
mod lawful;
mod limits;
mod matrix;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use testkit::http::{Connection, Request};
use testkit::token::token_request;
use testkit::{Program, Server, TestClient};

/// An address that is no trusted proxy.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Another one.
const NEIGHBOR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// How much later than its deadline a connection may end: the server looks at its connections now
/// and then, and both programs may have to wait for a processor.
const LATE: Duration = Duration::from_secs(3);

/// The smallest request.
const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n";

/// The head of its answer.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";

/// The program with a database and settings, each `(variable, value)`.
fn program(settings: &[(&str, &str)]) -> Program {
    testkit::program!().with_database().with_all(settings)
}

/// An operator and its token.
struct Operator {
    client: TestClient,
    token: String,
}

impl Operator {
    fn of(server: &Server) -> Self {
        let scope = "mintage:admin";
        let client = server.client(scope, &[]);
        let token = server.send(&token_request(&client, &[("scope", scope)])).access_token();
        Self { client, token }
    }

    /// Creates a client by the API: that takes the database. Returns the status, unless the
    /// connection is closed before.
    fn create_client(&self, server: SocketAddr, name: &str) -> Option<u16> {
        let request = Request::post("/admin/clients").bearer(&self.token);
        let client = serde_json::json!({"name": name, "scope": "a"});
        let response = Connection::open(server).try_ask(&request.json(&client))?;
        Some(response.status)
    }
}

/// How often `pattern` occurs.
fn count(text: &[u8], pattern: &[u8]) -> usize {
    text.windows(pattern.len()).filter(|window| window == &pattern).count()
}
