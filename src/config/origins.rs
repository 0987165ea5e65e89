//! [`Origins`]: where each value of the configuration comes from, so that an error can name the
//! variable, the flag, or the file and the line. The values themselves are not in it.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;

/// The source of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A flag of the command line.
    Flag(&'static str),
    /// An environment variable, or the one that names the file of the value.
    Variable(String),
    /// A line of the configuration file.
    Line {
        /// What an error calls the file.
        file: String,
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => f.write_str(name),
            Self::Variable(name) => f.write_str(name),
            Self::Line { file, line } => write!(f, "{file}, line {line}"),
        }
    }
}

/// The sources by key, such as `cache.ttl`. A key that is not in it has its default.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// The lines of the keys and sections of a configuration file.
    pub fn of_file(file: &str, text: &str) -> Self {
        let mut origins = Self::default();
        if let Ok(table) = DeTable::parse(text) {
            origins.add("", table.get_ref(), file, text);
        }
        origins
    }

    fn add(&mut self, path: &str, table: &DeTable<'_>, file: &str, text: &str) {
        for (name, value) in table {
            let key = joined(path, name.get_ref());
            let line = Origin::Line {
                file: file.to_owned(),
                line: line_at(text, name.span().start),
            };
            self.0.insert(key.clone(), line);
            if let DeValue::Table(section) = Spanned::get_ref(value) {
                self.add(&key, section, file, text);
            }
        }
    }

    /// Notes the source of a value.
    pub fn set(&mut self, key: &str, origin: Origin) {
        self.0.insert(key.to_owned(), origin);
    }

    /// The source of the value of a key; `None` if it has its default.
    pub fn of(&self, key: &str) -> Option<&Origin> {
        self.0.get(key)
    }

    /// `what`, with the source of the value of `key` behind it.
    pub fn error(&self, key: &str, what: impl fmt::Display) -> ConfigError {
        ConfigError(match self.of(key) {
            Some(origin) => format!("{what} ({origin})"),
            None => what.to_string(),
        })
    }

    /// An error that begins with a key, with the source of its value behind it. If the key has its
    /// default, that contradicts another key which the error names, and the source is that one's.
    pub fn explained(&self, error: ConfigError) -> ConfigError {
        let mut words = error
            .0
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
        let key = words.next().unwrap_or_default();
        if self.of(key).is_some() {
            return self.error(key, &error);
        }
        match words.find_map(|other| Some((other, self.of(other)?))) {
            Some((other, origin)) => ConfigError(format!("{error} ({other}: {origin})")),
            None => error,
        }
    }
}

/// The path of a key in one line, whatever the key is.
pub(super) fn joined(path: &str, name: &str) -> String {
    let name = name.escape_debug();
    match path {
        "" => name.to_string(),
        path => format!("{path}.{name}"),
    }
}

/// The 1-based line of a position.
pub(super) fn line_at(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_and_section_of_a_file_has_its_line() {
        let text = "[server]\nlisten = \"x\"\nlist = [\n1,\n]\n\n[database.pool]\nmax_size = 1\n[a]\nb.c = 1\n";
        let origins = Origins::of_file("mintage.toml", text);
        for (key, line) in [
            ("server", 1),
            ("server.listen", 2),
            ("server.list", 3),
            ("database.pool.max_size", 8),
            ("a.b.c", 10),
        ] {
            let origin = origins.of(key).unwrap_or_else(|| panic!("{key}"));
            assert_eq!(origin.to_string(), format!("mintage.toml, line {line}"), "{key}");
        }
    }

    #[test]
    fn an_error_about_a_default_names_the_source_of_the_value_that_contradicts_it() {
        let mut origins = Origins::default();
        origins.set("cache.capacity", Origin::Variable("MINTAGE_CACHE__CAPACITY".into()));
        let error = ConfigError("cache.warm must be at most cache.capacity".into());
        assert_eq!(
            origins.explained(error.clone()).0,
            "cache.warm must be at most cache.capacity (cache.capacity: MINTAGE_CACHE__CAPACITY)"
        );
        origins.set("cache.warm", Origin::Flag("--warm"));
        assert_eq!(
            origins.explained(error).0,
            "cache.warm must be at most cache.capacity (--warm)"
        );
    }
}
