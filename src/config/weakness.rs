//! Settings that are weaker than they should be: the table of what `serve` logs at its start and
//! `config check` prints. `docs/security.md` has the same table; a test compares the two.
//!
//! What is unsafe in any case is an error of the configuration instead. What is listed here may be
//! right where it was set, but must not go unnoticed.

use std::path::Path;

use super::database_url::{DatabaseUrl, variable};
use super::locality::is_loopback;
use super::permissions::check;
use super::validate::is_beyond_loopback;
use super::{Config, ConfigError, Sources};

/// A kind of weak setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Weakness {
    /// A remote PostgreSQL is not verified.
    UnverifiedDatabase,
    /// PostgreSQL may get the password in clear, or need not know it.
    WeakDatabaseAuthentication,
    /// The password of Redis crosses the network in clear.
    RedisInClear,
    /// A listener beyond loopback speaks plain HTTP.
    PlainHttp,
    /// Other machines reach the listener, but not the issuer that tokens and metadata name.
    LoopbackIssuer,
    /// Every caller of the public listener reads the metrics.
    OpenMetrics,
    /// A range of trusted addresses has room for strangers.
    WideRange,
    /// A file with a secret can be read, or changed by its group.
    OpenFile,
    /// A secret is on the command line.
    SecretOnCommandLine,
    /// The encryption key is text.
    TextAsKey,
    /// `serve --dev` is reachable from other machines.
    DevBeyondLoopback,
}

impl Weakness {
    /// The name in the log.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What it means, and what to do.
    pub fn text(self) -> &'static str {
        match self {
            Self::UnverifiedDatabase => {
                "any server that answers at this host is taken for the database, and can read and change everything: set sslmode=verify-full"
            }
            Self::WeakDatabaseAuthentication => {
                "the server may ask for the password in clear, or need not know it: set require_auth=scram-sha-256"
            }
            Self::RedisInClear => {
                "the password crosses the network in clear: use a tunnel such as stunnel, or a private network"
            }
            Self::PlainHttp => {
                "secrets and tokens cross the network in clear unless a proxy that terminates TLS is in front: listen on loopback, or where only that proxy reaches"
            }
            Self::LoopbackIssuer => {
                "tokens and metadata name an address that only this machine reaches: set the URL that clients use, such as https://auth.example.com"
            }
            Self::OpenMetrics => {
                "everyone who can reach this address reads the metrics: set server.open_metrics=false, or server.admin_listen"
            }
            Self::WideRange => {
                "every address in this range is believed about requests and client IPs: list the proxies only"
            }
            Self::OpenFile => "other users of this machine can read or change this file: chmod 600",
            Self::SecretOnCommandLine => {
                "every user of this machine can read the password in the list of processes: set MINTAGE_DATABASE__URL_FILE"
            }
            Self::TextAsKey => {
                "a text is easier to guess than random bytes: generate the next key with `openssl rand -base64 32`"
            }
            Self::DevBeyondLoopback => {
                "the demo clients are for trying Mintage, and one of them may administer it: listen on loopback"
            }
        }
    }
}

/// A weak setting that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The key, the variable or the flag.
    pub key: String,
    /// The kind.
    pub weakness: Weakness,
    /// A mode, a range, an address or a parameter; never a value that may be secret.
    pub detail: Option<String>,
}

impl Found {
    /// A weak setting without a detail.
    pub fn new(key: impl Into<String>, weakness: Weakness) -> Self {
        Self {
            key: key.into(),
            weakness,
            detail: None,
        }
    }

    fn with(key: impl Into<String>, weakness: Weakness, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::new(key, weakness)
        }
    }
}

/// Every weak setting of `config`, which was loaded from `sources`.
///
/// # Errors
/// A file is too open to be used.
pub fn weaknesses(config: &Config, sources: &Sources) -> Result<Vec<Found>, ConfigError> {
    let mut found: Vec<Found> = password_on_command_line(sources).into_iter().collect();
    found.extend(of_databases(config));
    found.extend(redis_in_clear(config));
    found.extend(
        listeners_beyond_loopback(config)
            .into_iter()
            .map(|(key, address)| Found::with(key, Weakness::PlainHttp, address)),
    );
    found.extend(loopback_issuer(config));
    if config.exposes_metrics() {
        found.push(Found::with(
            "server.open_metrics",
            Weakness::OpenMetrics,
            &config.server.listen,
        ));
    }
    for (key, ranges) in config.server.proxies() {
        found.extend(ranges.wide().map(|range| Found::with(key, Weakness::WideRange, range)));
    }
    found.extend(text_as_key(config)?);
    found.extend(open_files(config, sources)?);
    Ok(found)
}

/// A password in `--database-url`, which any command can have.
pub fn password_on_command_line(sources: &Sources) -> Option<Found> {
    let url = DatabaseUrl::parse(sources.database_url.as_deref()?).ok()?;
    let is_found = url.has_password();
    is_found.then(|| Found::new("--database-url", Weakness::SecretOnCommandLine))
}

/// The listeners that other machines can reach: key and address.
pub fn listeners_beyond_loopback(config: &Config) -> Vec<(&'static str, String)> {
    let listeners = [
        ("server.listen", &config.server.listen),
        ("server.admin_listen", &config.server.admin_listen),
    ];
    let beyond = listeners.into_iter().filter(|(_, address)| is_beyond_loopback(address));
    beyond.map(|(key, address)| (key, address.clone())).collect()
}

/// A proxy on this machine may serve the issuer under another name: then that name is the issuer.
fn loopback_issuer(config: &Config) -> Option<Found> {
    let server = &config.server;
    let issuer = url::Url::parse(&server.issuer).ok()?;
    let is_found = is_beyond_loopback(&server.listen) && is_loopback(host_of(&issuer)?);
    is_found.then(|| Found::with("server.issuer", Weakness::LoopbackIssuer, &server.issuer))
}

/// The host of a URL, an IPv6 address without its brackets.
fn host_of(url: &url::Url) -> Option<&str> {
    Some(url.host_str()?.trim_start_matches('[').trim_end_matches(']'))
}

fn of_databases(config: &Config) -> Vec<Found> {
    let primary = ("database.url", &config.database.url);
    let replicas = config
        .database
        .replica_urls
        .iter()
        .map(|url| ("database.replica_urls", url));
    let mut found = Vec::new();
    for (key, url) in std::iter::once(primary).chain(replicas) {
        let Ok(url) = DatabaseUrl::parse(url) else {
            continue;
        };
        // Without the parameter, a remote server is verified.
        let mode = url.parameter("sslmode").filter(|mode| *mode != "verify-full");
        if let Some(mode) = mode.filter(|_| !url.is_local(variable)) {
            found.push(Found::with(
                key,
                Weakness::UnverifiedDatabase,
                format!("sslmode={mode}"),
            ));
        }
        let methods = url.parameter("require_auth");
        if let Some(methods) = methods.filter(|methods| allows_weak_method(methods, url.has_password())) {
            let detail = format!("require_auth={methods}");
            found.push(Found::with(key, Weakness::WeakDatabaseAuthentication, detail));
        }
    }
    found
}

/// Whether a value of libpq's `require_auth` allows methods that give the password away, or that do
/// not prove that the server knows it. An empty one allows only a server that does not ask.
fn allows_weak_method(methods: &str, has_password: bool) -> bool {
    let listed = |method: &str| methods.split(',').any(|listed| listed == method);
    let weak = |method: &str| match methods.starts_with('!') {
        true => !listed(&format!("!{method}")),
        false => listed(method),
    };
    weak("password") || weak("md5") || has_password && (weak("none") || methods.is_empty())
}

fn redis_in_clear(config: &Config) -> Option<Found> {
    let url = url::Url::parse(&config.redis.url).ok()?;
    let host = host_of(&url)?;
    let is_found = url.scheme() == "redis" && url.password().is_some() && !is_loopback(host);
    is_found.then(|| Found::new("redis.url", Weakness::RedisInClear))
}

fn text_as_key(config: &Config) -> Result<Option<Found>, ConfigError> {
    let is_text = |key: &[u8]| key.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let key = config.encryption_key()?.filter(|key| is_text(&key[..]));
    Ok(key.map(|_| Found::new("keys.encryption_key", Weakness::TextAsKey)))
}

fn open_files(config: &Config, sources: &Sources) -> Result<Vec<Found>, ConfigError> {
    let mut open = Vec::new();
    for (key, mode) in config.check_database_files()? {
        open.push(Found::with(key, Weakness::OpenFile, mode));
    }
    for (variable, path, holds_secrets) in sources.files_of_environment() {
        if let Some(mode) = check(&format!("the file of {variable}"), Path::new(path), holds_secrets)? {
            open.push(Found::with(variable, Weakness::OpenFile, mode));
        }
    }
    if let Some((path, name, holds_secrets)) = sources.configuration_file()?
        && let Some(mode) = check(&name, &path, holds_secrets)?
    {
        open.push(Found::with(name, Weakness::OpenFile, mode));
    }
    Ok(open)
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;
    use crate::config::TrustedProxies;

    fn found(change: impl FnOnce(&mut Config)) -> Vec<(String, &'static str, Option<String>)> {
        let mut config = Config::default();
        // No file of this name exists.
        config.database.url = "sqlite:no-such-folder/mintage.db".into();
        change(&mut config);
        let found = weaknesses(&config, &Sources::default()).unwrap();
        found
            .into_iter()
            .map(|found| (found.key, found.weakness.name(), found.detail))
            .collect()
    }

    #[track_caller]
    fn assert_found(key: &str, reason: &str, detail: Option<&str>, change: impl FnOnce(&mut Config)) {
        assert_eq!(found(change), [(key.to_owned(), reason, detail.map(str::to_owned))]);
    }

    #[test]
    fn security_md_lists_every_weak_setting() {
        let document = include_str!("../../docs/security.md");
        let (_, section) = document.split_once("## Weak settings").unwrap();
        let (_, table) = section.split_once("| --- | --- | --- |\n").unwrap();
        let rows = table.lines().take_while(|line| line.starts_with('|'));
        let documented: Vec<(&str, &str)> = rows
            .map(|row| {
                let cells: Vec<&str> = row.split(" | ").collect();
                (cells[0].trim_start_matches("| "), cells[2].trim_end_matches(" |"))
            })
            .collect();
        let names: Vec<String> = Weakness::iter()
            .map(|weakness| format!("`{}`", weakness.name()))
            .collect();
        let listed: Vec<(&str, &str)> = Weakness::iter()
            .zip(&names)
            .map(|(weakness, name)| (name.as_str(), weakness.text()))
            .collect();
        assert_eq!(documented, listed);
    }

    #[test]
    fn the_defaults_are_not_weak() {
        assert_eq!(found(|_| {}), []);
    }

    #[test]
    fn a_remote_database_without_verification_is_weak() {
        for (url, mode) in [
            ("postgres://m:x@db/m", None),
            ("postgres://m:x@db/m?sslmode=verify-full", None),
            ("postgres://m:x@localhost/m?sslmode=disable", None),
            ("postgres:///m?host=/run&sslmode=disable", None),
            ("postgres://m:x@db/m?sslmode=require", Some("require")),
            ("postgres://m:x@db/m?sslm%6Fde=prefer", Some("prefer")),
            ("postgres://m:x@db/m?ssl=true", Some("require")),
            ("postgres://m:x@localhost,db/m?sslmode=verify-ca", Some("verify-ca")),
        ] {
            let found = found(|config| config.database.url = url.into());
            let expected = mode.map(|mode| {
                let detail = Some(format!("sslmode={mode}"));
                ("database.url".to_owned(), "unverified_database", detail)
            });
            assert_eq!(found, Vec::from_iter(expected), "{url}");
        }
        assert_found(
            "database.replica_urls",
            "unverified_database",
            Some("sslmode=disable"),
            |config| {
                config.database.url = "postgres://m@localhost/m".into();
                config.database.replica_urls = vec!["postgres://m@db/m?sslmode=disable".into()];
            },
        );
    }

    #[test]
    fn methods_that_give_the_password_away_or_prove_nothing_are_weak() {
        for (methods, has_password, is_weak) in [
            ("scram-sha-256", true, false),
            ("!password,!md5", false, false),
            ("!password,!md5", true, true),
            ("!password,!md5,!none", true, false),
            ("gss,sspi", true, false),
            ("none", false, false),
            ("none", true, true),
            ("md5", true, true),
            ("scram-sha-256,password", false, true),
            ("!password", false, true),
            ("", true, true),
            ("", false, false),
        ] {
            assert_eq!(
                allows_weak_method(methods, has_password),
                is_weak,
                "{methods} {has_password}"
            );
        }
        let detail = Some("require_auth=md5");
        assert_found("database.url", "weak_database_authentication", detail, |config| {
            config.database.url = "postgres://m:x@localhost/m?require_auth=md5".into();
        });
    }

    #[test]
    fn a_password_for_a_remote_redis_is_weak() {
        for (url, is_weak) in [
            ("redis://:x@redis", true),
            ("redis://u:x@10.0.0.1:6380/1", true),
            ("redis://redis", false),
            ("redis://:x@localhost", false),
            ("redis://:x@[::1]/", false),
        ] {
            let found = found(|config| config.redis.url = url.into());
            assert_eq!(found.iter().any(|found| found.1 == "redis_in_clear"), is_weak, "{url}");
        }
    }

    #[test]
    fn plain_http_beyond_loopback_is_weak() {
        for address in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            assert_found("server.listen", "plain_http", Some(address), |config| {
                config.server.listen = address.into();
                config.server.issuer = "https://auth.example.com".into();
            });
            assert_found("server.admin_listen", "plain_http", Some(address), |config| {
                config.server.admin_listen = address.into();
            });
        }
        assert_eq!(
            found(|config| config.server.listen = "[::ffff:127.0.0.1]:80".into()),
            []
        );
    }

    #[test]
    fn an_issuer_on_loopback_behind_a_listener_beyond_it_is_weak() {
        let default = Config::default().server.issuer;
        let with_default = found(|config| config.server.listen = "0.0.0.0:80".into());
        let expected = ("server.issuer".to_owned(), "loopback_issuer", Some(default));
        assert!(with_default.contains(&expected), "{with_default:?}");
        for (listen, issuer) in [
            ("0.0.0.0:80", "https://auth.example.com"),
            ("127.0.0.1:80", "http://127.0.0.1:80"),
            ("127.0.0.1:80", "https://auth.example.com"),
        ] {
            let found = found(|config| {
                config.server.listen = listen.into();
                config.server.issuer = issuer.into();
            });
            assert!(
                found.iter().all(|found| found.1 != "loopback_issuer"),
                "{listen} {issuer}"
            );
        }
    }

    #[test]
    fn a_range_wider_than_one_network_is_weak() {
        let ranges = |ranges: &[&str]| -> TrustedProxies {
            let ranges: Vec<String> = ranges.iter().map(|range| (*range).to_owned()).collect();
            ranges.try_into().unwrap()
        };
        let lists = |wide| ranges(&["10.0.0.0/24", wide, "2001:db8::/64", "::1"]);
        for wide in ["10.0.0.0/8", "10.0.0.0/23", "2001:db8::/32"] {
            assert_found("server.trusted_proxies", "wide_range", Some(wide), |config| {
                config.server.trusted_proxies = lists(wide);
            });
            assert_found("server.client_ip_proxies", "wide_range", Some(wide), |config| {
                config.server.client_ip_proxies = lists(wide);
            });
        }
    }

    #[test]
    fn a_text_as_encryption_key_is_weak() {
        use base64::Engine;
        assert_found("keys.encryption_key", "text_as_key", None, |config| {
            let text = crate::encoding::STANDARD.encode("correct horse battery staple 123");
            config.keys.encryption_key = text.into();
        });
    }

    #[test]
    fn a_password_on_the_command_line_is_weak() {
        for (url, is_weak) in [
            ("postgres://m:x@localhost/m", true),
            ("postgres://localhost/m?%70assword=x", true),
            ("postgres://m@localhost/m", false),
            ("sqlite:mintage.db", false),
        ] {
            let sources = Sources {
                database_url: Some(url.into()),
                ..Sources::default()
            };
            assert_eq!(password_on_command_line(&sources).is_some(), is_weak, "{url}");
        }
    }
}
