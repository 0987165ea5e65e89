//! Loads the configuration from flag, `MINTAGE_DATABASE_URL`, `MINTAGE_SECTION__KEY`, file and
//! default, in that order of precedence.
//!
//! The type of a key's default decides how its environment variable is parsed: as a number, a list
//! or text. A password of digits therefore stays text.
//!
//! No error quotes a value, wherever it comes from (G8): the program cannot know whether a user
//! has put a password into the wrong place. Errors name the key, the variable or the line.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use toml::{Table, Value};
use zeroize::Zeroizing;

use super::Config;
use super::database_url::DatabaseUrl;
use super::error::ConfigError;
use super::kinds::{default_at, names_in, one_line, parse, typed};
use super::origins::{Origin, Origins, line_at};
use super::permissions::{check, check_owner};

/// The sources of the configuration. A running server keeps them, so that SIGHUP reads the same
/// sources again.
///
/// Not `Debug`, because the environment may contain passwords and the key that encrypts private
/// keys.
#[derive(Clone, Default)]
pub struct Sources {
    /// `--config` or `MINTAGE_CONFIG`. Without either, `./mintage.toml` if it exists.
    pub file: Option<PathBuf>,
    /// `--database-url`.
    pub database_url: Option<String>,
    /// The environment variables whose names begin with `MINTAGE_`. Neither names nor values need be
    /// UTF-8.
    pub environment: BTreeMap<OsString, OsString>,
    /// Whether `server.open_metrics` is on, whatever the others say: `serve --dev`.
    pub open_metrics: bool,
}

const PREFIX: &str = "MINTAGE_";
const FILE_SUFFIX: &str = "_FILE";
const ENCRYPTION_KEY: &str = "MINTAGE_KEYS__ENCRYPTION_KEY";
const CONFIG_VARIABLE: &str = "MINTAGE_CONFIG";
/// `--database-url`, as an error names it.
const URL_FLAG: &str = "--database-url";
const SHORT_URL_VARIABLE: &str = "MINTAGE_DATABASE_URL";
const URL_VARIABLE: &str = "MINTAGE_DATABASE__URL";
/// A section, a key, and whether a text there is, or contains, a secret.
type SecretKey = (&'static str, &'static str, fn(&str) -> bool);
/// The keys whose values are, or may contain, secrets.
const SECRET_KEYS: [SecretKey; 5] = [
    ("bootstrap", "client_secret", |secret| !secret.is_empty()),
    ("database", "replica_urls", has_database_password),
    ("database", "url", has_database_password),
    ("keys", "encryption_key", |key| !key.is_empty()),
    ("redis", "url", |url| {
        url::Url::parse(url).is_ok_and(|url| url.password().is_some())
    }),
];
const DEFAULT_FILE: &str = "mintage.toml";

impl Sources {
    /// The sources of this process, with the values from the command line.
    pub fn of_process(file: Option<PathBuf>, database_url: Option<String>) -> Self {
        let is_ours = |name: &OsStr| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
        let environment = std::env::vars_os().filter(|(name, _)| is_ours(name)).collect();
        Self {
            file,
            database_url,
            environment,
            open_metrics: false,
        }
    }

    /// Reads and validates the configuration.
    ///
    /// # Errors
    /// A file cannot be read or parsed, a key does not exist, or a value has the wrong type or is
    /// out of range.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let (mut table, mut origins) = self.read_file()?;
        for setting in self.settings_of_environment()? {
            setting.apply(&mut table, &mut origins)?;
        }
        if let Some(url) = &self.database_url {
            section(&mut table, "database").insert("url".into(), Value::String(url.clone()));
            origins.set("database.url", Origin::Flag(URL_FLAG));
        }
        if self.open_metrics {
            section(&mut table, "server").insert("open_metrics".into(), Value::Boolean(true));
            origins.set("server.open_metrics", Origin::Flag("--dev"));
        }
        let mut config = parse(&table, &origins)?;
        if origins.of("server.issuer").is_none() {
            config.server.follow_listen();
        }
        config.validate().map_err(|error| origins.explained(error))?;
        Ok(config)
    }

    /// The configuration file, and what an error calls it.
    fn file(&self) -> Result<Option<(PathBuf, String)>, ConfigError> {
        if let Some(path) = &self.file {
            return Ok(Some((path.clone(), path.display().to_string())));
        }
        if let Some(path) = self.environment.get(OsStr::new(CONFIG_VARIABLE)) {
            return Ok(Some((path.into(), format!("the file that {CONFIG_VARIABLE} names"))));
        }
        let path = PathBuf::from(DEFAULT_FILE);
        if !path.exists() {
            return Ok(None);
        }
        check_owner(DEFAULT_FILE, &path)?;
        Ok(Some((path, DEFAULT_FILE.to_owned())))
    }

    /// The configuration file, what an error calls it, and whether it holds a secret.
    pub(super) fn configuration_file(&self) -> Result<Option<(PathBuf, String, bool)>, ConfigError> {
        let Some((path, name)) = self.file()? else {
            return Ok(None);
        };
        Ok(Some((path, name, holds_secrets(&self.read_file()?.0))))
    }

    /// The `…_FILE` variables, the files that they name, and whether these hold a secret.
    pub(super) fn files_of_environment(&self) -> impl Iterator<Item = (&str, &Path, bool)> {
        self.environment.iter().filter_map(|(variable, path)| {
            let variable = variable.to_str()?;
            let name = variable.strip_suffix(FILE_SUFFIX)?;
            Some((variable, Path::new(path), may_hold_secret(name)))
        })
    }

    fn read_file(&self) -> Result<(Table, Origins), ConfigError> {
        let Some((path, name)) = self.file()? else {
            return Ok((Table::new(), Origins::default()));
        };
        check(&name, &path, false)?;
        let text = read_bounded(&path, MAX_CONFIG_FILE).map_err(|error| match error.kind() {
            ErrorKind::FileTooLarge => ConfigError(format!("{name} is larger than 1 MiB")),
            _ => ConfigError(format!("cannot read the configuration file ({name}): {error}")),
        })?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| line_at(&text, span.start));
            ConfigError(format!(
                "{name} is not TOML: {} (line {line})",
                one_line(error.message())
            ))
        })?;
        let origins = Origins::of_file(&name, &text);
        // Also checked by itself: another source may replace a wrong value only until it is gone.
        parse(&table, &origins)?;
        Ok((table, origins))
    }

    /// The settings of the environment, with `…_FILE` variables read. The short
    /// `MINTAGE_DATABASE_URL` comes last, so that it takes precedence.
    fn settings_of_environment(&self) -> Result<Vec<Setting>, ConfigError> {
        let mut settings = Vec::new();
        let mut short_url: Option<Setting> = None;
        for (variable, value) in &self.environment {
            let variable = variable.to_str().ok_or_else(|| {
                ConfigError(format!(
                    "a variable whose name begins with {PREFIX} is not UTF-8: remove it"
                ))
            })?;
            if variable == CONFIG_VARIABLE || is_service_link(variable) {
                continue;
            }
            let (name, text) = match variable.strip_suffix(FILE_SUFFIX) {
                Some(name) => (name, read_secret_file(variable, value)?),
                None => {
                    let text = value
                        .to_str()
                        .ok_or_else(|| ConfigError(format!("{variable} is not UTF-8")))?;
                    (variable, text.to_owned())
                }
            };
            if variable.eq_ignore_ascii_case(ENCRYPTION_KEY) && text.is_empty() {
                return Err(ConfigError(format!(
                    "{ENCRYPTION_KEY} is empty: to store private keys in clear, remove it"
                )));
            }
            let setting = |name: &str| Setting {
                variable: variable.to_owned(),
                name: name.to_owned(),
                text: text.clone(),
            };
            if name == SHORT_URL_VARIABLE {
                if let Some(other) = &short_url {
                    return Err(both_set(&other.variable, variable));
                }
                short_url = Some(setting(URL_VARIABLE));
            } else if name.contains("__") {
                settings.push(setting(name));
            } else {
                return Err(ConfigError(format!(
                    "{variable} is not a setting: sections and keys are joined by two underscores, as in MINTAGE_SERVER__LISTEN"
                )));
            }
        }
        settings.extend(short_url);
        Ok(settings)
    }
}

/// Whether a configuration file holds the encryption key or a password.
fn holds_secrets(file: &Table) -> bool {
    SECRET_KEYS.iter().any(
        |(section, key, is_secret)| match file.get(*section).and_then(|section| section.get(*key)) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).any(is_secret),
            Some(value) => value.as_str().is_some_and(is_secret),
            None => false,
        },
    )
}

/// Whether the value of a variable is, or may contain, a secret.
fn may_hold_secret(variable: &str) -> bool {
    let name = match variable {
        SHORT_URL_VARIABLE => URL_VARIABLE,
        other => other,
    };
    // As in `set_by_name`, which ignores the case.
    let path = name.get(PREFIX.len()..).unwrap_or_default().to_ascii_lowercase();
    let is_it = |(section, key, _): &_| path.split_once("__") == Some((*section, *key));
    SECRET_KEYS.iter().any(is_it)
}

fn has_database_password(url: &str) -> bool {
    DatabaseUrl::parse(url).is_ok_and(|url| url.has_password())
}

/// The maximum size of a file that holds one value.
const MAX_VALUE_FILE: u64 = 64 * 1024;

/// The maximum size of a configuration file.
const MAX_CONFIG_FILE: u64 = 1024 * 1024;

/// The text of a file of at most `max` bytes: one such as /dev/zero has no end.
///
/// # Errors
/// [`ErrorKind::FileTooLarge`] if it is larger, [`ErrorKind::InvalidData`] if it is not UTF-8.
fn read_bounded(path: &Path, max: u64) -> std::io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let text =
        std::str::from_utf8(&bytes).map_err(|_| std::io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The path is not named either: it is the secret itself, if a user has confused the two.
///
/// An empty file is an error. Read as no value, it would mean private keys in clear, or another
/// database.
pub(super) fn read_secret_file(variable: &str, path: &OsStr) -> Result<String, ConfigError> {
    check(&format!("the file of {variable}"), Path::new(path), false)?;
    let text = read_bounded(Path::new(path), MAX_VALUE_FILE).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => ConfigError(format!("{variable}: the file is larger than 64 KiB")),
        _ => ConfigError(format!("{variable}: cannot read the file that it names: {error}")),
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(ConfigError(format!("{variable}: the file is empty")));
    }
    Ok(text.to_owned())
}

/// A setting of the environment.
struct Setting {
    /// The variable that is set: the name of the key's, or with `_FILE`, or the short one.
    variable: String,
    /// The name of the key's variable, such as `MINTAGE_DATABASE__POOL__MAX_SIZE`.
    name: String,
    text: String,
}

impl Setting {
    fn apply(&self, table: &mut Table, origins: &mut Origins) -> Result<(), ConfigError> {
        let lower = self.name[PREFIX.len()..].to_ascii_lowercase();
        let path: Vec<&str> = lower.split("__").collect();
        let (last, sections) = path.split_last().expect("split yields at least one piece");
        let key = path.join(".");
        if default_at(&path).is_none() {
            let known = names_in(sections).or_else(|| names_in(&[])).unwrap_or_default();
            return Err(ConfigError(format!(
                "{} is not a setting: there is no key {key} among {known}",
                self.variable
            )));
        }
        if let Some(Origin::Variable(other)) = origins.of(&key)
            && self.variable != SHORT_URL_VARIABLE
            && self.variable.strip_suffix(FILE_SUFFIX) != Some(SHORT_URL_VARIABLE)
        {
            return Err(both_set(other, &self.variable));
        }
        origins.set(&key, Origin::Variable(self.variable.clone()));
        let value =
            typed(&path, &self.text).map_err(|takes| origins.error(&key, format_args!("{key} must be {takes}")))?;
        let at = sections.iter().fold(table, |table, name| section(table, name));
        at.insert((*last).to_owned(), value);
        Ok(())
    }
}

fn both_set(one: &str, other: &str) -> ConfigError {
    ConfigError(format!("{one} and {other} are both set: remove one of them"))
}

/// Whether Kubernetes sets a variable of this name for a Service called `mintage`, or one whose name
/// begins with `mintage-`.
fn is_service_link(variable: &str) -> bool {
    !variable.contains("__")
        && (variable.ends_with("_SERVICE_HOST") || variable.ends_with("_PORT") || variable.contains("_PORT_"))
}

/// A section, which is a table: the file was parsed, and only sections are created here.
fn section<'a>(table: &'a mut Table, name: &str) -> &'a mut Table {
    table
        .entry(name.to_owned())
        .or_insert_with(|| Value::Table(Table::new()))
        .as_table_mut()
        .expect("a section of the file was parsed as one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Durability, Duration};

    #[test]
    fn the_variables_of_secrets_are_known_in_any_spelling_that_sets_them() {
        for name in [
            "MINTAGE_DATABASE_URL",
            "MINTAGE_REDIS__URL",
            "MINTAGE_Keys__encryption_KEY",
        ] {
            assert!(may_hold_secret(name), "{name}");
        }
        for name in [
            "MINTAGE_DATABASE__POOL__MAX_SIZE",
            "MINTAGE_SERVER__LISTEN",
            "MINTAGE_",
            "X",
        ] {
            assert!(!may_hold_secret(name), "{name}");
        }
        assert!(
            SECRET_KEYS
                .iter()
                .all(|(section, key, _)| default_at(&[section, key]).is_some())
        );
    }

    fn sources(file: Option<&Path>, environment: &[(&str, &str)]) -> Sources {
        Sources {
            file: file.map(Path::to_path_buf),
            database_url: None,
            open_metrics: false,
            environment: environment
                .iter()
                .map(|(name, text)| (name.into(), text.into()))
                .collect(),
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn the_flag_takes_precedence_over_the_environment_and_the_environment_over_the_file() {
        let file = file("[database]\nurl = \"sqlite:file.db\"\nquery_timeout = \"7s\"\n");
        let url = |environment: &[(&str, &str)], flag: Option<&str>| {
            let mut sources = sources(Some(file.path()), environment);
            sources.database_url = flag.map(str::to_owned);
            let config = sources.load().unwrap();
            assert_eq!(config.database.query_timeout, Duration::seconds(7));
            config.database.url
        };
        let long = ("MINTAGE_DATABASE__URL", "sqlite:long.db");
        let short = ("MINTAGE_DATABASE_URL", "sqlite:short.db");
        assert_eq!(url(&[], None), "sqlite:file.db");
        assert_eq!(url(&[long], None), "sqlite:long.db");
        assert_eq!(url(&[long, short], None), "sqlite:short.db");
        assert_eq!(url(&[long, short], Some("sqlite:flag.db")), "sqlite:flag.db");
    }

    #[test]
    fn the_environment_is_read_by_type() {
        let config = sources(
            None,
            &[
                ("MINTAGE_DATABASE__POOL__MAX_SIZE", "7"),
                ("MINTAGE_DATABASE__POOL__MIN_IDLE", "1"),
                ("MINTAGE_CACHE__ENABLED", "false"),
                ("MINTAGE_DATABASE__BREAKER__FAILURE_RATE", "0.25"),
                ("MINTAGE_SERVER__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
                ("MINTAGE_WRITER__DURABILITY", "group"),
                ("MINTAGE_TOKEN__AUDIENCE", "urn:7"),
            ],
        )
        .load()
        .unwrap();
        assert_eq!((config.database.pool.max_size, config.cache.enabled), (7, false));
        assert_eq!(config.database.breaker.failure_rate, 0.25);
        assert!(config.server.trusted_proxies.contains("10.1.2.3".parse().unwrap()));
        assert_eq!(config.writer.durability, Durability::Group);
    }

    #[test]
    fn a_value_can_come_from_a_file() {
        let secret = file("mzf7kQ1kBhs0bTj9Yv4DdSf0aWq5cU2nR8xLtE6oPJI=\n");
        let path = secret.path().to_str().unwrap();
        let config = sources(None, &[("MINTAGE_KEYS__ENCRYPTION_KEY_FILE", path)])
            .load()
            .unwrap();
        assert_eq!(
            config.keys.encryption_key.reveal(),
            "mzf7kQ1kBhs0bTj9Yv4DdSf0aWq5cU2nR8xLtE6oPJI="
        );
    }

    #[test]
    fn an_empty_file_is_not_taken_for_no_value() {
        for variable in [
            "MINTAGE_KEYS__ENCRYPTION_KEY_FILE",
            "MINTAGE_DATABASE__URL_FILE",
            "MINTAGE_DATABASE_URL_FILE",
            "MINTAGE_REDIS__URL_FILE",
        ] {
            for empty in ["", "\n", "\r\n\n"].map(file) {
                let path = empty.path().to_str().unwrap();
                let error = sources(None, &[(variable, path)]).load().map(|_| ()).unwrap_err().0;
                assert_eq!(error, format!("{variable}: the file is empty"));
            }
            let error = sources(None, &[(variable, "/dev/null")])
                .load()
                .map(|_| ())
                .unwrap_err()
                .0;
            assert_eq!(error, format!("{variable}: the file is empty"));
        }
        let error = sources(None, &[("MINTAGE_KEYS__ENCRYPTION_KEY", "")])
            .load()
            .map(|_| ())
            .unwrap_err()
            .0;
        assert!(error.starts_with("MINTAGE_KEYS__ENCRYPTION_KEY is empty"), "{error}");
    }

    #[test]
    fn a_value_from_a_file_has_a_maximum_size() {
        let with = |size: usize| {
            let long = file(&format!("urn:{}\n", "x".repeat(size - 5)));
            let path = long.path().to_str().unwrap();
            sources(None, &[("MINTAGE_TOKEN__AUDIENCE_FILE", path)])
                .load()
                .map(|_| ())
                .unwrap_err()
                .0
        };
        assert!(with(64 * 1024).starts_with("token.audience must be"));
        let too_large = "MINTAGE_TOKEN__AUDIENCE_FILE: the file is larger than 64 KiB";
        assert_eq!(with(64 * 1024 + 1), too_large);
    }

    #[test]
    fn a_file_without_end_is_not_read_for_ever() {
        let endless = sources(None, &[("MINTAGE_KEYS__ENCRYPTION_KEY_FILE", "/dev/zero")]);
        let error = endless.load().map(|_| ()).unwrap_err().0;
        assert_eq!(
            error,
            "MINTAGE_KEYS__ENCRYPTION_KEY_FILE: the file is larger than 64 KiB"
        );
        let endless = sources(Some(Path::new("/dev/zero")), &[]);
        let error = endless.load().map(|_| ()).unwrap_err().0;
        assert_eq!(error, "/dev/zero is larger than 1 MiB");
    }

    #[test]
    fn g8_an_unknown_value_of_sslmode_or_require_auth_is_an_error_that_does_not_quote_it() {
        for (parameters, expected) in [
            ("sslmode=hunter2", Some("value of sslmode that libpq does not know")),
            ("sslmode=", Some("value of sslmode that libpq does not know")),
            (
                "sslmode=require&sslmode=hunter2",
                Some("value of sslmode that libpq does not know"),
            ),
            (
                "sslmode=hunter2&sslmode=require",
                Some("value of sslmode that libpq does not know"),
            ),
            (
                "require_auth=hunter2",
                Some("value of require_auth that libpq does not know"),
            ),
            (
                "require_auth=md5,hunter2",
                Some("value of require_auth that libpq does not know"),
            ),
            (
                "require_auth=!hunter2",
                Some("value of require_auth that libpq does not know"),
            ),
            (
                "require_auth=!md5,scram-sha-256",
                Some("value of require_auth that libpq does not know"),
            ),
            ("sslmode=verify-ca", None),
            ("ssl=true&require_auth=", None),
            ("sslmode=disable&require_auth=scram-sha-256,md5", None),
            ("require_auth=!password,!md5", None),
        ] {
            let url = format!("postgres://u:p@h/d?{parameters}");
            let replicas = format!("[\"{url}\"]");
            let primary = ("MINTAGE_DATABASE__URL", "postgres://h/d");
            for (key, environment) in [
                ("database.url", vec![("MINTAGE_DATABASE__URL", &*url)]),
                (
                    "database.replica_urls",
                    vec![primary, ("MINTAGE_DATABASE__REPLICA_URLS", &*replicas)],
                ),
            ] {
                let error = sources(None, &environment).load().err().map(|error| error.0);
                let Some(expected) = expected else {
                    assert_eq!(error, None, "{parameters}");
                    continue;
                };
                let error = error.unwrap_or_else(|| panic!("{parameters}"));
                assert!(error.starts_with(key) && error.contains(expected), "{error}");
                assert!(!error.contains("hunter2"), "{error}");
            }
        }
    }

    #[test]
    fn an_error_names_the_setting_in_one_line() {
        let wrong = |text: &str| {
            let file = file(text);
            let error = sources(Some(file.path()), &[]).load().unwrap_err().0;
            assert!(!error.contains('\n'), "{error}");
            error
        };
        assert!(wrong("[server]\nlissten = \"x\"").contains("lissten"));
        assert!(wrong("[server]\nlissten = \"x\"").contains(", line 2)"));
        assert!(
            wrong("[servr]\nlisten = \"x\"").starts_with("servr is not a section: there are audit, bootstrap, cache,")
        );
        assert!(wrong("[cache]\nttl = 5").starts_with("cache.ttl must be a duration such as"));
        assert!(wrong("[cache]\nttl = 5").ends_with(", line 2)"));
        for text in [
            "[database]\nreplica_urls = \"x://u:hunter2@h\"",
            "database = \"x://u:hunter2@h\"",
        ] {
            let error = wrong(text);
            assert!(
                error.starts_with("database") && error.contains(" must be a ") && !error.contains("hunter2"),
                "{error}"
            );
        }
        assert!(
            wrong("[server]\nworkers = -1").starts_with("server.workers must be a whole number, 0 or more, such as")
        );
        assert!(wrong("[server]\ntrusted_proxies = \"::1\"").contains("server.trusted_proxies must be a list"));
        assert!(wrong("[cache]\nttl = \"5x\"").contains("cache.ttl must be a duration such as"));
        assert!(wrong("server").contains("not TOML"));
        let of_environment = |name: &str, text: &str| sources(None, &[(name, text)]).load().unwrap_err().0;
        assert!(of_environment("MINTAGE_CACHE__TTL", "5x").starts_with("cache.ttl must be a duration"));
        assert!(of_environment("MINTAGE_LOG__FORMAT", "xml").starts_with("log.format must be \"text\" or \"json\""));
        assert!(of_environment("MINTAGE_CACHE__CAPACITY", "many").contains("whole number"));
        assert!(of_environment("MINTAGE_CACHE__COLOUR", "red").contains("cache.colour"));
        assert!(of_environment("MINTAGE_CACHE", "red").contains("two underscores"));
        assert!(of_environment("MINTAGE_SERVER__TRUSTED_PROXIES", "a,b").contains("JSON array"));
        let missing = sources(Some(Path::new("/nonexistent/mintage.toml")), &[])
            .load()
            .unwrap_err()
            .0;
        assert!(missing.contains("cannot read"));
    }

    #[test]
    fn a_rejected_value_is_reported_with_its_key_its_source_and_what_the_key_takes() {
        let duration = "must be a duration such as \"250ms\", \"5s\", \"15m\", \"1h\" or \"90d\"";
        let size = "must be a size such as \"32KiB\" or \"1MiB\"";
        for (variable, value, expected) in [
            ("MINTAGE_TOKEN__TTL", "3600", format!("token.ttl {duration}")),
            ("MINTAGE_SERVER__MAX_BODY", "16k", format!("server.max_body {size}")),
            (
                "MINTAGE_LOG__FORMAT",
                "JSON",
                "log.format must be \"text\" or \"json\"".into(),
            ),
            (
                "MINTAGE_SERVER__WORKERS",
                "two",
                "server.workers must be a whole number, 0 or more, such as 0".into(),
            ),
            (
                "MINTAGE_DATABASE__BREAKER__FAILURE_RATE",
                "2",
                "database.breaker.failure_rate must be above 0 and at most 1".into(),
            ),
        ] {
            let error = sources(None, &[(variable, value)]).load().unwrap_err().0;
            assert_eq!(error, format!("{expected} ({variable})"));
            let in_file = file(value);
            let by_file = format!("{variable}_FILE");
            let error = sources(None, &[(&by_file, in_file.path().to_str().unwrap())]).load();
            assert_eq!(error.unwrap_err().0, format!("{expected} ({by_file})"));
        }
        for (text, expected) in [
            ("[token]\nttl = 3600", format!("token.ttl {duration}")),
            ("[token]\nttl = \"31d\"", "token.ttl must be from 1s to 30d".into()),
            (
                "[server]\nworkers=\"two\"",
                "server.workers must be a whole number, 0 or more, such as 0".into(),
            ),
            ("[cache]\nenabled = 1", "cache.enabled must be true or false".into()),
            (
                "[server]\ntrusted_proxies = [\"x\"]",
                "server.trusted_proxies must be addresses and ranges such as 10.0.0.0/24".into(),
            ),
        ] {
            let file = file(text);
            let error = sources(Some(file.path()), &[]).load().unwrap_err().0;
            assert_eq!(error, format!("{expected} ({}, line 2)", file.path().display()));
        }
        let mut by_flag = sources(None, &[]);
        by_flag.database_url = Some("mysql://h/d".into());
        let error = by_flag.load().unwrap_err().0;
        assert!(error.starts_with("database.url must be sqlite:PATH or ") && error.ends_with(" (--database-url)"));
    }

    /// The types of Rust, as serde names them.
    const RUST_WORDS: [&str; 8] = [
        "usize",
        "u32",
        "f64",
        "bool",
        "sequence",
        "variant",
        "struct",
        "invalid type",
    ];

    #[test]
    fn every_wrong_value_of_every_key_is_reported_with_its_source_and_without_words_of_rust() {
        let mut all = Vec::new();
        keys(&Table::try_from(Config::default()).unwrap(), "", &mut all);
        let mut reported = 0;
        for key in &all {
            let variable = format!("MINTAGE_{}", key.to_uppercase().replace('.', "__"));
            let (section, name) = key.rsplit_once('.').unwrap();
            for (value, literal) in [("?", "\"?\""), ("-1", "-1"), ("[1]", "[1]"), ("{}", "{}"), ("x", "1.5")] {
                let file = file(&format!("[{section}]\n{name} = {literal}"));
                let in_file = format!(" ({}, line 2)", file.path().display());
                for (loaded, source) in [
                    (sources(None, &[(&variable, value)]).load(), format!(" ({variable})")),
                    (sources(Some(file.path()), &[]).load(), in_file),
                ] {
                    let Err(ConfigError(error)) = loaded else {
                        continue;
                    };
                    reported += 1;
                    assert!(
                        error.starts_with(&format!("{key} ")) && error.ends_with(&source),
                        "{error}"
                    );
                    assert!(RUST_WORDS.iter().all(|word| !error.contains(word)), "{error}");
                }
            }
        }
        assert!(reported > 8 * all.len(), "{reported} of {}", all.len());
    }

    #[test]
    fn a_variable_and_the_one_that_names_its_file_may_not_both_be_set() {
        let file = file("5m");
        let path = file.path().to_str().unwrap();
        for (variable, value) in [("MINTAGE_CACHE__TTL", "5m"), ("MINTAGE_DATABASE_URL", "sqlite:a.db")] {
            let by_file = format!("{variable}_FILE");
            let error = sources(None, &[(variable, value), (&by_file, path)])
                .load()
                .unwrap_err()
                .0;
            assert_eq!(
                error,
                format!("{variable} and {by_file} are both set: remove one of them")
            );
        }
        let cases = [("MINTAGE_CACHE__TTL", "5m"), ("MINTAGE_CACHE__ttl", "5m")];
        assert!(
            sources(None, &cases)
                .load()
                .unwrap_err()
                .0
                .ends_with("remove one of them")
        );
    }

    #[test]
    fn variables_that_kubernetes_sets_for_a_service_are_skipped() {
        for name in [
            "MINTAGE_SERVICE_HOST",
            "MINTAGE_SERVICE_PORT",
            "MINTAGE_SERVICE_PORT_HTTP",
            "MINTAGE_PORT",
            "MINTAGE_PORT_80_TCP",
            "MINTAGE_PORT_80_TCP_ADDR",
            "MINTAGE_REDIS_PORT",
            "MINTAGE_ADMIN_SERVICE_HOST",
        ] {
            let loaded = sources(None, &[(name, "tcp://10.0.0.1:80")]).load();
            assert!(loaded.is_ok(), "{name}: {loaded:?}");
        }
        for name in [
            "MINTAGE_HOST",
            "MINTAGE_SERVER",
            "MINTAGE_SERVICE",
            "MINTAGE_PORTS",
            "MINTAGE_SERVER__PORT",
            "MINTAGE_LISTEN",
        ] {
            let error = sources(None, &[(name, "x")]).load().unwrap_err().0;
            assert!(error.starts_with(&format!("{name} is not a setting")), "{error}");
        }
    }

    #[test]
    fn the_issuer_follows_a_listener_on_loopback_unless_it_is_set() {
        let issuer = |environment: &[(&str, &str)]| sources(None, environment).load().unwrap().server.issuer;
        let default = Config::default().server.issuer;
        assert_eq!(
            issuer(&[("MINTAGE_SERVER__LISTEN", "127.0.0.1:8090")]),
            "http://127.0.0.1:8090"
        );
        assert_eq!(issuer(&[("MINTAGE_SERVER__LISTEN", "[::1]:8090")]), "http://[::1]:8090");
        assert_eq!(
            issuer(&[("MINTAGE_SERVER__LISTEN", "[::ffff:127.0.0.1]:8090")]),
            "http://127.0.0.1:8090"
        );
        for other in ["0.0.0.0:8090", "127.0.0.1:0"] {
            assert_eq!(issuer(&[("MINTAGE_SERVER__LISTEN", other)]), default);
        }
        let set = ("MINTAGE_SERVER__ISSUER", "https://auth.example.com");
        assert_eq!(issuer(&[("MINTAGE_SERVER__LISTEN", "127.0.0.1:8090"), set]), set.1);
    }

    #[test]
    fn a_variable_that_is_not_utf_8_is_named_without_its_value() {
        use std::os::unix::ffi::OsStrExt;
        let not_utf_8 = OsStr::from_bytes(b"hunter2\xe9");
        let error_of = |name: &OsStr| {
            let mut sources = Sources::default();
            sources.environment.insert(name.to_owned(), not_utf_8.to_owned());
            sources.load().unwrap_err().0
        };
        assert_eq!(
            error_of(OsStr::new("MINTAGE_CACHE__TTL")),
            "MINTAGE_CACHE__TTL is not UTF-8"
        );
        assert!(error_of(OsStr::from_bytes(b"MINTAGE_hunter2\xe9")).ends_with("is not UTF-8: remove it"));
        // A path may have any bytes.
        let no_file = error_of(OsStr::new("MINTAGE_CACHE__TTL_FILE"));
        assert!(
            no_file.contains("No such file") && !no_file.contains("hunter2"),
            "{no_file}"
        );
    }

    fn keys(table: &Table, path: &str, found: &mut Vec<String>) {
        for (name, value) in table {
            match value {
                Value::Table(section) => keys(section, &format!("{path}{name}."), found),
                _ => found.push(format!("{path}{name}")),
            }
        }
    }

    #[test]
    fn g8_no_error_quotes_a_value_of_any_key_and_any_source() {
        let mut all = Vec::new();
        keys(&Table::try_from(Config::default()).unwrap(), "", &mut all);
        let values = [
            "hunter2",
            "http://hunter2",
            "[\"hunter2\"]",
            "[hunter2",
            "postgres://m:hunter2@h/d",
        ];
        let in_files = [
            "\"hunter2\"",
            "\"hunter2",
            "hunter2",
            "[\"hunter2\"]",
            "{ a = \"hunter2\" }",
            "\"hunter2, expected `x`, expected y\"",
            "'hunter2\"'",
            "\"\"\"hunter2\nhunter2\"\"\"",
        ];
        let mut errors = Vec::new();
        for key in &all {
            let variable = format!("MINTAGE_{}", key.to_uppercase().replace('.', "__"));
            for value in values {
                errors.push(sources(None, &[(&variable, value)]).load());
                let file = file(value);
                let by_file = format!("{variable}_FILE");
                errors.push(sources(None, &[(&by_file, file.path().to_str().unwrap())]).load());
                errors.push(sources(None, &[(&by_file, value)]).load());
            }
            let (section, name) = key.rsplit_once('.').unwrap();
            for value in in_files {
                for text in [
                    format!("[{section}]\n{name} = {value}"),
                    format!("{section} = {value}"),
                    format!("[{section}]\n{name} = 1\n{name} = {value}"),
                ] {
                    errors.push(sources(Some(file(&text).path()), &[]).load());
                }
            }
        }
        errors.push(sources(None, &[("MINTAGE_CONFIG", "hunter2")]).load());
        let wrong = file("[cache]\nttl = \"hunter2\"");
        errors.push(sources(None, &[("MINTAGE_CONFIG", wrong.path().to_str().unwrap())]).load());
        let errors: Vec<String> = errors
            .into_iter()
            .filter_map(|loaded| loaded.err().map(|error| error.0))
            .collect();
        assert!(errors.len() > 30 * all.len(), "{}", errors.len());
        for error in errors {
            assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
        }
    }
}
