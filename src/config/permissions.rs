//! Modes of the files that Mintage believes or that hold secrets: a file that every user can change
//! is rejected, one that others can read is reported.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::database_url::{DatabaseUrl, variable};
use super::{Config, ConfigError};

const WRITABLE_BY_OTHERS: u32 = 0o002;
const READABLE_BY_OTHERS: u32 = 0o004;
const WRITABLE_BY_GROUP: u32 = 0o020;
const STICKY: u32 = 0o1000;

/// Checks the file at `path`, which an error calls `what`. Returns its mode if it is open to more
/// users than necessary. A link is followed, as in a volume of Kubernetes.
///
/// # Errors
/// Every user of the machine can change the file, or put another one in its place.
pub(super) fn check(what: &str, path: &Path, holds_secrets: bool) -> Result<Option<String>, ConfigError> {
    if path.is_file()
        && let Some(mode) = open_folder(path, is_read_only)
    {
        return Err(ConfigError(format!(
            "{what} is in a folder of mode {mode:04o}: every user of this machine can replace it: chmod o-w"
        )));
    }
    check_file(what, path, holds_secrets)
}

fn check_file(what: &str, path: &Path, holds_secrets: bool) -> Result<Option<String>, ConfigError> {
    match std::fs::metadata(path) {
        // A pipe or a terminal has no content that others could change. What is missing is an
        // error of the reader.
        Ok(metadata) if metadata.is_file() => check_mode(what, metadata.permissions().mode(), holds_secrets),
        _ => Ok(None),
    }
}

/// The mode of the folder of a file, or of the file that it links to, in which every user can
/// replace the file. No one can in a folder that `is_read_only`, such as a ConfigMap of Kubernetes,
/// which has mode 0777.
fn open_folder(path: &Path, is_read_only: fn(&Path) -> bool) -> Option<u32> {
    let target = path.canonicalize().ok();
    let mut folders = [Some(path), target.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(Path::parent);
    folders.find_map(|folder| {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let mode = std::fs::metadata(folder).ok()?.permissions().mode() & 0o7777;
        let is_open = mode & (WRITABLE_BY_OTHERS | STICKY) == WRITABLE_BY_OTHERS;
        (is_open && !is_read_only(folder)).then_some(mode)
    })
}

/// Whether the file system of a folder is mounted for reading only.
fn is_read_only(folder: &Path) -> bool {
    let status = rustix::fs::statvfs(folder);
    status.is_ok_and(|status| status.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
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
    /// Checks the files of an SQLite database, or those with the certificate authorities of
    /// PostgreSQL. Returns what is open to more users than necessary: the key, and the mode.
    ///
    /// The folder of an SQLite database is only reported: many a volume of a container, in which
    /// there are no other users, has mode 0777.
    ///
    /// # Errors
    /// Every user of the machine can change one of the files.
    pub fn check_database_files(&self) -> Result<Vec<(&'static str, String)>, ConfigError> {
        let database = &self.database;
        let Some(path) = sqlite_path(&database.url) else {
            let replicas = database.replica_urls.iter().map(|url| ("database.replica_urls", url));
            let urls = std::iter::once(("database.url", &database.url)).chain(replicas);
            let of_urls = urls.filter_map(|(key, url)| {
                let url = DatabaseUrl::parse(url).ok()?;
                Some((key, "sslrootcert", PathBuf::from(url.parameter("sslrootcert")?)))
            });
            let open = of_urls
                .chain(authorities_of_environment())
                .filter_map(|(key, name, path)| check_authorities(key, name, &path).transpose());
            return open.collect();
        };
        let mut open = open_folder(Path::new(path), is_read_only).map(|mode| format!("folder, mode {mode:04o}"));
        for suffix in ["", "-wal", "-shm"] {
            let what = format!("the file{suffix} of database.url");
            let mode = check_file(&what, Path::new(&format!("{path}{suffix}")), true)?;
            open = open.or(mode);
        }
        Ok(open.map(|mode| ("database.url", mode)).into_iter().collect())
    }
}

/// The files with certificate authorities that are used without a name in a URL.
fn authorities_of_environment() -> impl Iterator<Item = (&'static str, &'static str, PathBuf)> {
    let of_variable = |name: &'static str| Some((name, PathBuf::from(variable(name)?)));
    let home = std::env::home_dir().map(|home| ("~/.postgresql/root.crt", home.join(".postgresql/root.crt")));
    let named = [of_variable("PGSSLROOTCERT"), of_variable("SSL_CERT_FILE"), home];
    named
        .into_iter()
        .flatten()
        .map(|(name, path)| ("database.url", name, path))
}

/// Checks the file that `SSL_CERT_FILE` names, for commands that ask a server over https.
///
/// # Errors
/// Every user of the machine can change it, or put another one in its place.
pub fn check_system_authorities() -> Result<(), ConfigError> {
    match variable("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        Some(path) => check("the file of SSL_CERT_FILE", Path::new(&path), false).map(drop),
        None => Ok(()),
    }
}

/// Checks a file with certificate authorities; `system` and nothing are none.
fn check_authorities(
    key: &'static str,
    name: &'static str,
    path: &Path,
) -> Result<Option<(&'static str, String)>, ConfigError> {
    if matches!(path.to_str(), Some("" | "system")) {
        return Ok(None);
    }
    let mode = check(&format!("the file of {name} for {key}"), path, false)?;
    Ok(mode.map(|mode| (key, format!("{name}, {mode}"))))
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
    fn a_mode_is_accepted_reported_or_rejected() {
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
    fn no_one_replaces_a_file_in_a_folder_that_is_mounted_for_reading_only() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let file = folder.path().join("mintage.toml");
        assert_eq!(open_folder(&file, |_| false), Some(0o777));
        assert_eq!(open_folder(&file, |_| true), None);
        assert!(!is_read_only(folder.path()));
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
