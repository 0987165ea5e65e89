//! [`Trio`]: three instances on one database, each with an operator's token.

use std::time::Duration;

use mintage::config;
use mintage::db::{Conn, Db, DbError};
use testkit::cluster::Cluster;
use testkit::gateway::forwarded;
use testkit::http::{Connection, Request, Response};
use testkit::token::token_request;
use testkit::{Server, TestClient, eventually};

/// How long anything may take here, so that a busy machine is no failure; how long it does take is for the soak to judge.
pub const PATIENCE: Duration = Duration::from_secs(10);

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

    /// Three instances with these variables in their environment.
    pub fn with(environment: &[(&str, &str)]) -> Self {
        let cluster = Cluster::start();
        Self::of(cluster, |cluster, number| {
            // The database shows by this name who is who.
            let url = format!(
                "{}?application_name=instance{number}",
                cluster.url(cluster.address(), "mintage")
            );
            testkit::program!().on(&url, environment).serve(&[])
        })
    }

    /// Instances that are started somehow, by number.
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

    /// Does what the command line does, in this process.
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

    /// A request of the operator.
    pub fn operator(&self, request: Request) -> Request {
        request.bearer(&self.operator_token)
    }

    /// That all workers of all instances come to answer so.
    #[track_caller]
    pub fn assert_soon(&self, what: &str, request: &Request, known: impl Fn(&Response) -> bool) {
        for instance in &self.instances {
            // Connections go to the two workers in turn.
            for _ in 0..2 {
                let mut connection = Connection::open(instance.address);
                eventually(what, PATIENCE, || known(&connection.ask(request)).then_some(()));
            }
        }
    }
}

/// A route with this path, for the scope of the clients here.
pub fn route(path: &str) -> serde_json::Value {
    serde_json::json!({"path": path, "scope": SCOPE})
}

/// What a gateway asks about a `GET` of this path.
pub fn question(token: &str, path: &str) -> Request {
    forwarded("GET", path).bearer(token)
}

/// The age of what an instance knows, as it tells Prometheus.
pub fn lag(instance: &Server) -> f64 {
    let lag = instance.metrics().value("mintage_change_feed_lag_seconds");
    lag.expect("it is connected")
}
