//! Validates the ranges and formats that types do not ensure. Each error names the key and the
//! accepted values.

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine;

use super::database_url::DatabaseUrl;
use super::load::read_secret_file;
use super::locality::is_loopback;
use super::{Config, ConfigError, Duration, Sources};
use crate::encoding::STANDARD;
use crate::oauth::alg::Alg;
use crate::oauth::bounds::MAX_AUDIENCE;
use crate::oauth::bounds::{MAX_BODY, MAX_FORM};
use crate::oauth::client::TTL_SECONDS;
use crate::oauth::metadata::endpoint_base;
use crate::oauth::resource::{is_absolute_uri, is_audience};
use crate::oauth::token_form::{ScopeClaim, TokenType};

/// Maximum number of replicas. Each has its own pool.
const MAX_REPLICAS: usize = 16;

/// Ten years: in practice never.
const MAX_ROTATE_EVERY: Duration = Duration::seconds(3650 * 24 * 3600);

/// A verifier that fetches the JWKS less than once a month will miss a rotation anyway.
const MAX_PUBLISH_BEFORE: Duration = Duration::seconds(30 * 24 * 3600);

impl Config {
    /// Checks every range and format that the types do not ensure.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let server = &self.server;
        require(
            "server.listen",
            "an address and a port, as in 127.0.0.1:8080",
            is_address(&server.listen),
        )?;
        let admin_ok = server.admin_listen.is_empty() || is_address(&server.admin_listen);
        require(
            "server.admin_listen",
            "empty, or an address and a port, as in 127.0.0.1:8081",
            admin_ok,
        )?;
        // Port 0 takes a free port for each.
        require(
            "server.admin_listen",
            "empty, or different from server.listen",
            server.admin_listen != server.listen || server.listen.ends_with(":0"),
        )?;
        require(
            "server.issuer",
            "an https URL of at most 512 bytes without query or fragment (http only for loopback), as RFC 8414 §2 requires; for \
             example https://auth.example.com",
            is_issuer(&server.issuer),
        )?;
        require(
            "server.issuer",
            "a URL whose path has no empty segment, `.`, `..`, `%` or `*` and does not begin with /admin, /console, \
             /validate or /.well-known, because the endpoints are served below it",
            endpoint_base(&server.issuer).is_some(),
        )?;
        require("server.workers", "at most 1024", server.workers <= 1024)?;
        require(
            "server.max_body",
            "from 32KiB, so that every token request fits, to 16MiB",
            (MAX_FORM..=MAX_BODY).contains(&server.max_body.0),
        )?;
        positive("server.request_timeout", server.request_timeout)?;
        for (key, max) in [
            ("server.max_connections", server.max_connections),
            ("server.max_connections_per_address", server.max_connections_per_address),
        ] {
            require(key, "at most 1000000", max <= 1_000_000)?;
        }
        positive("server.shutdown_timeout", server.shutdown_timeout)?;
        positive("server.keep_alive", server.keep_alive)?;
        require(
            "server.drain_delay",
            "less than server.shutdown_timeout",
            server.drain_delay < server.shutdown_timeout,
        )?;
        self.validate_database()?;
        self.validate_token()?;
        require(
            "cache.capacity",
            "from 1 to 10000000",
            (1..=10_000_000).contains(&self.cache.capacity),
        )?;
        positive("cache.ttl", self.cache.ttl)?;
        require(
            "cache.warm",
            "at most cache.capacity",
            self.cache.warm <= self.cache.capacity,
        )?;
        let writer = &self.writer;
        require(
            "writer.max_batch",
            "from 1 to 10000",
            (1..=10_000).contains(&writer.max_batch),
        )?;
        let in_range = (writer.max_batch..=100_000_000).contains(&writer.max_pending);
        require("writer.max_pending", "from writer.max_batch to 100000000", in_range)?;
        positive("writer.flush_interval", writer.flush_interval)?;
        positive("janitor.interval", self.janitor.interval)?;
        require(
            "limits.auth_failures_per_minute",
            "from 0 to 1000000",
            self.limits.auth_failures_per_minute <= 1_000_000,
        )?;
        require(
            "redis.url",
            "empty, or redis://[USER:PASSWORD@]HOST[:PORT][/DB]; TLS (rediss://) needs a tunnel such as stunnel",
            self.redis.url.is_empty() || is_redis_url(&self.redis.url),
        )?;
        self.bootstrap.client()?;
        self.validate_keys()
    }

    fn validate_keys(&self) -> Result<(), ConfigError> {
        let keys = &self.keys;
        let in_range = (Duration::seconds(1)..=MAX_ROTATE_EVERY).contains(&keys.rotate_every);
        require("keys.rotate_every", "from 1s to 3650d", in_range)?;
        for (key, time) in [
            ("keys.publish_before", keys.publish_before),
            ("keys.jwks_max_age", keys.jwks_max_age),
        ] {
            require(key, "at most 30d", time <= MAX_PUBLISH_BEFORE)?;
        }
        self.encryption_key()?;
        Ok(())
    }

    fn validate_database(&self) -> Result<(), ConfigError> {
        let database = &self.database;
        check_database_url("database.url", &database.url)?;
        let is_postgres = |url: &String| DatabaseUrl::parse(url).is_ok();
        let replicas = &database.replica_urls;
        require(
            "database.replica_urls",
            "at most 16 of postgres://USER:PASSWORD@HOST/NAME?PARAMETER=VALUE, replicas of a database.url that is one too; special characters must be percent-encoded",
            replicas.is_empty()
                || replicas.len() <= MAX_REPLICAS && is_postgres(&database.url) && replicas.iter().all(is_postgres),
        )?;
        for url in replicas {
            known_values("database.replica_urls", url)?;
        }
        positive("database.query_timeout", database.query_timeout)?;
        let pool = &database.pool;
        require(
            "database.pool.max_size",
            "from 1 to 1000",
            (1..=1000).contains(&pool.max_size),
        )?;
        require(
            "database.pool.min_idle",
            "at most database.pool.max_size",
            pool.min_idle <= pool.max_size,
        )?;
        positive("database.pool.max_lifetime", pool.max_lifetime)?;
        positive("database.pool.idle_timeout", pool.idle_timeout)?;
        positive("database.pool.connection_timeout", pool.connection_timeout)?;
        let breaker = &database.breaker;
        let rate_ok = breaker.failure_rate > 0.0 && breaker.failure_rate <= 1.0;
        require("database.breaker.failure_rate", "above 0 and at most 1", rate_ok)?;
        require(
            "database.breaker.window",
            "from 1 to 10000",
            (1..=10_000).contains(&breaker.window),
        )?;
        positive("database.breaker.open_for", breaker.open_for)
    }

    fn validate_token(&self) -> Result<(), ConfigError> {
        let token = &self.token;
        for (key, ttl) in [("token.ttl", token.ttl), ("token.one_time_ttl", token.one_time_ttl)] {
            require(key, "from 1s to 30d", TTL_SECONDS.contains(&ttl.as_seconds()))?;
        }
        require(
            "token.alg",
            "one of ES256, EdDSA, RS256, PS256, HS256",
            token.alg.parse::<Alg>().is_ok(),
        )?;
        for (key, rule) in [
            ("token.scope_claim", token.scope_claim.parse::<ScopeClaim>().err()),
            ("token.typ", token.typ.parse::<TokenType>().err()),
        ] {
            require(key, rule.unwrap_or_default(), rule.is_none())?;
        }
        let audience_ok = is_audience(&token.audience) && token.audience != self.admin_audience();
        require(
            "token.audience",
            "empty, or printable ASCII without spaces, at most 512 bytes, but not the audience of /admin (the issuer \
             followed by /admin)",
            token.audience.is_empty() || audience_ok,
        )
    }

    /// The audience of a token whose request has no `resource`.
    pub fn default_audience(&self) -> &str {
        if self.token.audience.is_empty() {
            &self.server.issuer
        } else {
            &self.token.audience
        }
    }

    /// Whether callers on other machines may read `/metrics` without a token, on the listener that
    /// clients reach.
    pub fn exposes_metrics(&self) -> bool {
        let server = &self.server;
        server.open_metrics && server.admin_listen.is_empty() && is_beyond_loopback(&server.listen)
    }

    /// The audience of a token for `/admin`.
    pub fn admin_audience(&self) -> String {
        format!("{}/admin", self.server.issuer.trim_end_matches('/'))
    }

    /// The key that encrypts private keys, if one is set.
    ///
    /// # Errors
    /// The value is not 32 bytes in base64, or evidently not random.
    pub fn encryption_key(&self) -> Result<Option<zeroize::Zeroizing<[u8; 32]>>, ConfigError> {
        let text = self.keys.encryption_key.reveal();
        if text.is_empty() {
            return Ok(None);
        }
        let Some(key) = decoded(text) else {
            return Err(ConfigError(
                "keys.encryption_key must be 32 bytes in base64: generate one with `openssl rand -base64 32`".into(),
            ));
        };
        let mut steps = key.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
        let first = steps.next();
        // Zeros and other repeated bytes, and bytes that count.
        if steps.all(|step| Some(step) == first) {
            return Err(ConfigError(
                "keys.encryption_key must be random: generate one with `openssl rand -base64 32`".into(),
            ));
        }
        Ok(Some(key))
    }
}

/// The encryption key in the file of a command line option. It may be one that
/// [`Config::encryption_key`] rejects: keys that it has encrypted can be encrypted with another.
///
/// # Errors
/// The file cannot be read, does not hold 32 bytes in base64, or every user of the machine can
/// change it.
pub fn encryption_key_in(option: &str, path: &Path) -> Result<zeroize::Zeroizing<[u8; 32]>, ConfigError> {
    let text = zeroize::Zeroizing::new(read_secret_file(option, path.as_os_str())?);
    decoded(&text).ok_or_else(|| ConfigError(format!("the file of {option} must hold 32 bytes in base64")))
}

fn decoded(text: &str) -> Option<zeroize::Zeroizing<[u8; 32]>> {
    let bytes = zeroize::Zeroizing::new(STANDARD.decode(text).ok()?);
    <[u8; 32]>::try_from(bytes.as_slice()).ok().map(zeroize::Zeroizing::new)
}

fn require(key: &str, accepted: &str, is_valid: bool) -> Result<(), ConfigError> {
    if is_valid {
        return Ok(());
    }
    Err(ConfigError(format!("{key} must be {accepted}")))
}

impl Sources {
    /// Checks `--database-url` by itself: a wrong one is a wrong use of the command line.
    ///
    /// # Errors
    /// It is not the URL of a database.
    pub fn check_flags(&self) -> Result<(), ConfigError> {
        match &self.database_url {
            Some(url) => check_database_url("--database-url", url),
            None => Ok(()),
        }
    }
}

/// Checks the URL of the primary, which an error calls `key`.
fn check_database_url(key: &str, url: &str) -> Result<(), ConfigError> {
    require(
        key,
        "sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME?PARAMETER=VALUE with parameters of libpq; special characters must be percent-encoded",
        is_database_url(url),
    )?;
    known_values(key, url)
}

fn known_values(key: &str, url: &str) -> Result<(), ConfigError> {
    match DatabaseUrl::parse(url).as_ref().map(DatabaseUrl::unknown_value) {
        Ok(Some(parameter)) => Err(ConfigError(format!(
            "{key} has a value of {parameter} that libpq does not know"
        ))),
        _ => Ok(()),
    }
}

fn positive(key: &str, duration: Duration) -> Result<(), ConfigError> {
    require(key, "at least 1ms", duration.as_millis() > 0)
}

/// Whether other machines can reach a listener at this address.
pub(super) fn is_beyond_loopback(address: &str) -> bool {
    let address = address.parse::<SocketAddr>();
    address.is_ok_and(|address| !address.ip().to_canonical().is_loopback())
}

fn is_address(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok()
}

/// https without query or fragment; http only for loopback (docs/protocol.md#p48).
fn is_issuer(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else {
        return false;
    };
    let Some(host) = url.host_str() else {
        return false;
    };
    let loopback = is_loopback(host.trim_start_matches('[').trim_end_matches(']'));
    let scheme_ok = url.scheme() == "https" || url.scheme() == "http" && loopback;
    let bare = !text.contains(['?', '#']) && url.username().is_empty() && url.password().is_none();
    scheme_ok && bare && text.len() <= MAX_AUDIENCE && is_absolute_uri(text)
}

fn is_database_url(text: &str) -> bool {
    match text.split_once(':') {
        Some(("sqlite", path)) => !matches!(path.trim_start_matches("//"), "" | ":memory:"),
        _ => DatabaseUrl::parse(text).is_ok(),
    }
}

fn is_redis_url(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else {
        return false;
    };
    let database = url.path().trim_start_matches('/');
    let bare = url.query().is_none() && url.fragment().is_none();
    url.scheme() == "redis" && url.has_host() && bare && (database.is_empty() || database.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn p48_the_issuer_is_https_or_loopback_without_query_or_fragment() {
        for good in [
            "https://auth.example.com",
            "https://a/tenant",
            "http://127.0.0.1:8080",
            "http://localhost",
            "http://[::1]:80",
        ] {
            assert!(is_issuer(good), "{good}");
        }
        for bad in [
            "",
            "auth.example.com",
            "http://auth.example.com",
            "https://a/?x",
            "https://a/#",
            "https://u:p@a",
            "urn:a",
            "ftp://a",
        ] {
            assert!(!is_issuer(bad), "{bad}");
        }
    }

    #[test]
    fn database_urls_name_a_file_or_a_server() {
        for good in [
            "sqlite:mintage.db",
            "sqlite:///var/lib/mintage.db",
            "postgres://m@localhost/m",
            "postgresql://h/d",
        ] {
            assert!(is_database_url(good), "{good}");
        }
        // Each connection would have its own in-memory database, so a pool would have several.
        for bad in [
            "",
            "mintage.db",
            "sqlite:",
            "sqlite::memory:",
            "mysql://h/d",
            "postgres:h",
            "postgres://m:hun/ter2@h/d",
        ] {
            assert!(!is_database_url(bad), "{bad}");
        }
    }

    #[test]
    fn a_redis_url_names_a_server_and_at_most_a_database() {
        for good in [
            "redis://localhost",
            "redis://:secret@redis:6380/1",
            "redis://u:p@[::1]/",
        ] {
            assert!(is_redis_url(good), "{good}");
        }
        for bad in [
            "",
            "redis",
            "localhost:6379",
            "redis://",
            "rediss://redis",
            "redis://redis/one",
            "redis://redis?protocol=resp3",
        ] {
            assert!(!is_redis_url(bad), "{bad}");
        }
    }

    #[test]
    fn g8_debug_does_not_reveal_the_password_of_a_url() {
        let mut config = Config::default();
        config.database.url = "postgres://m:hunter2@db/m".into();
        config.database.replica_urls = vec!["postgres://m:hunter2@replica/m".into()];
        config.redis.url = "redis://:hunter2@redis/0".into();
        config.keys.encryption_key = "hunter2".to_owned().into();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn an_error_about_a_range_names_the_key() {
        let error_of = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().unwrap_err().0
        };
        assert!(error_of(|c| c.token.ttl = Duration::seconds(31 * 24 * 3600)).starts_with("token.ttl"));
        assert!(error_of(|c| c.token.alg = "none".into()).starts_with("token.alg"));
        assert_eq!(
            error_of(|c| c.token.typ = "jwt".into()),
            "token.typ must be at+jwt or JWT"
        );
        assert!(error_of(|c| c.token.scope_claim = "list".into()).starts_with("token.scope_claim must be scope"));
        let for_admin = |c: &mut Config| {
            c.server.issuer = "https://issuer/".into();
            c.token.audience = "https://issuer/admin".into();
        };
        assert!(error_of(for_admin).starts_with("token.audience"));
        assert!(error_of(|c| c.token.audience = "the broker".into()).starts_with("token.audience"));
        let mut broker = Config::default();
        broker.token.audience = "rabbitmq".into();
        broker.validate().unwrap();
        assert!(error_of(|c| c.writer.max_pending = 10).starts_with("writer.max_pending"));
        assert!(error_of(|c| c.database.pool.min_idle = 26).starts_with("database.pool.min_idle"));
        assert!(
            error_of(|c| c.database.replica_urls = vec!["postgres://m@replica/m".into()])
                .starts_with("database.replica_urls")
        );
        assert!(error_of(|c| c.keys.rotate_every = Duration::millis(999)).starts_with("keys.rotate_every"));
        assert!(error_of(|c| c.keys.rotate_every = Duration::seconds(3651 * 86_400)).starts_with("keys.rotate_every"));
        assert!(
            error_of(|c| c.keys.publish_before = Duration::seconds(31 * 86_400)).starts_with("keys.publish_before")
        );
        assert!(error_of(|c| c.keys.jwks_max_age = Duration::seconds(31 * 86_400)).starts_with("keys.jwks_max_age"));
        assert!(error_of(|c| c.keys.encryption_key = "short".to_owned().into()).starts_with("keys.encryption_key"));
        assert!(error_of(|c| c.database.breaker.failure_rate = 0.0).starts_with("database.breaker.failure_rate"));
        assert!(
            error_of(|c| c.limits.auth_failures_per_minute = 1_000_001).starts_with("limits.auth_failures_per_minute")
        );
        assert!(error_of(|c| c.server.listen = "8080".into()).starts_with("server.listen"));
        let tls = error_of(|c| c.redis.url = "rediss://:hunter2@redis".into());
        assert!(tls.starts_with("redis.url must be") && tls.contains("rediss://) needs a tunnel"));
        assert!(!tls.contains("hunter2"));
    }

    #[test]
    fn an_old_encryption_key_may_be_one_that_is_not_random() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.key");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            encryption_key_in("--from-file", &path)
        };
        assert_eq!(*read(&format!("{}\n", STANDARD.encode([0; 32]))).unwrap(), [0; 32]);
        for text in ["hunter2", &STANDARD.encode([0; 31])] {
            let expected = "the file of --from-file must hold 32 bytes in base64";
            assert_eq!(read(text).unwrap_err().0, expected);
        }
        assert_eq!(read("").unwrap_err().0, "--from-file: the file is empty");
        let endless = encryption_key_in("--from-file", Path::new("/dev/zero"));
        assert_eq!(endless.unwrap_err().0, "--from-file: the file is larger than 64 KiB");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        let error = encryption_key_in("--from-file", &path).unwrap_err().0;
        assert!(error.starts_with("the file of --from-file has mode 0666"), "{error}");
    }

    #[test]
    fn an_encryption_key_that_is_evidently_not_random_is_rejected() {
        let key = |bytes: [u8; 32]| {
            let mut config = Config::default();
            config.keys.encryption_key = STANDARD.encode(bytes).into();
            config.encryption_key()
        };
        let counting = |step: u8| std::array::from_fn(|at| (at as u8).wrapping_mul(step).wrapping_add(200));
        for bad in [[0; 32], [7; 32], [255; 32], counting(1), counting(255), counting(16)] {
            assert!(
                key(bad)
                    .unwrap_err()
                    .0
                    .starts_with("keys.encryption_key must be random"),
                "{bad:?}"
            );
        }
        let mut almost = [0; 32];
        almost[31] = 1;
        assert!(key(almost).is_ok());
        assert!(key(*b"hunter2hunter2hunter2hunter2hunt").is_ok());
    }
}
