//! `mintage audit`: prints the audit log (actor, action, time and source of each change) as JSON
//! lines, and verifies its chain of hashes.

mod copy;
mod event_id;
mod print;
mod verify;

use super::{Context, Failure};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[group(skip)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    print: print::Arguments,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Verify that no line of the audit log was changed, added or removed
    Verify(verify::Arguments),
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Some(Command::Verify(arguments)) => verify::run(context, arguments),
        None => print::run(context, &arguments.print),
    }
}
