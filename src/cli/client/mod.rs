//! `mintage client`: makes, lists, shows, changes, enables, disables, deletes and imports clients.

mod create;
mod delete;
mod enable;
mod fields;
mod import;
mod list;
mod named;
mod revoke_tokens;
mod secret;
mod show;
mod update;

use super::{Context, Failure, print, print_json};
use named::Named;
use update::Update;

pub use create::{NewClient, new_secret};
#[doc(hidden)]
pub use import::{Inspected, inspect};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a client; its secret is shown this once
    Create(Box<NewClient>),
    /// List all clients
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one client
    Show(Named),
    /// Let a client get tokens again
    Enable(Named),
    /// Stop a client from getting tokens
    Disable(Named),
    /// Change a client; what is not named stays as it is
    Update(Box<Update>),
    /// Delete a client and its secrets
    Delete(Named),
    /// Make everything issued to a client until now inactive
    RevokeTokens(Named),
    /// Bring clients over from Ory Hydra, Keycloak or a CSV file; their secrets keep working
    Import(import::Arguments),
    /// Manage the secrets of a client
    #[command(subcommand)]
    Secret(secret::Command),
}

pub fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(new) => create::run(context, &new),
        Command::List { json } => list::run(context, json),
        Command::Show(named) => show::run(context, &named),
        Command::Enable(named) => enable::run(context, &named, true),
        Command::Disable(named) => enable::run(context, &named, false),
        Command::Update(update) => update::run(context, &update),
        Command::Delete(named) => delete::run(context, &named),
        Command::RevokeTokens(named) => revoke_tokens::run(context, &named),
        Command::Import(arguments) => import::run(context, &arguments),
        Command::Secret(command) => secret::run(context, command),
    }
}
