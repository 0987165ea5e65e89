//! [`Scene`]: a server that reaches its PostgreSQL through a proxy, and the clients that use it.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use testkit::cluster::Cluster;
use testkit::http::{Request, Response};
use testkit::load::{Receipt, received};
use testkit::proxy::PostgresProxy;
use testkit::token::token_request;
use testkit::{Server, TestClient, eventually};

/// The scope of the scene's operator.
const OPERATOR: &str = "mintage:admin";

pub struct Scene {
    pub cluster: Cluster,
    pub proxy: PostgresProxy,
    pub server: Server,
    operator_token: String,
}

impl Scene {
    /// A server that is ready, with the given environment variables.
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
        // The server writes that the operator has signed in. It is one commit more, which could be
        // taken for that of a test.
        eventually(
            "the audit log has the operator's sign-in",
            Duration::from_secs(15),
            || {
                let rows = "SELECT count(*) FROM audit WHERE action = 'operator.sign_in'";
                (scene.cluster.number(rows) > 0).then_some(())
            },
        );
        // Otherwise, the next invalidation could still be about the operator.
        eventually(
            "every worker has received the operator's creation",
            Duration::from_secs(5),
            || (scene.invalidations() >= 2).then_some(()),
        );
        scene
    }

    /// How many clients the workers have invalidated.
    fn invalidations(&self) -> u64 {
        self.statistics("cache")["invalidations"].as_u64().unwrap()
    }

    /// The URL of the database that bypasses the proxy.
    pub fn direct_url(&self) -> String {
        self.cluster.url(self.cluster.address(), "mintage")
    }

    /// Creates a client and waits until every worker has received the change: nothing that is
    /// cached from now on is invalidated by it.
    pub fn client(&self) -> TestClient {
        let before = self.invalidations();
        let client = self.server.client_at(&self.direct_url(), "orders:read", &[]);
        eventually(
            "every worker has received the client's creation",
            Duration::from_secs(5),
            || (self.invalidations() >= before + 2).then_some(()),
        );
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

    /// The document of `/admin/…/stats`; the request must succeed.
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
            // The server may be ready by what it received before an outage, and still answer 503
            // because it has not yet received the revocations of the outage.
            let answer = self.ask_statistics("writer");
            (answer.status == 200 && answer.json()["pending"] == 0).then_some(())
        });
    }

    /// Asserts that every token that a client received is a row, as soon as nothing is pending.
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
