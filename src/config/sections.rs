//! The sections of `mintage.toml`, with their defaults. `mintage.example.toml` says what each key is for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::proxies::TrustedProxies;
use super::units::{ByteSize, Duration, SecretValue};

/// The whole configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[database]`
    pub database: Database,
    /// `[token]`
    pub token: Token,
    /// `[cache]`
    pub cache: Cache,
    /// `[writer]`
    pub writer: Writer,
    /// `[keys]`
    pub keys: Keys,
    /// `[janitor]`
    pub janitor: Janitor,
    /// `[redis]`
    pub redis: Redis,
    /// `[limits]`
    pub limits: Limits,
    /// `[log]`
    pub log: Log,
}

impl Config {
    /// The keys whose values differ, written like `cache.ttl`.
    pub fn differences(&self, other: &Config) -> Vec<String> {
        let table = |config: &Config| toml::Value::try_from(config).expect("every section is made of TOML's own types");
        let mut differing = Vec::new();
        collect_differences("", &table(self), &table(other), &mut differing);
        // Secret values look alike whatever they are.
        if self.keys.encryption_key != other.keys.encryption_key {
            differing.push("keys.encryption_key".into());
        }
        differing
    }
}

fn collect_differences(path: &str, a: &toml::Value, b: &toml::Value, differing: &mut Vec<String>) {
    match (a, b) {
        (toml::Value::Table(a), toml::Value::Table(b)) => {
            for (key, value) in a {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match b.get(key) {
                    Some(other) => collect_differences(&path, value, other, differing),
                    None => differing.push(path),
                }
            }
        }
        _ if a != b => differing.push(path.to_owned()),
        _ => {}
    }
}

/// `[server]`: where it listens and what it takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port; port 0 takes a free one.
    pub listen: String,
    /// The `iss` of every token and the base of the URLs in the metadata.
    pub issuer: String,
    /// Worker threads; 0 is one a core.
    pub workers: usize,
    /// A second listener for `/admin`; empty serves it on the first.
    pub admin_listen: String,
    /// How long an orderly stop may take.
    pub shutdown_timeout: Duration,
    /// How long it still takes connections when it has been asked to stop and says that it is not ready.
    pub drain_delay: Duration,
    /// How long a connection may be idle between two requests.
    pub keep_alive: Duration,
    /// Peers that are believed about the original request: addresses and CIDR ranges.
    pub trusted_proxies: TrustedProxies,
    /// The largest request body.
    pub max_body: ByteSize,
    /// How long the head and the body of a request may each take to arrive.
    pub request_timeout: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            issuer: "http://127.0.0.1:8080".into(),
            workers: 0,
            admin_listen: String::new(),
            shutdown_timeout: Duration::seconds(30),
            drain_delay: Duration::millis(300),
            keep_alive: Duration::seconds(130),
            trusted_proxies: TrustedProxies::default(),
            max_body: ByteSize(16 << 10),
            request_timeout: Duration::seconds(5),
        }
    }
}

/// `[database]`: where the state is.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://…`.
    pub url: String,
    /// Read replicas of the same PostgreSQL.
    pub replica_urls: Vec<String>,
    /// The deadline of one call, waiting for a connection included.
    pub query_timeout: Duration,
    /// Whether `serve` brings the schema up to date.
    pub auto_migrate: bool,
    /// `[database.pool]`
    pub pool: Pool,
    /// `[database.breaker]`
    pub breaker: Breaker,
}

/// Its URLs may hold passwords.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database(…)")
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "sqlite:mintage.db".into(),
            replica_urls: Vec::new(),
            query_timeout: Duration::seconds(2),
            auto_migrate: true,
            pool: Pool::default(),
            breaker: Breaker::default(),
        }
    }
}

/// `[database.pool]`: r2d2's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// The most connections.
    pub max_size: u32,
    /// Connections kept open though nobody uses them.
    pub min_idle: u32,
    /// A connection older than this is replaced when it is idle.
    pub max_lifetime: Duration,
    /// An idle connection above `min_idle` is closed after this.
    pub idle_timeout: Duration,
    /// How long a call waits for a connection.
    pub connection_timeout: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            max_size: 25,
            min_idle: 5,
            max_lifetime: Duration::seconds(300),
            idle_timeout: Duration::seconds(120),
            connection_timeout: Duration::seconds(1),
        }
    }
}

/// `[database.breaker]`: when to stop asking a database that does not answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// The share of failed calls, 0 to 1, that opens it.
    pub failure_rate: f64,
    /// The number of calls that the share is taken of.
    pub window: u32,
    /// How long it stays open before one call is let through.
    pub open_for: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failure_rate: 0.5,
            window: 20,
            open_for: Duration::seconds(5),
        }
    }
}

/// `[token]`: what a token is like unless the client says otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Token {
    /// Lifetime.
    pub ttl: Duration,
    /// Signing algorithm.
    pub alg: String,
    /// The `aud` where the request names no resource; empty is the issuer.
    pub audience: String,
    /// The longest lifetime of a one-time token.
    pub one_time_ttl: Duration,
}

impl Default for Token {
    fn default() -> Self {
        Self {
            ttl: Duration::seconds(3600),
            alg: "ES256".into(),
            audience: String::new(),
            one_time_ttl: Duration::seconds(120),
        }
    }
}

/// `[cache]`: the client cache of each worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Off, every request reads its client from the database.
    pub enabled: bool,
    /// Clients kept by each worker.
    pub capacity: usize,
    /// An entry older than this is loaded again.
    pub ttl: Duration,
    /// How long "no such client" is remembered.
    pub negative_ttl: Duration,
    /// How long past its ttl an entry may be served while the database cannot be reached.
    pub stale_if_error: Duration,
    /// How many recently used clients are loaded before the server is ready.
    pub warm: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            enabled: true,
            capacity: 5000,
            ttl: Duration::seconds(600),
            negative_ttl: Duration::seconds(5),
            stale_if_error: Duration::seconds(3600),
            warm: 1000,
        }
    }
}

/// `[writer]`: how the records of issued tokens reach the database.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Writer {
    /// In batches, or each before its answer.
    pub mode: WriterMode,
    /// Whether an answer waits for the commit of its batch.
    pub durability: Durability,
    /// Records that make a batch full.
    pub max_batch: usize,
    /// The longest that the first record of a batch waits.
    pub flush_interval: Duration,
    /// Records that may wait; beyond, tokens are refused.
    pub max_pending: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            mode: WriterMode::Batch,
            durability: Durability::Async,
            max_batch: 1000,
            flush_interval: Duration::millis(250),
            max_pending: 100_000,
        }
    }
}

/// `writer.mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WriterMode {
    /// Records are written in batches.
    Batch,
    /// Each record is written before its answer: the "before" of the comparison in `docs/benchmarks.md`.
    Sync,
}

/// `writer.durability`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The answer does not wait for its record.
    Async,
    /// The answer waits until the batch of its record is committed.
    Group,
}

/// `[keys]`: the signing keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// How often a new key takes over.
    pub rotate_every: Duration,
    /// How long a key is published before it signs; never less than `jwks_max_age` and 5 s.
    pub publish_before: Duration,
    /// How long a verifier may keep the JWKS.
    pub jwks_max_age: Duration,
    /// 32 bytes in base64 that private keys are encrypted with in the database; empty leaves them in the clear.
    pub encryption_key: SecretValue,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            rotate_every: Duration::seconds(90 * 24 * 3600),
            publish_before: Duration::seconds(3600),
            jwks_max_age: Duration::seconds(900),
            encryption_key: SecretValue::default(),
        }
    }
}

/// `[janitor]`: the removal of what has expired.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Janitor {
    /// How often it runs.
    pub interval: Duration,
    /// How long what has expired is kept.
    pub keep_expired: Duration,
}

impl Default for Janitor {
    fn default() -> Self {
        Self {
            interval: Duration::seconds(60),
            keep_expired: Duration::seconds(24 * 3600),
        }
    }
}

/// `[redis]`: the accelerator for several instances.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// Where it is; empty is none.
    pub url: String,
}

/// Its URL may hold a password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis(…)")
    }
}

/// `[limits]`: what is refused because there was too much of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Failed authentications a minute of one client id at one address; an address as a whole may fail 10 times as often.
    /// 0 turns both limits off.
    pub auth_failures_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            auth_failures_per_minute: 30,
        }
    }
}

/// `[log]`: levels come from `RUST_LOG`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Text for people or JSON lines for machines.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
        }
    }
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of text an event.
    Text,
    /// One JSON object an event.
    Json,
}
