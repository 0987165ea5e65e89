//! Requests to `/validate` as gateways send them, and a [`Server`] that validates them.

use crate::client::TestClient;
use crate::http::{Request, Response};
use crate::program::Server;
use crate::token::token_request;

/// The host of the original requests.
pub const HOST: &str = "api.example";

/// Forward auth as Traefik and Caddy send it: the original request is in `X-Forwarded-*` headers.
pub fn forwarded(method: &str, target: &str) -> Request {
    Request::to_host("mintage.internal", "GET", "/validate")
        .header("X-Forwarded-Method", method)
        .header("X-Forwarded-Host", HOST)
        .header("X-Forwarded-Uri", target)
}

/// Forward auth as nginx sends it: the subrequest keeps the original host.
pub fn original(method: &str, target: &str) -> Request {
    Request::to_host(HOST, "GET", "/validate")
        .header("X-Original-Method", method)
        .header("X-Original-URI", target)
}

impl Server {
    /// Creates a client with this id and scope; `more` are further arguments of `client create`.
    #[track_caller]
    pub fn client_with_id(&self, id: &str, scope: &str, more: &[&str]) -> TestClient {
        let create = ["--name", "test", "--id", id, "--scope", scope];
        self.program.create_client(&[&create, more].concat())
    }

    /// Creates a route for a method (`*`: any) and a path. Returns its id.
    #[track_caller]
    pub fn route(&self, method: &str, path: &str, scope: &str, more: &[&str]) -> String {
        self.add_route(method, path, &[&["--scope", scope], more].concat())
    }

    /// Creates a public route for a method (`*`: any) and a path. Returns its id.
    #[track_caller]
    pub fn public_route(&self, method: &str, path: &str, more: &[&str]) -> String {
        self.add_route(method, path, &[&["--public"], more].concat())
    }

    #[track_caller]
    fn add_route(&self, method: &str, path: &str, more: &[&str]) -> String {
        let mut all = vec!["route", "add", "--path", path];
        if method != "*" {
            all.extend(["--method", method]);
        }
        let created = self.run_json(&[&all, more].concat());
        created["id"].as_str().unwrap().to_owned()
    }

    /// Requests a token with this scope; `more` are further parameters of the request.
    #[track_caller]
    pub fn token(&self, client: &TestClient, scope: &str, more: &[(&str, &str)]) -> String {
        self.send(&token_request(client, &[&[("scope", scope)], more].concat()))
            .access_token()
    }

    /// The response of `/validate` to a request as Traefik and Caddy send it.
    #[track_caller]
    pub fn validate(&self, method: &str, target: &str, token: &str) -> Response {
        forwarded(method, target).bearer(token).send_and_close(self.address)
    }

    /// `/validate` responds with this status once the changes by other processes are applied.
    #[track_caller]
    pub fn validates_once_applied(&self, method: &str, target: &str, token: &str, status: u16) {
        self.wait_for_change_feed();
        assert_eq!(self.validate(method, target, token).status, status);
    }
}
