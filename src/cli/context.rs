//! [`Context`], [`Failure`] and printing, shared by all commands.

use std::fmt;

use super::principal;
use crate::api::audit::Principal;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Duration, Found, Sources};
use crate::db::{self, Conn, Db, DbError, migrations};

/// Why a command failed. The text is one line that includes what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The operation failed: exit code 1.
    Failed(String),
    /// The arguments are invalid: exit code 2.
    Usage(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Usage(text) => f.write_str(text),
        }
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        let text = error.to_string();
        // libpq ends its messages with a line break.
        let text = text.trim_end();
        Self::Failed(match error {
            DbError::Unavailable(_) => format!("{text}: check database.url, or try again"),
            DbError::Disconnected(_) => format!("{text}: a change may have been made: check before you try again"),
            _ => text.to_owned(),
        })
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What every command needs.
pub struct Context {
    pub sources: Sources,
    pub clock: Clock,
}

impl Context {
    /// The effective configuration.
    pub fn config(&self) -> Result<Config, Failure> {
        Ok(self.sources.load()?)
    }

    /// Who runs this command, for the audit log.
    pub fn principal(&self) -> Principal {
        principal::of_process()
    }

    /// Opens the database to read it. Creates and migrates nothing.
    pub fn database_to_read(&self) -> Result<Db, Failure> {
        let config = self.config()?;
        if !db::may_exist(&config.database.url) {
            return Err(Failure::Failed("there is no database at database.url".into()));
        }
        let database = open(&config)?;
        database.run_here(|conn| migrations::ensure_current(conn, false))?;
        Ok(database)
    }

    /// Runs `work` on the database, after migrating its schema if the configuration allows that.
    pub fn with_database<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, Failure> {
        let config = self.config()?;
        Ok(open(&config)?.run_here(|conn| {
            migrations::ensure_current(conn, config.database.auto_migrate)?;
            work(conn)
        })?)
    }
}

/// Opens the database with a single connection, which is enough for a command.
///
/// # Errors
/// Every user of the machine can change the file of an SQLite database.
pub fn open(config: &Config) -> Result<Db, Failure> {
    config.check_database_files()?;
    let mut database = config.database.clone();
    database.pool.max_size = 1;
    database.pool.min_idle = 0;
    // A command may wait longer than a request for a server that is writing.
    database.query_timeout = database.query_timeout.max(Duration::seconds(10));
    database.pool.connection_timeout = database.pool.connection_timeout.max(Duration::seconds(5));
    Ok(Db::open(&database))
}

/// Prints a weak setting to standard error.
pub fn warn(Found { key, weakness, detail }: &Found) {
    let detail = detail.as_deref().map(|detail| format!(" ({detail})"));
    eprintln!(
        "mintage: warning: {key}: {}{}",
        weakness.text(),
        detail.unwrap_or_default()
    );
}

/// Prints to standard output. A closed pipe (`| head`) is not an error.
pub fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
}

/// Prints a document as JSON.
pub fn print_json(document: &impl serde::Serialize) {
    print(&serde_json::to_string(document).expect("printed documents consist of strings and numbers"));
}
