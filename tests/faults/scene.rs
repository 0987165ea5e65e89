//! [`Scene`]: a server that reaches its PostgreSQL through a proxy, and those who ask it.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use testkit::cluster::Cluster;
use testkit::http::{Request, Response};
use testkit::load::{Receipt, received};
use testkit::proxy::PostgresProxy;
use testkit::token::token_request;
use testkit::{Server, TestClient, eventually};

/// What the operator of the scene may do.
const OPERATOR: &str = "mintage:admin";

pub struct Scene {
    pub cluster: Cluster,
    pub proxy: PostgresProxy,
    pub server: Server,
    operator_token: String,
}

impl Scene {
    /// A server that is ready, with these variables in its environment.
    pub fn new(environment: &[(&str, &str)]) -> Self {
        let cluster = Cluster::start();
        let proxy = PostgresProxy::before(cluster.address());
        let server = testkit::program!()
            .on(&cluster.url(proxy.address(), "mintage"), environment)
            .serve(&[]);
        let operator = server.client(OPERATOR, &[]);
        let operator_token = server
            .send(&token_request(&operator, &[("scope", OPERATOR)]))
            .access_token();
        let scene = Self {
            cluster,
            proxy,
            server,
            operator_token,
        };
        // Or what is heard next could still be about the operator.
        eventually("every worker has heard of the operator", Duration::from_secs(5), || {
            (scene.heard() >= 2).then_some(())
        });
        scene
    }

    /// How often workers have been told to forget a client.
    fn heard(&self) -> u64 {
        self.statistics("cache")["invalidations"].as_u64().unwrap()
    }

    /// The URL of the database that does not go through the proxy.
    pub fn direct_url(&self) -> String {
        self.cluster.url(self.cluster.address(), "mintage")
    }

    /// Makes a client, and waits until the server has heard of it: nothing that is cached from now on is dropped again.
    pub fn client(&self) -> TestClient {
        let before = self.heard();
        let client = self.server.client_at(&self.direct_url(), "orders:read", &[]);
        eventually("every worker has heard of the client", Duration::from_secs(5), || {
            (self.heard() >= before + 2).then_some(())
        });
        client
    }

    /// Gets a token.
    #[track_caller]
    pub fn token(&self, client: &TestClient) -> String {
        self.server.send(&token_request(client, &[])).access_token()
    }

    /// A request of the operator.
    pub fn operator(&self, request: Request) -> Request {
        request.bearer(&self.operator_token)
    }

    /// What `/admin/…/stats` says; it must say something.
    #[track_caller]
    pub fn statistics(&self, of: &str) -> Value {
        let answer = self.ask_statistics(of);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    pub fn ask_statistics(&self, of: &str) -> Response {
        let request = self.operator(Request::get(&format!("/admin/{of}/stats")));
        self.server.send(&request)
    }

    /// The status of `/readyz`.
    pub fn readiness(&self) -> u16 {
        self.server.send(&Request::get("/readyz")).status
    }

    #[track_caller]
    pub fn wait_until_all_is_written(&self) {
        eventually("everything is written", Duration::from_secs(15), || {
            // It may have been ready by what it heard before an outage, and not know yet what was taken back in it.
            let answer = self.ask_statistics("writer");
            (answer.status == 200 && answer.json()["pending"] == 0).then_some(())
        });
    }

    /// That every token that somebody received is a row, as soon as nothing waits any more.
    #[track_caller]
    pub fn assert_all_recorded(&self, receipts: &[Receipt]) {
        self.wait_until_all_is_written();
        let recorded: HashSet<String> = self.cluster.recorded().into_iter().collect();
        let lost = received(receipts)
            .into_iter()
            .filter(|id| !recorded.contains(id))
            .count();
        assert_eq!(lost, 0, "of {} tokens received", receipts.len());
    }
}
