//! [`Context`], [`Failure`] and printing, shared by all commands.

use std::fmt;
use std::io::IsTerminal;

use super::principal;
use crate::api::audit::Principal;
use crate::clock::Clock;
use crate::config::{self, Config, ConfigError, Duration, Found, Sources};
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
            DbError::Unusable(_) => format!("{text}: check database.url"),
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
        let database = open_existing(&config)?;
        database.run_here(|conn| migrations::ensure_current(conn, false))?;
        Ok(database)
    }

    /// Runs `work` on the database. Neither creates it nor migrates its schema.
    pub fn with_database<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, Failure> {
        Ok(open_existing(&self.config()?)?.run_here(|conn| {
            migrations::ensure_current(conn, false)?;
            work(conn)
        })?)
    }

    /// As [`Context::with_database`], but creates a database that does not exist, or that has no
    /// schema yet, if `create` is set.
    pub fn with_new_database<T>(
        &self,
        create: bool,
        work: impl FnOnce(&mut Conn) -> Result<T, DbError>,
    ) -> Result<T, Failure> {
        let config = self.config()?;
        let database = match create {
            true => open(&config)?,
            false => open_existing(&config)?,
        };
        Ok(database.run_here(|conn| {
            if create && migrations::status(conn)?.iter().all(|migration| !migration.applied) {
                database.check_sessions(conn)?;
                migrations::up(conn)?;
                eprintln!("mintage: created the database {}", address(&config));
            }
            migrations::ensure_current(conn, false)?;
            work(conn)
        })?)
    }

    /// Runs `work` on the database of a server that starts: created, and migrated if the
    /// configuration allows that.
    pub fn with_database_of_server<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, Failure> {
        let config = self.config()?;
        let database = open(&config)?;
        Ok(database.run_here(|conn| {
            database.check_sessions(conn)?;
            migrations::ensure_current(conn, config.database.auto_migrate)?;
            work(conn)
        })?)
    }
}

/// Opens the database, unless it is a file that does not exist: in the wrong folder, a command
/// would otherwise create one that no server knows.
///
/// # Errors
/// There is no database, or every user of the machine can change its file.
pub fn open_existing(config: &Config) -> Result<Db, Failure> {
    if db::may_exist(&config.database.url) {
        return open(config);
    }
    Err(Failure::Failed(format!(
        "there is no database {}: name that of the server with --config or --database-url; \
         `mintage serve`, `mintage migrate up` and --create make a new one",
        address(config)
    )))
}

/// The database as messages name it: absolute, and without a password.
fn address(config: &Config) -> String {
    match config::sqlite_path(&config.database.url) {
        Some(path) => match std::path::absolute(path) {
            Ok(path) => format!("sqlite:{}", path.display()),
            Err(_) => format!("sqlite:{path}"),
        },
        None => config::shown(&config.database.url).to_string(),
    }
}

/// Asks before something is destroyed, if a person can answer. A script is not asked.
///
/// # Errors
/// The answer is no.
pub fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    // An answer that cannot be read is none.
    let _ = std::io::stdin().read_line(&mut answer);
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Failed("nothing changed".into())),
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
