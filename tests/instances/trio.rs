//! [`Trio`]: three instances on one database, with an operator's token.

use std::time::Duration;

use mintage::config;
use mintage::db::{Conn, Db, DbError};
use testkit::cluster::Cluster;
use testkit::gateway::forwarded;
use testkit::http::{Connection, Request, Response};
use testkit::token::token_request;
use testkit::{Server, TestClient, eventually};

/// How long a change may take to be in effect, with an allowance for a busy machine. The soak test
/// measures how long it does take.
pub const CONVERGENCE_TIMEOUT: Duration = Duration::from_secs(10);

/// The scope of every client here.
pub const SCOPE: &str = "orders:read";

pub struct Trio {
    pub cluster: Cluster,
    pub instances: [Server; 3],
    operator_token: String,
    db: Db,
}

impl Trio {
    /// Three instances that are ready.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Three instances with the given environment variables.
    pub fn with(environment: &[(&str, &str)]) -> Self {
        let cluster = Cluster::start();
        Self::of(cluster, |cluster, number| {
            // By this name, `pg_stat_activity` shows which instance a connection belongs to.
            let url = format!(
                "{}?application_name=instance{number}",
                cluster.url(cluster.address(), "mintage")
            );
            testkit::program!().on(&url, environment).serve(&[])
        })
    }

    /// Instances started by the given function, by number.
    pub fn of(cluster: Cluster, instance: impl Fn(&Cluster, usize) -> Server) -> Self {
        let instances = [0, 1, 2].map(|number| instance(&cluster, number));
        let operator = instances[0].client_at(&cluster.url(cluster.address(), "mintage"), "mintage:admin", &[]);
        let asked = token_request(&operator, &[("scope", "mintage:admin")]);
        let operator_token = instances[0].send(&asked).access_token();
        let database = config::Database {
            url: cluster.url(cluster.address(), "mintage"),
            ..Default::default()
        };
        Self {
            db: Db::open(&database),
            cluster,
            instances,
            operator_token,
        }
    }

    /// Runs what the command line runs, in this process.
    pub fn elsewhere<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> T {
        self.db.run_here(work).unwrap()
    }

    /// A client that all instances know.
    pub fn client(&self) -> TestClient {
        let url = self.cluster.url(self.cluster.address(), "mintage");
        let client = self.instances[0].client_at(&url, SCOPE, &[]);
        self.assert_soon("the client is known", &token_request(&client, &[]), |answer| {
            answer.status == 200
        });
        client
    }

    /// A token of a client.
    #[track_caller]
    pub fn token(&self, client: &TestClient) -> String {
        self.instances[0].send(&token_request(client, &[])).access_token()
    }

    /// Adds a route for the scope of the clients and waits until all instances know it. Returns a
    /// token of the client that the route accepts.
    #[track_caller]
    pub fn add_route(&self, client: &TestClient, path: &str) -> String {
        let add = Request::post("/admin/routes").json(&route(path));
        assert_eq!(self.instances[0].send(&self.operator(add)).status, 201);
        let token = self.token(client);
        self.assert_soon("the route is known", &validation(&token, path), |answer| {
            answer.status == 200
        });
        token
    }

    /// A request of the operator.
    pub fn operator(&self, request: Request) -> Request {
        request.bearer(&self.operator_token)
    }

    /// Asserts that all workers of all instances eventually answer as expected.
    #[track_caller]
    pub fn assert_soon(&self, what: &str, request: &Request, known: impl Fn(&Response) -> bool) {
        for instance in &self.instances {
            // Connections go to the two workers in turn.
            for _ in 0..2 {
                let mut connection = Connection::open(instance.address);
                eventually(what, CONVERGENCE_TIMEOUT, || {
                    known(&connection.ask(request)).then_some(())
                });
            }
        }
    }
}

/// A route with this path, for the scope of the clients here.
pub fn route(path: &str) -> serde_json::Value {
    serde_json::json!({"path": path, "scope": SCOPE})
}

/// The request of a gateway about a `GET` of this path.
pub fn validation(token: &str, path: &str) -> Request {
    forwarded("GET", path).bearer(token)
}

/// The age of the change log in the metrics of an instance.
pub fn lag(instance: &Server) -> f64 {
    let lag = instance.metrics().value("mintage_change_feed_lag_seconds");
    lag.expect("the instance is connected")
}
