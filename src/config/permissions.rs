//! Modes of the files that Mintage believes or that hold secrets: a file that every user can change
//! is refused, one that others can read is reported.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::{Config, ConfigError};

const WRITABLE_BY_OTHERS: u32 = 0o002;
const READABLE_BY_OTHERS: u32 = 0o004;
const WRITABLE_BY_GROUP: u32 = 0o020;

/// Checks the file at `path`, which an error calls `what`. Returns its mode if it is open to more
/// users than necessary. A link is followed, as in a volume of Kubernetes.
///
/// # Errors
/// Every user of the machine can change the file.
pub(super) fn check(what: &str, path: &Path, holds_secrets: bool) -> Result<Option<String>, ConfigError> {
    match std::fs::metadata(path) {
        // A pipe or a terminal has no content that others could change. What is missing is an
        // error of the reader.
        Ok(metadata) if metadata.is_file() => check_mode(what, metadata.permissions().mode(), holds_secrets),
        _ => Ok(None),
    }
}

fn check_mode(what: &str, mode: u32, holds_secrets: bool) -> Result<Option<String>, ConfigError> {
    let mode = mode & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(ConfigError(format!(
            "{what} has mode {mode:04o}: every user of this machine can change it: chmod 600"
        )));
    }
    let readable = holds_secrets && mode & READABLE_BY_OTHERS != 0;
    let is_open = readable || mode & WRITABLE_BY_GROUP != 0;
    Ok(is_open.then(|| format!("mode {mode:04o}")))
}

/// Checks a configuration file that no one has named: it was found in the working directory, which
/// another user may have prepared.
///
/// # Errors
/// Another user than root and the one of this process owns the file.
pub(super) fn check_owner(what: &str, path: &Path) -> Result<(), ConfigError> {
    let user = rustix::process::geteuid().as_raw();
    match std::fs::metadata(path).as_ref().map(Metadata::uid) {
        Ok(owner) if owner != 0 && owner != user => Err(ConfigError(format!(
            "{what} belongs to another user: name it with --config to use it"
        ))),
        _ => Ok(()),
    }
}

impl Config {
    /// Checks the files of an SQLite database. Returns the first mode that is open to more users
    /// than necessary.
    ///
    /// # Errors
    /// Every user of the machine can change one of the files.
    pub fn check_database_files(&self) -> Result<Option<String>, ConfigError> {
        let Some(path) = sqlite_path(&self.database.url) else {
            return Ok(None);
        };
        let mut open = None;
        for suffix in ["", "-wal", "-shm"] {
            let file = format!("{path}{suffix}");
            let what = format!("the file{suffix} of database.url");
            let mode = check(&what, Path::new(&file), true)?;
            open = open.or(mode);
        }
        Ok(open)
    }
}

/// The file of an SQLite URL: `sqlite:a.db`, `sqlite://a.db` and `sqlite:///a.db` are all accepted.
/// `None` for another database.
pub fn sqlite_path(url: &str) -> Option<&str> {
    let path = url.strip_prefix("sqlite:")?;
    Some(path.strip_prefix("//").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_accepted_reported_or_refused() {
        for (mode, secret, public) in [
            (0o100600, None, None),
            (0o100400, None, None),
            (0o100440, None, None),
            (0o100640, None, None),
            (0o100644, Some("mode 0644"), None),
            (0o100444, Some("mode 0444"), None),
            (0o100660, Some("mode 0660"), Some("mode 0660")),
            (0o104604, Some("mode 4604"), None),
        ] {
            assert_eq!(check_mode("x", mode, true).unwrap().as_deref(), secret, "{mode:o}");
            assert_eq!(check_mode("x", mode, false).unwrap().as_deref(), public, "{mode:o}");
        }
        for mode in [0o100666, 0o100602, 0o100777, 0o100646] {
            assert!(
                check_mode("x", mode, false).unwrap_err().0.starts_with("x has mode 0"),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn the_file_of_an_sqlite_url_is_found_in_every_spelling() {
        for (url, path) in [
            ("sqlite:a.db", Some("a.db")),
            ("sqlite://a.db", Some("a.db")),
            ("sqlite:///a.db", Some("/a.db")),
            ("postgres://h/d", None),
        ] {
            assert_eq!(sqlite_path(url), path);
        }
    }
}
