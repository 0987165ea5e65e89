//! [`Site`]: instances of the real program on one database, with one Redis, and the requests of the
//! tests.

use std::time::Duration;

use testkit::http::{Request, Response};
use testkit::postgres;
use testkit::redis::Redis;
use testkit::{Server, TestClient, eventually};

/// How long something may take that takes milliseconds on an idle machine.
pub const POLL_TIMEOUT: Duration = Duration::from_secs(15);

pub struct Site {
    pub redis: Redis,
    pub database: String,
    pub instances: Vec<Server>,
}

impl Site {
    /// Ready, cold and connected instances.
    pub fn of(instances: usize, environment: &[(&str, &str)]) -> Self {
        let mut site = Self::on(Redis::start());
        for _ in 0..instances {
            site.add(environment);
        }
        site
    }

    /// A database and no instances yet.
    pub fn on(redis: Redis) -> Self {
        Self {
            redis,
            database: postgres::empty().url,
            instances: Vec::new(),
        }
    }

    /// Adds a ready, cold and connected instance.
    pub fn add(&mut self, environment: &[(&str, &str)]) {
        let url = self.redis.url();
        self.add_through(&url, environment);
    }

    /// As [`Site::add`], with another URL of Redis.
    pub fn add_through(&mut self, redis: &str, environment: &[(&str, &str)]) {
        let instance = start(&self.database, redis, environment);
        await_redis(&instance);
        self.instances.push(instance);
    }

    /// Creates a client.
    pub fn client(&self) -> TestClient {
        self.instances[0].client("orders:read", &[])
    }

    /// Creates clients that the first instance shares through Redis.
    pub fn shared_clients(&self, number: usize) -> Vec<TestClient> {
        let clients: Vec<TestClient> = (0..number).map(|_| self.client()).collect();
        let before = self.redis.keys().len();
        // One after the other: on a busy machine, a write to Redis may time out and must be
        // repeated.
        for (shared, client) in clients.iter().enumerate() {
            eventually("a client is shared", POLL_TIMEOUT, || {
                assert_eq!(token_status(&self.instances[0], client), 200);
                (self.redis.keys().len() > before + shared).then_some(())
            });
        }
        clients
    }
}

/// A client that the first instance has shared, with its key and value in Redis.
pub struct Shared {
    pub client: TestClient,
    pub key: String,
    pub value: Vec<u8>,
}

impl Site {
    /// Makes the first instance share a client.
    pub fn share(&self) -> Shared {
        let before = self.redis.keys();
        let client = self.shared_clients(1).remove(0);
        let mut keys = self.redis.keys();
        keys.retain(|key| !before.contains(key));
        let [key] = &keys[..] else { panic!("{keys:?}") };
        let value = self.redis.value(key).expect("the key has just been listed");
        Shared {
            client,
            key: key.clone(),
            value,
        }
    }

    /// Waits until an instance uses the clients of its peers: it is subscribed, and has read the
    /// change log since.
    pub fn await_peer_cache(&self, instance: &Server) {
        let hits = || count(instance, "mintage_redis_cache_hits_total");
        let before = hits();
        eventually("the instance uses the peer cache", POLL_TIMEOUT, || {
            assert_eq!(token_status(instance, &self.share().client), 200);
            (hits() > before).then_some(())
        });
    }

    /// The number of clients that an instance takes from its peers during `work`.
    pub fn hits(&self, instance: &Server, work: impl FnOnce()) -> u64 {
        let hits = || count(instance, "mintage_redis_cache_hits_total");
        let before = hits();
        work();
        hits() - before
    }
}

/// A cold instance that is ready.
pub fn start(database: &str, redis: &str, environment: &[(&str, &str)]) -> Server {
    let settings = [
        ("MINTAGE_REDIS__URL", redis),
        ("MINTAGE_CACHE__WARM", "0"),
        // One worker, so that what it has loaded is cached for the next request.
        ("MINTAGE_SERVER__WORKERS", "1"),
        ("MINTAGE_DATABASE__POOL__MAX_SIZE", "4"),
        ("MINTAGE_DATABASE__POOL__MIN_IDLE", "1"),
    ];
    testkit::program!()
        .on(database, &[&settings, environment].concat())
        .serve(&[])
}

/// Waits until the instance is connected to Redis, subscription included.
pub fn await_redis(instance: &Server) {
    eventually("the instance is connected", POLL_TIMEOUT, || {
        (metric(instance, "mintage_redis_up") == Some(1.0)).then_some(())
    });
}

/// The value of a metric of an instance.
pub fn metric(instance: &Server, name: &str) -> Option<f64> {
    instance.metrics().value(name)
}

/// As [`metric`], for a counter, which always exists.
pub fn count(instance: &Server, name: &str) -> u64 {
    metric(instance, name).unwrap_or_else(|| panic!("there is no {name}")) as u64
}

pub fn token(instance: &Server, client: &TestClient) -> Response {
    let form = [("grant_type", "client_credentials")];
    instance.send(&Request::post("/token").basic(client).form(&form))
}

pub fn token_status(instance: &Server, client: &TestClient) -> u16 {
    token(instance, client).status
}

/// The client with a wrong secret.
pub fn with_wrong_secret(client: &TestClient) -> TestClient {
    TestClient {
        id: client.id.clone(),
        secret: "wrong".into(),
    }
}

/// Revokes a token at one instance.
pub fn revoke(instance: &Server, client: &TestClient, token: &str) {
    let answer = instance.send(&Request::post("/revoke").basic(client).form(&[("token", token)]));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Whether an instance reports a token as active.
pub fn is_active(instance: &Server, client: &TestClient, token: &str) -> bool {
    let answer = instance.send(&Request::post("/introspect").basic(client).form(&[("token", token)]));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["active"] == true
}
