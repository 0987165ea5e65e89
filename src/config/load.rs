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
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Config;
use super::database_url::DatabaseUrl;
use super::error::ConfigError;
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
const SHORT_URL_VARIABLE: &str = "MINTAGE_DATABASE_URL";
const URL_VARIABLE: &str = "MINTAGE_DATABASE__URL";
/// A section, a key, and whether a text there is, or contains, a secret.
type SecretKey = (&'static str, &'static str, fn(&str) -> bool);
/// The keys whose values are, or may contain, secrets.
const SECRET_KEYS: [SecretKey; 4] = [
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
        let mut table = self.read_file()?;
        for (name, text) in self.settings_of_environment()? {
            set_by_name(&mut table, &name, &text)?;
        }
        if let Some(url) = &self.database_url {
            section(&mut table, "database", "--database-url")?.insert("url".into(), Value::String(url.clone()));
        }
        if self.open_metrics {
            section(&mut table, "server", "--dev")?.insert("open_metrics".into(), Value::Boolean(true));
        }
        let config: Config = Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError(in_words(&error, key_of(&error).as_deref())))?;
        config.validate()?;
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
        Ok(Some((path, name, holds_secrets(&self.read_file()?))))
    }

    /// The `…_FILE` variables, the files that they name, and whether these hold a secret.
    pub(super) fn files_of_environment(&self) -> impl Iterator<Item = (&str, &Path, bool)> {
        self.environment.iter().filter_map(|(variable, path)| {
            let variable = variable.to_str()?;
            let name = variable.strip_suffix(FILE_SUFFIX)?;
            Some((variable, Path::new(path), may_hold_secret(name)))
        })
    }

    fn read_file(&self) -> Result<Table, ConfigError> {
        let Some((path, name)) = self.file()? else {
            return Ok(Table::new());
        };
        check(&name, &path, false)?;
        let text = read_bounded(&path, MAX_CONFIG_FILE)
            .map_err(|error| ConfigError(format!("cannot read the configuration file ({name}): {error}")))?;
        if text.len() as u64 > MAX_CONFIG_FILE {
            return Err(ConfigError(format!("{name} is larger than 1 MiB")));
        }
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            ConfigError(format!(
                "{name} is not TOML: {}{}",
                one_line(error.message()),
                line_of(&text, error.span())
            ))
        })?;
        // Parsed separately for its errors: here the file and the line are known.
        toml::from_str::<Config>(&text).map_err(|error| {
            let key = key_in(&table, &error);
            let what = in_words(&error, key.as_deref());
            ConfigError(format!("{name}: {what}{}", line_of(&text, error.span())))
        })?;
        Ok(table)
    }

    /// The settings of the environment, with `…_FILE` variables read. The short
    /// `MINTAGE_DATABASE_URL` comes last, so that it takes precedence.
    fn settings_of_environment(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let mut settings = Vec::new();
        let mut short_url = None;
        for (variable, value) in &self.environment {
            let variable = variable.to_str().ok_or_else(|| {
                ConfigError(format!(
                    "a variable whose name begins with {PREFIX} is not UTF-8: remove it"
                ))
            })?;
            if variable == CONFIG_VARIABLE {
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
            if name == SHORT_URL_VARIABLE {
                short_url = Some((URL_VARIABLE.to_owned(), text));
            } else if name.contains("__") {
                settings.push((name.to_owned(), text));
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

/// The text of a file: at most one byte more than `max`, because a file such as /dev/zero has no
/// end.
fn read_bounded(path: &Path, max: u64) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(max + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// The path is not named either: it is the secret itself, if a user has confused the two.
///
/// An empty file is an error. Read as no value, it would mean private keys in clear, or another
/// database.
pub(super) fn read_secret_file(variable: &str, path: &OsStr) -> Result<String, ConfigError> {
    check(&format!("the file of {variable}"), Path::new(path), false)?;
    let text = read_bounded(Path::new(path), MAX_VALUE_FILE)
        .map(zeroize::Zeroizing::new)
        .map_err(|error| ConfigError(format!("{variable}: cannot read the file that it names: {error}")))?;
    let size = text.len();
    let text = text.trim_end_matches(['\r', '\n']);
    if size as u64 > MAX_VALUE_FILE {
        return Err(ConfigError(format!("{variable}: the file is larger than 64 KiB")));
    }
    if text.is_empty() {
        return Err(ConfigError(format!("{variable}: the file is empty")));
    }
    Ok(text.to_owned())
}

/// Sets a key by the name of its variable, such as `MINTAGE_DATABASE__POOL__MAX_SIZE`.
fn set_by_name(table: &mut Table, name: &str, text: &str) -> Result<(), ConfigError> {
    let lower = name[PREFIX.len()..].to_ascii_lowercase();
    let path: Vec<&str> = lower.split("__").collect();
    let default = default_at(&path)
        .ok_or_else(|| ConfigError(format!("{name} is not a setting: there is no key {}", path.join("."))))?;
    let value = typed(&default, text).map_err(|what| ConfigError(format!("{name} must be {what}")))?;
    let (key, sections) = path.split_last().expect("split yields at least one piece");
    let mut at = table;
    for part in sections {
        at = section(at, part, name)?;
    }
    at.insert((*key).to_owned(), value);
    Ok(())
}

fn section<'a>(table: &'a mut Table, name: &str, source: &str) -> Result<&'a mut Table, ConfigError> {
    table
        .entry(name.to_owned())
        .or_insert_with(|| Value::Table(Table::new()))
        .as_table_mut()
        .ok_or_else(|| ConfigError(format!("{source}: {name} must be a section of the configuration file")))
}

fn default_at(path: &[&str]) -> Option<Value> {
    let mut value = Value::try_from(Config::default()).expect("every section consists of TOML types");
    for part in path {
        value = value.as_table_mut()?.remove(*part)?;
    }
    (!value.is_table()).then_some(value)
}

/// Parses `text` as a value of the same type as `default`.
fn typed(default: &Value, text: &str) -> Result<Value, &'static str> {
    match default {
        Value::Integer(_) => text.parse().map(Value::Integer).map_err(|_| "a whole number"),
        Value::Float(_) => text.parse().map(Value::Float).map_err(|_| "a number"),
        Value::Boolean(_) => text.parse().map(Value::Boolean).map_err(|_| "true or false"),
        Value::Array(_) => {
            let list: Vec<String> = serde_json::from_str(text).map_err(|_| "a JSON array of strings")?;
            Ok(Value::Array(list.into_iter().map(Value::String).collect()))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(" ")
}

/// serde's names of types, and what a person who writes the file calls them.
const TYPES: [(&str, &str); 5] = [
    ("expected usize", "expected a whole number, 0 or more"),
    ("expected u32", "expected a whole number, 0 or more"),
    ("expected u64", "expected a whole number, 0 or more"),
    ("expected f64", "expected a number"),
    ("expected a sequence", "expected a list"),
];

/// The error in one line, beginning with the key if that is known, without the value.
fn in_words(error: &toml::de::Error, key: Option<&str>) -> String {
    let mut what = without_value(&one_line(error.message()));
    for (serde, plain) in TYPES {
        what = what.replace(serde, plain);
    }
    match key {
        Some(key) => format!("{key}: {what}"),
        None => what,
    }
}

/// A message of serde without the value, which it quotes after the kind of the value, as in
/// "invalid type: string "x", expected a boolean". Messages of our own types quote none.
fn without_value(message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    if found.starts_with("unknown variant ") {
        return format!("unknown value, expected {expected}");
    }
    match found.find(['`', '"']) {
        Some(at) if found.starts_with("invalid ") => format!("{}, expected {expected}", found[..at].trim_end()),
        _ => message.to_owned(),
    }
}

/// The key, or the section of an unknown key, that an error without a span is about. Only its text
/// states it, in a last line of its own.
fn key_of(error: &toml::de::Error) -> Option<String> {
    let text = error.to_string();
    let key = text
        .trim_end()
        .lines()
        .last()?
        .strip_prefix("in `")?
        .strip_suffix('`')?;
    Some(key.to_owned())
}

/// The key that an error of the file is about. An error of the text has the line, one of the parsed
/// table has the key, so the table is read again. With several errors in the file, the two may
/// differ: then the line has to do.
fn key_in(table: &Table, error: &toml::de::Error) -> Option<String> {
    let of_table = Value::Table(table.clone()).try_into::<Config>().err()?;
    (of_table.message() == error.message()).then(|| key_of(&of_table))?
}

fn line_of(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let Some(before) = span.and_then(|span| text.get(..span.start)) else {
        return String::new();
    };
    format!(" (line {})", before.matches('\n').count() + 1)
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
        assert!(wrong("[server]\nlissten = \"x\"").contains("(line 2)"));
        assert!(wrong("[cache]\nttl = 5").contains("cache.ttl: invalid type: integer, expected a string (line 2)"));
        for text in [
            "[database]\nreplica_urls = \"x://u:hunter2@h\"",
            "database = \"x://u:hunter2@h\"",
        ] {
            let error = wrong(text);
            assert!(
                error.contains("invalid type: string, expected ") && !error.contains("hunter2"),
                "{error}"
            );
        }
        assert!(
            wrong("[server]\nworkers = -1").contains("server.workers: invalid value: integer, expected a whole number")
        );
        assert!(wrong("[server]\ntrusted_proxies = \"::1\"").contains("expected a list"));
        assert!(wrong("[cache]\nttl = \"5x\"").contains("cache.ttl: must be a duration such as"));
        assert!(wrong("server").contains("not TOML"));
        let of_environment = |name: &str, text: &str| sources(None, &[(name, text)]).load().unwrap_err().0;
        assert!(of_environment("MINTAGE_CACHE__TTL", "5x").starts_with("cache.ttl: must be a duration"));
        assert!(of_environment("MINTAGE_LOG__FORMAT", "xml").starts_with("log.format: unknown value, expected `text`"));
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
