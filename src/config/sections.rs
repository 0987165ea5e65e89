//! The sections of `mintage.toml` with their defaults. `mintage.example.toml` describes each key.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::bootstrap::Bootstrap;
use super::cors_origins::CorsOrigins;
use super::proxies::TrustedProxies;
use super::units::{ByteSize, Duration, SecretValue};
use crate::oauth::bounds::MAX_FORM;

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
    /// `[audit]`
    pub audit: Audit,
    /// `[bootstrap]`
    pub bootstrap: Bootstrap,
}

impl Config {
    /// The keys whose values differ, such as `cache.ttl`.
    pub fn differences(&self, other: &Config) -> Vec<String> {
        let table = |config: &Config| toml::Value::try_from(config).expect("every section consists of TOML types");
        let mut differing = Vec::new();
        collect_differences("", &table(self), &table(other), &mut differing);
        // A secret value is always serialized as the same text, so compare it here.
        for (key, a, b) in [
            (
                "keys.encryption_key",
                &self.keys.encryption_key,
                &other.keys.encryption_key,
            ),
            (
                "bootstrap.client_secret",
                &self.bootstrap.client_secret,
                &other.bootstrap.client_secret,
            ),
        ] {
            if a != b {
                differing.push(key.into());
            }
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

/// `[server]`: listeners and limits of requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port. Port 0 selects a free port.
    pub listen: String,
    /// The `iss` of every token, and the base of the URLs in the metadata. If it is not set, it
    /// follows `listen` on loopback.
    pub issuer: String,
    /// Number of worker threads; 0 for one per core.
    pub workers: usize,
    /// Address of a separate listener for `/admin`. If empty, the main listener serves it.
    pub admin_listen: String,
    /// Whether `/metrics` needs no token. On `admin_listen` it never does.
    pub open_metrics: bool,
    /// Maximum duration of an orderly shutdown.
    pub shutdown_timeout: Duration,
    /// How long the server accepts connections after it was asked to stop and has reported that it
    /// is not ready.
    pub drain_delay: Duration,
    /// How long a connection may be idle between two requests.
    pub keep_alive: Duration,
    /// Gateways that may ask `/validate` about the original request: IP addresses and CIDR ranges.
    pub trusted_proxies: TrustedProxies,
    /// Proxies whose `X-Forwarded-For` is believed: IP addresses and CIDR ranges.
    pub client_ip_proxies: TrustedProxies,
    /// Origins whose pages may call `/token`, `/introspect` and `/revoke`.
    pub cors_origins: CorsOrigins,
    /// Maximum size of a request body.
    pub max_body: ByteSize,
    /// How long a request may take to arrive, and how long a peer may take to read some of a response.
    pub request_timeout: Duration,
    /// Maximum number of connections to the main listener; 0 for what the limit of open files
    /// allows, at most 10,000.
    pub max_connections: usize,
    /// Maximum number of connections from one address; 0 for a quarter of all. Proxies have no
    /// such maximum.
    pub max_connections_per_address: usize,
}

impl Server {
    /// Sets the issuer, which no source has set: the address of a listener on loopback. A listener
    /// beyond loopback has a name that only its operator knows, and port 0 is not known yet.
    pub(super) fn follow_listen(&mut self) {
        if let Ok(listen) = self.listen.parse::<SocketAddr>()
            && let ip = listen.ip().to_canonical()
            && ip.is_loopback()
            && listen.port() != 0
        {
            self.issuer = format!("http://{}", SocketAddr::new(ip, listen.port()));
        }
    }

    /// The lists of proxies, by key.
    pub(super) fn proxies(&self) -> [(&'static str, &TrustedProxies); 2] {
        [
            ("server.trusted_proxies", &self.trusted_proxies),
            ("server.client_ip_proxies", &self.client_ip_proxies),
        ]
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            issuer: "http://127.0.0.1:8080".into(),
            workers: 0,
            admin_listen: String::new(),
            open_metrics: false,
            shutdown_timeout: Duration::seconds(30),
            drain_delay: Duration::millis(300),
            keep_alive: Duration::seconds(130),
            trusted_proxies: TrustedProxies::default(),
            client_ip_proxies: TrustedProxies::NONE,
            cors_origins: CorsOrigins::default(),
            max_body: ByteSize(MAX_FORM),
            request_timeout: Duration::seconds(5),
            max_connections: 0,
            max_connections_per_address: 0,
        }
    }
}

/// `[database]`: the location of the database and the limits of calls to it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://…`.
    pub url: String,
    /// Read replicas of the same PostgreSQL server.
    pub replica_urls: Vec<String>,
    /// The deadline of a call, including the wait for a connection.
    pub query_timeout: Duration,
    /// Whether `serve` applies pending migrations.
    pub auto_migrate: bool,
    /// `[database.pool]`
    pub pool: Pool,
    /// `[database.breaker]`
    pub breaker: Breaker,
}

/// Not derived, because the URLs may contain passwords.
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

/// `[database.pool]`: the settings of r2d2.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// Maximum number of connections.
    pub max_size: u32,
    /// Minimum number of idle connections.
    pub min_idle: u32,
    /// Maximum age of a connection. An older one is replaced once it is idle.
    pub max_lifetime: Duration,
    /// How long a connection beyond `min_idle` may be idle before it is closed.
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

/// `[database.breaker]`: when calls to a failing database are rejected.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// The share of failed calls that opens the circuit breaker, above 0 and at most 1.
    pub failure_rate: f64,
    /// The number of recent calls that the share is computed from.
    pub window: u32,
    /// How long the circuit breaker stays open before a trial call.
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

/// `[token]`: the defaults for tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Token {
    /// Lifetime.
    pub ttl: Duration,
    /// Signing algorithm.
    pub alg: String,
    /// The `aud` if the request has no `resource` and no `audience`; empty for the issuer.
    pub audience: String,
    /// Maximum lifetime of a one-time token.
    pub one_time_ttl: Duration,
    /// `scope`, or `scp` for the scope as an array as well.
    pub scope_claim: String,
    /// The `typ` in the header: `at+jwt` or `JWT`.
    pub typ: String,
}

impl Default for Token {
    fn default() -> Self {
        Self {
            ttl: Duration::seconds(3600),
            alg: "ES256".into(),
            audience: String::new(),
            one_time_ttl: Duration::seconds(120),
            scope_claim: "scope".into(),
            typ: "at+jwt".into(),
        }
    }
}

/// `[cache]`: the client cache of each worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// If `false`, every request reads its client from the database.
    pub enabled: bool,
    /// Maximum number of clients in the cache of each worker.
    pub capacity: usize,
    /// An entry older than this is loaded again.
    pub ttl: Duration,
    /// How long an unknown client id is cached.
    pub negative_ttl: Duration,
    /// How long beyond its `ttl` an entry may be used while the database cannot be reached.
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

/// `[writer]`: how the records of issued tokens are written to the database.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Writer {
    /// Whether records are written in batches, or each before its response.
    pub mode: WriterMode,
    /// Whether a response waits for the commit of its batch.
    pub durability: Durability,
    /// Number of records in a full batch.
    pub max_batch: usize,
    /// Maximum time that the first record of a batch waits.
    pub flush_interval: Duration,
    /// Maximum number of pending records. Beyond it, token requests are rejected.
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
    /// Each record is written before its response: the "before" of the comparison in
    /// `docs/benchmarks.md`.
    Sync,
}

/// `writer.durability`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The response does not wait for its record.
    Async,
    /// The response waits until the batch of its record is committed.
    Group,
}

/// `[keys]`: the signing keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// How often a new key is activated.
    pub rotate_every: Duration,
    /// How long a key is published before it signs; at least `jwks_max_age` plus 5 s.
    pub publish_before: Duration,
    /// How long a verifier may cache the JWKS.
    pub jwks_max_age: Duration,
    /// 32 bytes in base64 that encrypt private keys in the database. If empty, they are stored
    /// unencrypted.
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

/// `[janitor]`: the removal of expired rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Janitor {
    /// How often it runs.
    pub interval: Duration,
    /// How long expired rows are kept.
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

/// `[redis]`: the optional Redis that instances share.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// The URL of Redis; empty for none.
    pub url: String,
}

/// Not derived, because the URL may contain a password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis(…)")
    }
}

/// `[limits]`: rate limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Maximum number of failed authentications per minute of one client id from one address. An
    /// address may have 10 times as many. 0 disables both limits.
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
    /// Text for people, or JSON for machines.
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
    /// One line of text per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// `[audit]`: the audit log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Whether successful reads of operators are events too.
    pub reads: bool,
}
