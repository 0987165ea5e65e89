//! The secret that `client create` and `client secret add` give a client: read from a file, or
//! generated. It is never an argument, which every user of the machine can read.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Failure;
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::given_secret::{self, DIGEST_MUST_BE, SECRET_MUST_BE};
use crate::oauth::secret_hash::{STORED_PREFIX, SecretHash};
use crate::oauth::stored_secret::StoredSecret;
use crate::time::UnixMillis;

/// More than any secret, so that a wrong file is not read as a whole.
const MAX_FILE: u64 = 4096;

#[derive(clap::Args, Default)]
pub struct SecretFile {
    /// Read the secret from a file instead of generating one; - for standard input. It has the
    /// secret itself, or sha256: and the 64 hexadecimal digits of its digest
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

impl SecretFile {
    /// The secret of the file, or a generated one, which is returned too.
    ///
    /// # Errors
    /// The file cannot be read, or has no acceptable secret. The text does not repeat it.
    pub fn secret(&self, now: UnixMillis) -> Result<(Option<ClientSecret>, StoredSecret), Failure> {
        let Some(file) = &self.secret_file else {
            let (secret, stored) = new_secret(now);
            return Ok((Some(secret), stored));
        };
        Ok((None, StoredSecret::with_hash(read(file)?, now)))
    }
}

/// Generates a secret, and its stored form.
pub fn new_secret(now: UnixMillis) -> (ClientSecret, StoredSecret) {
    let secret = ClientSecret::generate();
    let stored = StoredSecret::new(&secret, now);
    (secret, stored)
}

fn read(file: &Path) -> Result<SecretHash, Failure> {
    let is_stdin = file.as_os_str() == "-";
    let name = match is_stdin {
        true => "standard input".to_owned(),
        false => file.display().to_string(),
    };
    let mut text = Zeroizing::new(String::new());
    let done = match is_stdin {
        true => std::io::stdin().lock().take(MAX_FILE).read_to_string(&mut text),
        false => File::open(file).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)),
    };
    done.map_err(|error| Failure::Failed(format!("--secret-file: {name} cannot be read: {error}")))?;
    // The end of the line is none of the secret.
    let text = text
        .strip_suffix('\n')
        .map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    let (hash, must_be) = match text.strip_prefix(STORED_PREFIX) {
        Some(digits) => (given_secret::digest(digits), DIGEST_MUST_BE),
        None => (given_secret::hash(&ClientSecret::new(text.to_owned())), SECRET_MUST_BE),
    };
    hash.ok_or_else(|| Failure::Failed(format!("--secret-file: what {name} has must be {must_be}")))
}
