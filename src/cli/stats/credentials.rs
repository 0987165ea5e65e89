//! The credentials of a client, for a server whose `/metrics` needs a token.
//!
//! The secret is in a file or on standard input: arguments and environment of a process are visible
//! to others on the machine.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::super::Failure;
use crate::encoding::STANDARD;
use crate::oauth::bounds::MAX_SECRET;
use crate::oauth::client_secret::ClientSecret;

/// Where the secret is, if the server needs one.
#[derive(clap::Args)]
pub struct Options {
    /// Client that may read metrics; it needs the scope mintage:read
    #[arg(long, value_name = "ID", requires = "client_secret_file")]
    client_id: Option<String>,
    /// File with the secret of the client; `-` reads it from standard input
    #[arg(long, value_name = "FILE", requires = "client_id")]
    client_secret_file: Option<PathBuf>,
}

/// The id and the secret of a client.
pub struct Credentials {
    id: String,
    secret: ClientSecret,
}

impl Options {
    /// The credentials, if the options name them.
    ///
    /// # Errors
    /// The file cannot be read, is empty, or has more than a secret.
    pub fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        let (Some(id), Some(file)) = (&self.client_id, &self.client_secret_file) else {
            return Ok(None);
        };
        Ok(Some(Credentials {
            id: id.clone(),
            secret: read_secret(file)?,
        }))
    }
}

fn read_secret(file: &Path) -> Result<ClientSecret, Failure> {
    let failed = |what: String| Failure::Failed(format!("--client-secret-file: {what}"));
    let mut text = Zeroizing::new(String::new());
    // With a line break, and one byte that shows that there is more.
    let max = (MAX_SECRET + "\r\n".len() + 1) as u64;
    let read = match file.to_str() {
        Some("-") => std::io::stdin().take(max).read_to_string(&mut text),
        _ => std::fs::File::open(file).and_then(|file| file.take(max).read_to_string(&mut text)),
    };
    read.map_err(|error| failed(format!("cannot read {}: {error}", file.display())))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(failed(format!("{} is empty", file.display()))),
        secret if secret.len() > MAX_SECRET => Err(failed(format!(
            "{} is longer than {MAX_SECRET} bytes, the maximum of a secret",
            file.display()
        ))),
        secret => Ok(ClientSecret::new(secret.to_owned())),
    }
}

impl Credentials {
    /// The value of an Authorization header: both form-encoded (RFC 6749 §2.3.1).
    pub fn basic(&self) -> Zeroizing<String> {
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = Zeroizing::new(format!("{}:{}", encoded(&self.id), encoded(self.secret.reveal())));
        Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_without_its_line_break_and_an_empty_or_longer_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        for (text, secret) in [("a b\r\n", Some("a b")), ("c", Some("c")), ("\n", None), ("", None)] {
            std::fs::write(&file, text).unwrap();
            let read = read_secret(&file).ok();
            assert_eq!(read.as_ref().map(ClientSecret::reveal), secret, "{text:?}");
        }
        for (length, is_read) in [(MAX_SECRET, true), (MAX_SECRET + 1, false), (1 << 20, false)] {
            std::fs::write(&file, "s".repeat(length) + "\r\n").unwrap();
            let read = read_secret(&file).ok().map(|secret| secret.reveal().len());
            assert_eq!(read, is_read.then_some(length));
        }
        let missing = read_secret(&folder.path().join("missing"));
        assert!(matches!(missing, Err(Failure::Failed(what)) if what.contains("cannot read")));
    }

    #[test]
    fn id_and_secret_are_form_encoded() {
        let credentials = Credentials {
            id: "a:b".into(),
            secret: ClientSecret::new("c d%".into()),
        };
        let expected = format!("Basic {}", STANDARD.encode("a%3Ab:c+d%25"));
        assert_eq!(*credentials.basic(), expected);
    }
}
