//! What gateways ask: requests to `/validate` about an original request, and servers that are asked so.

use std::time::{Duration, Instant};

use crate::client::TestClient;
use crate::http::{Request, Response};
use crate::poll::until;
use crate::program::Server;
use crate::token::token_request;

/// The host of the original requests.
pub const HOST: &str = "api.example";

/// The dialect of Traefik and Caddy: a request to `api.example`.
pub fn forwarded(method: &str, target: &str) -> Request {
    Request::to_host("mintage.internal", "GET", "/validate")
        .header("X-Forwarded-Method", method)
        .header("X-Forwarded-Host", HOST)
        .header("X-Forwarded-Uri", target)
}

/// The dialect of nginx: the question itself goes to `api.example`.
pub fn original(method: &str, target: &str) -> Request {
    Request::to_host(HOST, "GET", "/validate")
        .header("X-Original-Method", method)
        .header("X-Original-URI", target)
}

impl Server {
    /// Creates a client with this id that may have a scope; more arguments of `client create` may follow.
    #[track_caller]
    pub fn client_with_id(&self, id: &str, scope: &str, more: &[&str]) -> TestClient {
        let create = ["--name", "test", "--id", id, "--scope", scope];
        self.program.create_client(&[&create, more].concat())
    }

    /// Creates a route for a method (`*`: any) and a path; its id.
    #[track_caller]
    pub fn route(&self, method: &str, path: &str, scope: &str, more: &[&str]) -> String {
        let mut all = vec!["route", "add", "--path", path, "--scope", scope];
        if method != "*" {
            all.extend(["--method", method]);
        }
        let created = self.run_json(&[&all, more].concat());
        created["id"].as_str().unwrap().to_owned()
    }

    /// A token with this scope; more parameters of the request may follow.
    #[track_caller]
    pub fn token(&self, client: &TestClient, scope: &str, more: &[(&str, &str)]) -> String {
        self.send(&token_request(client, &[&[("scope", scope)], more].concat()))
            .access_token()
    }

    /// What `/validate` says of a request in the dialect of Traefik and Caddy.
    #[track_caller]
    pub fn validate(&self, method: &str, target: &str, token: &str) -> Response {
        forwarded(method, target).bearer(token).send_and_close(self.address)
    }

    /// Waits until a request is answered with this status: what another process wrote is in effect within a second.
    #[track_caller]
    pub fn validates_within_a_second(&self, method: &str, target: &str, token: &str, status: u16) {
        let began = Instant::now();
        until("the change is in effect", Duration::from_secs(60), || {
            self.validate(method, target, token).status == status
        });
        assert!(began.elapsed() < Duration::from_secs(1), "after {:?}", began.elapsed());
    }
}
