//! The file to import: bounded reading, and detection of its format.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use zeroize::Zeroizing;

use super::super::Failure;
use super::entry::Entry;
use super::{csv_file, hydra, keycloak};

/// The maximum size of the file in bytes. Parsed as JSON, it takes several times as much memory.
const MAX_FILE: u64 = 64 << 20;

/// The maximum number of clients per file. All are written in one transaction, and every running
/// server receives each change.
const MAX_ENTRIES: usize = 20_000;

/// The formats that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Ory Hydra clients, with hashed secrets
    Hydra,
    /// Keycloak realm export, with plain secrets
    Keycloak,
    /// Comma-separated values, one client per line; columns in docs/import.md
    Csv,
}

impl Format {
    /// The name of the format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hydra => "hydra",
            Self::Keycloak => "keycloak",
            Self::Csv => "csv",
        }
    }
}

/// The content of the file, zeroized when it is dropped.
pub struct Source(Zeroizing<Vec<u8>>);

/// Reads a file, or standard input for `-`.
///
/// # Errors
/// When the file cannot be read or is too large.
pub fn read(file: &Path) -> Result<Source, Failure> {
    let name = file.display();
    let mut bytes = Zeroizing::new(Vec::new());
    let done = match file.as_os_str() == "-" {
        true => std::io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut bytes),
        false => File::open(file).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)),
    };
    done.map_err(|error| Failure::Failed(format!("{name} cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_FILE {
        let most = MAX_FILE >> 20;
        return Err(Failure::Failed(format!(
            "{name} is larger than {most} MiB: import it in parts"
        )));
    }
    Ok(Source(bytes))
}

impl Source {
    /// Detects the format from the content.
    ///
    /// # Errors
    /// When the content matches no known format.
    pub fn guess(&self) -> Result<Format, Failure> {
        let text = self.text();
        match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{' | b'[') => {}
            _ => return Ok(Format::Csv),
        }
        let documents = self.documents()?;
        match documents.iter().find_map(guess) {
            Some(format) => Ok(format),
            None => Err(Failure::Failed(
                "the file has no known format: see docs/import.md, or name it with --format".into(),
            )),
        }
    }

    /// Reads all clients of the file.
    ///
    /// # Errors
    /// When the file is invalid in this format, or has too many clients.
    pub fn entries(&self, format: Format) -> Result<Vec<Entry>, Failure> {
        let entries = match format {
            Format::Hydra => hydra::entries(&self.documents()?),
            Format::Keycloak => keycloak::entries(&self.documents()?),
            Format::Csv => csv_file::entries(self.text()).map_err(Failure::Failed)?,
        };
        match entries.len() <= MAX_ENTRIES {
            true => Ok(entries),
            false => Err(Failure::Failed(format!(
                "the file has more than {MAX_ENTRIES} clients: import them in parts"
            ))),
        }
    }

    /// The bytes without a byte order mark.
    fn text(&self) -> &[u8] {
        self.0.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.0)
    }

    /// Parses one or more concatenated JSON documents.
    fn documents(&self) -> Result<Vec<Value>, Failure> {
        let documents = serde_json::Deserializer::from_slice(self.text()).into_iter();
        documents.collect::<Result<_, _>>().map_err(|error| {
            // Not the error of the library: it may quote the input, which may contain a secret.
            let (line, column) = (error.line(), error.column());
            Failure::Failed(format!("the file is not JSON: see line {line}, column {column}"))
        })
    }
}

fn guess(document: &Value) -> Option<Format> {
    match document {
        Value::Array(items) => items.iter().find_map(guess),
        Value::Object(members) if members.contains_key("realm") || members.contains_key("clientId") => {
            Some(Format::Keycloak)
        }
        Value::Object(members) if members.contains_key("client_id") || members.contains_key("grant_types") => {
            Some(Format::Hydra)
        }
        Value::Object(members) => members.get("clients").or_else(|| members.get("items")).and_then(guess),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source(Zeroizing::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn the_format_is_detected_from_the_content() {
        for (text, format) in [
            ("client_id,scope,secret\n", Format::Csv),
            ("\u{feff}client_id,scope\n", Format::Csv),
            ("[{\"client_id\": \"a\"}]", Format::Hydra),
            ("{\"client_id\": \"a\"}\n{\"client_id\": \"b\"}\n", Format::Hydra),
            ("{\"items\": [{\"client_id\": \"a\"}]}", Format::Hydra),
            ("[{\"id\": \"a\", \"grant_types\": []}]", Format::Hydra),
            ("{\"realm\": \"r\", \"clients\": []}", Format::Keycloak),
            ("[{\"realm\": \"r\"}]", Format::Keycloak),
            (" {\"clients\": [{\"clientId\": \"a\"}]}", Format::Keycloak),
            ("\u{feff}[{\"clientId\": \"a\"}]", Format::Keycloak),
        ] {
            assert_eq!(source(text).guess(), Ok(format), "{text}");
        }
        for text in ["[]", "{}", "{\"users\": []}"] {
            assert!(source(text).guess().is_err(), "{text}");
        }
    }

    #[test]
    fn g8_invalid_json_is_reported_by_its_position_alone() {
        let Err(Failure::Failed(text)) = source("[{\"client_secret\": \"hunter2\" \"b\"}]").guess() else {
            panic!("it is JSON");
        };
        assert_eq!(text, "the file is not JSON: see line 1, column 30");
    }

    #[test]
    fn too_many_clients_are_rejected() {
        let many = |count| source(&"{\"client_id\": \"a\"}\n".repeat(count)).entries(Format::Hydra);
        assert_eq!(many(MAX_ENTRIES).map(|entries| entries.len()).ok(), Some(MAX_ENTRIES));
        assert!(many(MAX_ENTRIES + 1).is_err());
    }
}
