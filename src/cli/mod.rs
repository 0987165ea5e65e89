//! The command line: one file a command. Exit codes: 0 done, 1 failed, 2 wrong usage; an error is one line.

mod audit;
mod client;
mod completions;
mod config;
mod dev;
mod key;
mod migrate;
mod route;
mod serve;
mod stats;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::api::audit::Principal;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Duration, Sources};
use crate::db::migrations;
use crate::db::{Conn, Db, DbError};

/// Mintage: a machine-to-machine OAuth 2.0 token server.
#[derive(Parser)]
#[command(name = "mintage", version, disable_help_subcommand = true)]
struct CommandLine {
    /// The configuration file [default: ./mintage.toml, if there is one; environment: MINTAGE_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database, before anything that file and environment say [environment: MINTAGE_DATABASE_URL]
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Arguments),
    /// Manage clients
    #[command(subcommand)]
    Client(client::Command),
    /// Look at the signing keys, or rotate them
    #[command(subcommand)]
    Key(key::Command),
    /// Manage what gateways let through
    #[command(subcommand)]
    Route(route::Command),
    /// Print who changed what, when and from where, as JSON lines
    Audit(audit::Arguments),
    /// Bring the database schema up to date, or take a step back
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Watch a running server: tokens, latency, cache, writer, pool
    Stats(stats::Arguments),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
}

/// A command did not do what it was asked; the text is one line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It failed: exit code 1.
    Failed(String),
    /// It was asked wrongly: exit code 2.
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
        Self::Failed(error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What every command works with.
struct Context {
    sources: Sources,
    clock: Clock,
}

impl Context {
    fn config(&self) -> Result<Config, Failure> {
        Ok(self.sources.load()?)
    }

    /// Who runs this command, for the audit trail: the user of the machine, whoever `sudo` was called by.
    fn author(&self) -> Principal {
        let named = |variable| std::env::var(variable).ok().filter(|name| !name.is_empty());
        let user = named("SUDO_USER")
            .or_else(|| named("USER"))
            .or_else(|| named("LOGNAME"));
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Principal {
            who: user.unwrap_or_else(|| "unknown".into()),
            origin: format!("command line {}", host.trim()).trim_end().to_owned(),
        }
    }

    /// Runs `work` on the database, whose schema is brought up to date first where the configuration allows it.
    fn with_database<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> Result<T, Failure> {
        let config = self.config()?;
        Ok(open(&config).run_here(|conn| {
            migrations::ensure_current(conn, config.database.auto_migrate)?;
            work(conn)
        })?)
    }
}

/// A pool of one: a command needs no more.
fn open(config: &Config) -> Db {
    let mut database = config.database.clone();
    database.pool.max_size = 1;
    database.pool.min_idle = 0;
    // A command may wait longer than a request for a server that is writing.
    database.query_timeout = database.query_timeout.max(Duration::seconds(10));
    database.pool.connection_timeout = database.pool.connection_timeout.max(Duration::seconds(5));
    Db::open(&database)
}

/// Runs the command that `arguments` name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => return wrong_usage(&error),
    };
    let context = Context {
        sources: Sources::of_process(line.config, line.database_url),
        clock: Clock::System,
    };
    let done = match line.command {
        Command::Serve(arguments) => serve::run(&context, &arguments),
        Command::Client(command) => client::run(&context, command),
        Command::Key(command) => key::run(&context, command),
        Command::Route(command) => route::run(&context, command),
        Command::Audit(arguments) => audit::run(&context, &arguments),
        Command::Migrate(command) => migrate::run(&context, command),
        Command::Stats(arguments) => stats::run(&context, &arguments),
        Command::Config(command) => config::run(&context, command),
        Command::Completions(arguments) => completions::run(&mut CommandLine::command(), &arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A cause from below may have several lines.
            let text = failure.to_string();
            let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            eprintln!("mintage: {}", lines.join(" "));
            match failure {
                Failure::Failed(_) => ExitCode::from(1),
                Failure::Usage(_) => ExitCode::from(2),
            }
        }
    }
}

/// Help and version go to standard output; of an error, the first line is what is wrong.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        print!("{error}");
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        eprintln!("mintage: a subcommand is missing (see --help)");
        return ExitCode::from(2);
    }
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or_default().trim_start_matches("error: ");
    // Missing arguments are listed on the lines that follow.
    let listed: Vec<&str> = lines.take_while(|line| line.starts_with(['<', '-', '['])).collect();
    eprintln!(
        "mintage: {} (see --help)",
        [&[what], listed.as_slice()].concat().join(" ")
    );
    ExitCode::from(2)
}

/// Prints to standard output; a reader that has gone away (`| head`) is no failure.
fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
}

/// Prints a document as JSON.
fn print_json(document: &impl serde::Serialize) {
    print(&serde_json::to_string(document).expect("what a command shows is made of strings and numbers"));
}
