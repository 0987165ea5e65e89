//! What each key takes, in words, with an example. The type of a key's default decides, so that
//! there is no second list of keys.
//!
//! serde's own messages are not shown: they name Rust's types, and quote the value.

use toml::{Table, Value};

use super::Config;
use super::error::ConfigError;
use super::origins::{Origins, joined};

/// The configuration in `table`, whose values have the sources in `origins`.
///
/// # Errors
/// A section or a key does not exist, or a value has the wrong type.
pub(super) fn parse(table: &Table, origins: &Origins) -> Result<Config, ConfigError> {
    check("", table, &defaults(), origins)?;
    Value::Table(table.clone())
        .try_into()
        .map_err(|error: toml::de::Error| {
            let Some(key) = key_of(&error) else {
                return ConfigError("a value of the configuration has the wrong type".into());
            };
            // Messages of our own types; they quote no value.
            let what = match error.message() {
                own if own.starts_with("must ") => one_line(own),
                _ => format!("must be {}", takes(&key.split('.').collect::<Vec<_>>(), false)),
            };
            origins.error(&key, format_args!("{key} {what}"))
        })
}

/// The default of a key; `None` if there is no such key, or it is a section.
pub(super) fn default_at(path: &[&str]) -> Option<Value> {
    let mut value = Value::Table(defaults());
    for part in path {
        value = value.as_table_mut()?.remove(*part)?;
    }
    (!value.is_table()).then_some(value)
}

/// Parses the text of an environment variable as a value of the type of the key's default.
///
/// # Errors
/// What the key takes.
pub(super) fn typed(path: &[&str], text: &str) -> Result<Value, String> {
    let parsed = match default_at(path) {
        Some(Value::Integer(_)) => text.parse().map(Value::Integer).ok(),
        Some(Value::Float(_)) => text.parse().map(Value::Float).ok(),
        Some(Value::Boolean(_)) => text.parse().map(Value::Boolean).ok(),
        Some(Value::Array(_)) => serde_json::from_str::<Vec<String>>(text)
            .ok()
            .map(|list| Value::Array(list.into_iter().map(Value::String).collect())),
        _ => Some(Value::String(text.to_owned())),
    };
    parsed.ok_or_else(|| takes(path, true))
}

/// The names in a section, for an error about one that is not in it.
pub(super) fn names_in(path: &[&str]) -> Option<String> {
    let mut section = defaults();
    for part in path {
        let Some(Value::Table(inner)) = section.remove(*part) else {
            return None;
        };
        section = inner;
    }
    Some(section.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
}

fn defaults() -> Table {
    Table::try_from(Config::default()).expect("every section consists of TOML types")
}

/// Rejects unknown names, and values whose TOML type is another than that of the default.
fn check(path: &str, table: &Table, defaults: &Table, origins: &Origins) -> Result<(), ConfigError> {
    for (name, value) in table {
        let key = joined(path, name);
        let Some(default) = defaults.get(name) else {
            let known = defaults.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(match path {
                "" => origins.error(&key, format_args!("{key} is not a section: there are {known}")),
                _ => origins.error(&key, format_args!("{key} is not a setting: [{path}] has {known}")),
            });
        };
        match (default, value) {
            (Value::Table(defaults), Value::Table(section)) => check(&key, section, defaults, origins)?,
            (Value::Table(_), _) => {
                return Err(origins.error(&key, format_args!("{key} must be a section, as in [{key}]")));
            }
            (Value::Float(_), Value::Integer(_)) => {}
            _ if default.same_type(value) => {}
            _ => {
                let takes = takes(&key.split('.').collect::<Vec<_>>(), false);
                return Err(origins.error(&key, format_args!("{key} must be {takes}")));
            }
        }
    }
    Ok(())
}

/// What a key takes, in the environment or in a file.
fn takes(path: &[&str], in_environment: bool) -> String {
    match default_at(path) {
        Some(Value::Integer(default)) => format!("a whole number, 0 or more, such as {default}"),
        Some(Value::Float(default)) => format!("a number such as {default}"),
        Some(Value::Boolean(_)) => "true or false".into(),
        Some(Value::Array(default)) => {
            let example = match default.is_empty() {
                true => "[\"ONE\", \"TWO\"]".to_owned(),
                false => Value::Array(default).to_string(),
            };
            match in_environment {
                true => format!("a JSON array of strings such as {example}"),
                false => format!("a list of texts such as {example}"),
            }
        }
        Some(default) => rule_of(path).unwrap_or_else(|| format!("a text in quotation marks, such as {default}")),
        None => "of another type".into(),
    }
}

/// What the type of a key requires of a text, as the error about a wrong one says it; `None` if any
/// text will do.
fn rule_of(path: &[&str]) -> Option<String> {
    let (key, sections) = path.split_last()?;
    let innermost = Table::from_iter([((*key).to_owned(), Value::String("?".into()))]);
    let table = sections.iter().rev().fold(innermost, |inner, section| {
        Table::from_iter([((*section).to_owned(), Value::Table(inner))])
    });
    let error = Value::Table(table).try_into::<Config>().err()?;
    let message = one_line(error.message());
    match message.strip_prefix("must be ") {
        Some(rule) => Some(rule.to_owned()),
        None => Some(message.rsplit_once(", expected ")?.1.replace('`', "\"")),
    }
}

pub(super) fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(" ")
}

/// The key that an error is about. Only its text states it, in a last line of its own.
fn key_of(error: &toml::de::Error) -> Option<String> {
    let text = error.to_string();
    let last = text.trim_end().lines().last()?;
    let key = last.strip_prefix("in `")?.strip_suffix('`')?;
    Some(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_takes_is_said_in_words_with_an_example() {
        for (key, rule) in [
            ("server.workers", "a whole number, 0 or more, such as 0"),
            ("database.breaker.failure_rate", "a number such as 0.5"),
            ("cache.enabled", "true or false"),
            (
                "server.trusted_proxies",
                "a list of texts such as [\"127.0.0.1\", \"::1\"]",
            ),
            (
                "token.ttl",
                "a duration such as \"250ms\", \"5s\", \"15m\", \"1h\" or \"90d\"",
            ),
            ("server.max_body", "a size such as \"32KiB\" or \"1MiB\""),
            ("log.format", "\"text\" or \"json\""),
            ("token.alg", "a text in quotation marks, such as \"ES256\""),
        ] {
            assert_eq!(takes(&key.split('.').collect::<Vec<_>>(), false), rule, "{key}");
        }
    }
}
