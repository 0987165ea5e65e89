//! The command line: one file per command. Exit codes: 0 success, 1 failure, 2 invalid usage. An
//! error is one line.

mod audit;
mod client;
mod completions;
mod config;
mod context;
mod dev;
mod health;
mod key;
mod migrate;
mod principal;
mod route;
mod serve;
mod stats;
mod table;
mod usage;
mod version;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::clock::Clock;
use crate::config::{Sources, password_on_command_line};
use context::{Context, confirm, open, open_existing, print, print_json, warn};
use table::{counted, print_table};
use usage::wrong_usage;
use version::VERSION;

#[doc(hidden)]
pub use client::{Inspected, inspect};
pub use context::Failure;

/// Mintage: a machine-to-machine OAuth 2.0 token server.
#[derive(Parser)]
#[command(name = "mintage", version = VERSION.as_str())]
struct CommandLine {
    /// Configuration file [default: ./mintage.toml if it exists; environment: MINTAGE_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
    /// Database URL; overrides the file and the environment [environment: MINTAGE_DATABASE_URL]
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    database_url: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    #[command(after_help = "Examples:\n  mintage serve --dev\n  mintage serve --config /etc/mintage/mintage.toml")]
    Serve(serve::Arguments),
    /// Manage clients
    #[command(subcommand)]
    Client(client::Command),
    /// List, rotate or re-encrypt signing keys
    #[command(subcommand)]
    Key(key::Command),
    /// Manage the routes of the gateway policy
    #[command(subcommand)]
    Route(route::Command),
    /// Print the audit log as JSON lines, or verify it
    #[command(after_help = "Examples:\n  mintage audit\n  mintage audit verify")]
    Audit(audit::Arguments),
    /// Migrate the database schema
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Ask a server whether it is ready: exit code 0 if it is
    Health(health::Arguments),
    /// Show statistics of a running server
    #[command(after_help = "Example:\n  mintage stats --url http://127.0.0.1:8081 --once")]
    Stats(stats::Arguments),
    /// Validate or show the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Print a shell completion script
    #[command(after_help = "Example:\n  mintage completions bash > /etc/bash_completion.d/mintage")]
    Completions(completions::Arguments),
    /// Print the version, and those of the libraries in the program
    #[command(after_help = "Example:\n  mintage version --verbose")]
    Version(version::Arguments),
}

/// The command line with its help, for the man pages in `ops/man`; without the commit of the build.
#[doc(hidden)]
pub fn command() -> clap::Command {
    CommandLine::command().version(env!("CARGO_PKG_VERSION"))
}

/// Parses `arguments` and runs the command.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => return wrong_usage(&error),
    };
    let context = Context {
        sources: Sources::of_process(line.config, line.database_url),
        clock: Clock::System,
    };
    if let Err(error) = context.sources.check_flags() {
        eprintln!("mintage: {error}");
        return ExitCode::from(2);
    }
    // `serve` logs it, and `config check` prints it with the other weak settings.
    let reports_itself = matches!(
        line.command,
        Command::Serve(_) | Command::Config(config::Command::Check)
    );
    if let Some(found) = password_on_command_line(&context.sources).filter(|_| !reports_itself) {
        warn(&found);
    }
    let done = match line.command {
        Command::Serve(arguments) => serve::run(&context, &arguments),
        Command::Client(command) => client::run(&context, command),
        Command::Key(command) => key::run(&context, command),
        Command::Route(command) => route::run(&context, command),
        Command::Audit(arguments) => audit::run(&context, &arguments),
        Command::Migrate(command) => migrate::run(&context, command),
        Command::Health(arguments) => health::run(&context, &arguments),
        Command::Stats(arguments) => stats::run(&context, &arguments),
        Command::Config(command) => config::run(&context, command),
        Command::Completions(arguments) => completions::run(&mut CommandLine::command(), &arguments),
        Command::Version(arguments) => version::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // The cause may have several lines.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every argument below a command, as `ARGUMENT VALUE`.
    fn arguments(command: &clap::Command, found: &mut Vec<String>) {
        for argument in command
            .get_arguments()
            .filter(|argument| argument.get_action().takes_values())
        {
            let values = argument.get_value_names().unwrap_or_default().join(" ");
            found.push(format!("{} {values}", argument.get_id()));
        }
        command.get_subcommands().for_each(|command| arguments(command, found));
    }

    /// The command line is in the list of processes, which every user of the machine can read.
    #[test]
    fn no_argument_takes_a_secret() {
        let mut found = Vec::new();
        arguments(&CommandLine::command(), &mut found);
        assert!(found.len() > 30, "{found:?}");
        found.retain(|argument| {
            let argument = argument.to_lowercase();
            let sounds_secret = ["secret", "password", "key", "token"]
                .iter()
                .any(|word| argument.contains(word));
            let is_harmless = ["file", "_id", "help", "alg", "label"]
                .iter()
                .any(|word| argument.contains(word));
            sounds_secret && !is_harmless
        });
        assert!(found.is_empty(), "{found:?}");
    }
}
