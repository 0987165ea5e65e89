//! G7: the database is unavailable for a while (stopped, hung or slow) and returns.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::cluster::Cluster;
use testkit::http::Request;
use testkit::load::{Load, assert_as_quick, p99};
use testkit::proxy::{Conduct, PostgresProxy};
use testkit::token::{about_token, token_request};
use testkit::{TestClient, eventually};

use crate::scene::Scene;

/// How the database becomes unavailable.
#[derive(Clone, Copy)]
enum Fault {
    /// Connections are refused.
    Stopped,
    /// Connections are accepted, and nothing is answered.
    Hung,
    /// Every response takes longer than a call may take.
    Slow,
    /// Every response arrives byte by byte and takes too long, but the connection is never silent.
    Dripping,
}

impl Fault {
    fn begin(self, cluster: &Cluster, proxy: &PostgresProxy) {
        match self {
            Self::Stopped => cluster.stop(),
            Self::Hung => cluster.hang(),
            Self::Slow => proxy.set(Conduct::Delay(Duration::from_secs(3))),
            Self::Dripping => proxy.set(Conduct::Drip(Duration::from_millis(50))),
        }
    }

    fn end(self, cluster: &Cluster, proxy: &PostgresProxy) {
        match self {
            Self::Stopped => cluster.start_again(),
            Self::Hung => cluster.resume(),
            Self::Slow | Self::Dripping => proxy.set(Conduct::Pass),
        }
    }
}

/// A server with clients that are cached and one that is not.
struct Outage {
    scene: Scene,
    /// In the cache of every worker that they use.
    cached: Vec<TestClient>,
    /// In the database and in no cache.
    uncached: TestClient,
}

impl Outage {
    fn prepare() -> Self {
        // A short TTL, so that entries become stale during the outage and `stale_served` increases.
        let scene = Scene::new(&[("MINTAGE_CACHE__TTL", "2s")]);
        Self {
            cached: (0..4).map(|_| scene.client()).collect(),
            uncached: scene.client(),
            scene,
        }
    }

    /// Until `end`, sends requests that cannot succeed during an outage, and expects 503 for each.
    fn assert_unavailable_until(&self, token: &str, end: Instant) {
        let revocation = about_token("/revoke", &self.cached[0], token);
        let route = Request::post("/admin/routes").json(&json!({"path": "/orders", "scope": "orders:read"}));
        let unknown = TestClient {
            id: "unknown".into(),
            secret: "none".into(),
        };
        let requests = [
            token_request(&self.uncached, &[]),
            token_request(&unknown, &[]),
            revocation,
            self.scene.operator(route),
        ];
        std::thread::scope(|scope| {
            for request in &requests {
                scope.spawn(move || {
                    while Instant::now() < end {
                        self.scene.server.send(request).assert_unavailable();
                        std::thread::sleep(Duration::from_millis(50));
                    }
                });
            }
            scope.spawn(|| self.watch_health(end));
        });
    }

    fn watch_health(&self, end: Instant) {
        let began = Instant::now();
        let mut ready = true;
        while Instant::now() < end {
            assert_eq!(self.scene.server.send(&Request::get("/livez")).status, 200);
            let answer = self.scene.server.send(&Request::get("/readyz"));
            if answer.status == 503 {
                ready = false;
                answer.assert_unavailable();
                assert_eq!(answer.json()["reason"], "the database does not answer");
            } else {
                assert!(ready, "ready again during the outage");
            }
            assert!(!ready || began.elapsed() < Duration::from_secs(5), "still ready");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the server is ready again and the backlog is written; returns how long each
    /// took.
    fn recover(&self) -> (Duration, Duration) {
        let began = Instant::now();
        eventually("ready again", Duration::from_secs(10), || {
            (self.scene.readiness() == 200).then_some(())
        });
        let ready = began.elapsed();
        let left = Duration::from_secs(15).saturating_sub(ready);
        eventually("the backlog is written", left, || {
            // A ready server may still answer 503: see `wait_until_all_is_written`.
            let answer = self.scene.ask_statistics("writer");
            let oldest = (answer.status == 200).then(|| answer.json()["oldest_unflushed_seconds"].as_f64());
            // The load continues, so the queue is never empty.
            (oldest.flatten()? < 1.0).then_some(())
        });
        (ready, began.elapsed())
    }
}

/// Makes the database unavailable for `length`; returns the 99th percentile of the latency of
/// cached clients before and during the outage.
fn outage(fault: Fault, length: Duration, connections: usize) -> (Duration, Duration) {
    let outage = Outage::prepare();
    let scene = &outage.scene;
    let token = scene.token(&outage.cached[0]);
    let load = Load::start(
        scene.server.address,
        &outage.cached,
        connections,
        Duration::from_millis(5),
    );
    let started = Instant::now();
    std::thread::sleep(length / 4);
    eventually("every connection has been served", Duration::from_secs(10), || {
        (load.serving() == connections * outage.cached.len()).then_some(())
    });

    let began = Instant::now();
    fault.begin(&scene.cluster, &scene.proxy);
    outage.assert_unavailable_until(&token, Instant::now() + length);
    let ended = Instant::now();
    fault.end(&scene.cluster, &scene.proxy);

    let (ready, written) = outage.recover();
    let receipts = load.stop();
    let failures = receipts.iter().filter(|receipt| receipt.status != 200).count();
    assert_eq!(failures, 0, "of {} requests of cached clients", receipts.len());
    scene.assert_all_recorded(&receipts);
    assert!(scene.statistics("cache")["stale_served"].as_u64() > Some(0));
    let writer = scene.statistics("writer");
    assert!(writer["flush_failures_total"].as_u64() > Some(0));
    assert_eq!(
        (&writer["rejected_total"], &writer["dead_lettered_total"]),
        (&json!(0), &json!(0))
    );

    // The requests that failed during the outage succeed now, and take effect.
    assert_eq!(scene.server.send(&token_request(&outage.uncached, &[])).status, 200);
    let client = &outage.cached[0];
    assert_eq!(scene.server.send(&about_token("/revoke", client, &token)).status, 200);
    let introspection = scene.server.send(&about_token("/introspect", client, &token)).json();
    assert_eq!(introspection, json!({"active": false}));

    let (before, during) = (p99(&receipts, started, began), p99(&receipts, began, ended));
    println!(
        "unavailable for {:.1?}: {} tokens, p99 {before:.2?} before and {during:.2?} during, ready after {ready:.1?}, \
         backlog written after {written:.1?}",
        ended - began,
        receipts.len()
    );
    (before, during)
}

const SHORT: Duration = Duration::from_secs(7);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn g7_postgres_stopped_loses_no_token_of_a_cached_client() {
    outage(Fault::Stopped, SHORT, 1);
}

#[test]
fn g7_postgres_hung_loses_no_token_of_a_cached_client() {
    outage(Fault::Hung, SHORT, 1);
}

#[test]
fn g7_postgres_slow_loses_no_token_of_a_cached_client() {
    outage(Fault::Slow, SHORT, 1);
}

#[test]
fn g7_postgres_answering_byte_by_byte_loses_no_token_of_a_cached_client() {
    outage(Fault::Dripping, SHORT, 1);
}

#[test]
#[ignore = "takes more than a minute: scripts/test --soak"]
fn soak_g7_postgres_stopped_for_a_minute_loses_no_token_of_a_cached_client() {
    let (before, during) = outage(Fault::Stopped, LONG, 2);
    assert_as_quick(before, during);
}

#[test]
#[ignore = "takes more than a minute: scripts/test --soak"]
fn soak_g7_postgres_hung_for_a_minute_loses_no_token_of_a_cached_client() {
    let (before, during) = outage(Fault::Hung, LONG, 2);
    assert_as_quick(before, during);
}

#[test]
#[ignore = "takes more than a minute: scripts/test --soak"]
fn soak_g7_postgres_slow_for_a_minute_loses_no_token_of_a_cached_client() {
    let (before, during) = outage(Fault::Slow, LONG, 2);
    assert_as_quick(before, during);
}

#[test]
fn a_slow_tokens_table_delays_no_other_query() {
    let outage = Outage::prepare();
    let scene = &outage.scene;
    scene.cluster.sql(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_sleep(10); RETURN NEW; END';
         CREATE TRIGGER dawdle BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION dawdle()",
    );
    let load = Load::start(scene.server.address, &outage.cached, 1, Duration::from_millis(5));
    eventually("two flushes have failed", Duration::from_secs(15), || {
        let uncached = scene.client();
        let answer = scene.server.send(&token_request(&uncached, &[]));
        assert_eq!(
            answer.status,
            200,
            "the database answers everything else: {}",
            answer.text()
        );
        assert_eq!(scene.readiness(), 200);
        (scene.statistics("writer")["flush_failures_total"].as_u64() >= Some(2)).then_some(())
    });
    scene.cluster.sql("DROP TRIGGER dawdle ON tokens");
    outage.recover();
    let receipts = load.stop();
    assert!(receipts.iter().all(|receipt| receipt.status == 200));
    scene.assert_all_recorded(&receipts);
}

/// The configuration that `docs/operations.md` gives for this.
fn short_cache() -> &'static str {
    let document = include_str!("../../docs/operations.md");
    let (_, section) = document
        .split_once("\n## Take a right away during an incident\n")
        .unwrap();
    let (_, block) = section.split_once("\n```toml\n").unwrap();
    block.split_once("```").unwrap().0
}

#[test]
fn a_client_disabled_elsewhere_gets_tokens_from_an_instance_that_is_cut_off_until_its_cache_is_shortened() {
    let cluster = Cluster::start();
    let proxy = PostgresProxy::before(cluster.address());
    let [cut_off, other] = [proxy.address(), cluster.address()].map(|address| {
        let program = testkit::program!().on(&cluster.url(address, "mintage"), &[]);
        program.write("mintage.toml", "");
        program.serve(&[])
    });
    let client = other.client("orders:read", &[]);
    let reader = other.client("orders:read", &["--introspection-audience", "http://127.0.0.1:8080"]);
    other.public_route("*", "/pub/{*rest}", &[]);
    cut_off.wait_for_change_feed();
    let ask = || cut_off.send(&token_request(&client, &[]));
    let visit = || cut_off.send(&testkit::gateway::forwarded("GET", "/pub/a")).status;
    assert_eq!(visit(), 200);
    // Connections go to the workers in turn.
    eventually("every worker knows the client", Duration::from_secs(10), || {
        (0..8).all(|_| ask().status == 200).then_some(())
    });
    proxy.set(Conduct::Refuse);
    assert_eq!(other.program.run(&["client", "disable", &client.id]).code, Some(0));
    let introspect = |server: &testkit::Server, token: &str| server.send(&about_token("/introspect", &reader, token));
    eventually("it validates nothing any more", Duration::from_secs(10), || {
        (introspect(&cut_off, "nonsense").status == 503).then_some(())
    });
    let token = ask().access_token();
    assert_eq!(introspect(&other, &token).json(), json!({"active": false}));
    assert_eq!(introspect(&cut_off, &token).status, 503);
    eventually(
        "it allows no public route that may have been removed",
        Duration::from_secs(10),
        || (visit() == 503).then_some(()),
    );

    cut_off.program.write("mintage.toml", short_cache());
    cut_off.signal("HUP");
    cut_off.wait_for_log("configuration reloaded");
    eventually("no worker issues a token", Duration::from_secs(10), || {
        (0..8).all(|_| ask().status == 503).then_some(())
    });
    proxy.set(Conduct::Pass);
    eventually("the client is denied", Duration::from_secs(15), || {
        (ask().status == 401).then_some(())
    });
    eventually("the public route is allowed again", Duration::from_secs(15), || {
        (visit() == 200).then_some(())
    });
}
