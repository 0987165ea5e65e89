//! Two instances on one PostgreSQL: access that the command line removes is gone on both, and stays
//! gone.

use std::time::{Duration, Instant};

use mintage::config;
use mintage::db::{Db, clients};
use mintage::oauth::client::ClientId;
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::secret_hash::SecretHash;
use testkit::cluster::Cluster;
use testkit::http::{Connection, Request};
use testkit::load::Load;
use testkit::token::token_request;
use testkit::{Server, TestClient};

/// How long a change may take on a busy machine: an instance whose change feed is older denies
/// requests. `soak_g2` measures that 99.9 % of the changes take at most a second.
const LIMIT: Duration = Duration::from_secs(5);

/// How long a visible change is watched: it must stay visible.
const WATCH: Duration = Duration::from_millis(1500);

struct Pair {
    cluster: Cluster,
    instances: [Server; 2],
}

impl Pair {
    fn start() -> Self {
        let cluster = Cluster::start();
        let url = cluster.url(cluster.address(), "mintage");
        Self {
            instances: [
                testkit::program!().on(&url, &[]).serve(&[]),
                testkit::program!().on(&url, &[]).serve(&[]),
            ],
            cluster,
        }
    }

    /// Polls every worker of both instances under load while `change` is made. The status of a
    /// token request must become `status` within `LIMIT` and must not change afterwards.
    fn assert_changes(&self, request: &Request, status: u16, change: impl FnOnce()) {
        let others: Vec<TestClient> = (0..2).map(|_| self.instances[0].client("a", &[])).collect();
        let loads = self
            .instances
            .each_ref()
            .map(|instance| Load::start(instance.address, &others, 2, Duration::from_millis(2)));
        let (changed, timelines) = std::thread::scope(|scope| {
            // Connections are assigned to the workers in turn, so four of them reach both workers.
            let poll = |instance: &Server| {
                let address = instance.address;
                scope.spawn(move || poll_past(status, &mut Connection::open(address), request))
            };
            let polling: Vec<_> = self
                .instances
                .iter()
                .flat_map(|instance| [(); 4].map(|()| poll(instance)))
                .collect();
            change();
            let changed = Instant::now();
            let timelines: Vec<_> = polling.into_iter().map(|thread| thread.join().unwrap()).collect();
            (changed, timelines)
        });
        for timeline in timelines {
            let first = timeline.iter().position(|(_, answer)| *answer == status);
            let first = first.expect("the change is visible");
            let seen = timeline[first].0;
            assert!(seen < changed + LIMIT, "after {:?}", seen - changed);
            assert!(
                timeline[first..].iter().all(|(_, answer)| *answer == status),
                "the change was undone"
            );
        }
        for load in loads {
            assert!(load.stop().iter().all(|receipt| receipt.status == 200));
        }
    }
}

/// Polls until `WATCH` after the response was `status` for the first time, or for twice `LIMIT` if
/// it never is.
fn poll_past(status: u16, connection: &mut Connection, request: &Request) -> Vec<(Instant, u16)> {
    let mut timeline = Vec::new();
    let mut end = Instant::now() + 2 * LIMIT;
    let mut seen = false;
    while Instant::now() < end {
        let asked = Instant::now();
        let answer = connection.ask(request).status;
        timeline.push((asked, answer));
        if answer == status && !seen {
            (seen, end) = (true, Instant::now() + WATCH);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    timeline
}

#[test]
fn g2_a_disabled_client_soon_gets_no_token_on_any_instance() {
    let pair = Pair::start();
    let client = pair.instances[0].client("a", &[]);
    pair.assert_changes(&token_request(&client, &[]), 401, || {
        pair.instances[0].run_json(&["client", "disable", &client.id]);
    });
    pair.assert_changes(&token_request(&client, &[]), 200, || {
        pair.instances[1].run_json(&["client", "enable", &client.id]);
    });
}

/// Replaces a client's secret, as another process does.
fn rotate(pair: &Pair, client: &TestClient, secret: &ClientSecret) {
    let database = config::Database {
        url: pair.cluster.url(pair.cluster.address(), "mintage"),
        ..Default::default()
    };
    let id = ClientId::parse(&client.id).unwrap();
    Db::open(&database)
        .run_here(|conn| {
            let mut client = clients::find(conn, &id)?.unwrap();
            client.secrets[0].hash = SecretHash::of(secret);
            clients::replace(conn, &client)
        })
        .unwrap();
}

#[test]
fn g2_a_replaced_secret_soon_gets_no_token_on_any_instance() {
    let pair = Pair::start();
    let client = pair.instances[0].client("a", &[]);
    let secret = ClientSecret::generate();
    let renewed = TestClient {
        id: client.id.clone(),
        secret: secret.reveal().to_owned(),
    };
    pair.assert_changes(&token_request(&client, &[]), 401, || rotate(&pair, &client, &secret));
    for instance in &pair.instances {
        assert_eq!(instance.send(&token_request(&renewed, &[])).status, 200);
    }
}
