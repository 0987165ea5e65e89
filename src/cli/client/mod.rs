//! `mintage client`: creates, lists, shows, updates, enables, disables, deletes and imports
//! clients.

mod create;
mod delete;
mod enable;
mod fields;
mod import;
mod label_changes;
mod list;
mod named;
mod revoke_tokens;
mod secret;
mod secret_file;
mod show;
mod update;

use super::{Context, Failure, confirm, print, print_json, print_table};
use named::Named;
use secret_file::SecretFile;
use update::Update;

pub use create::NewClient;
#[doc(hidden)]
pub use import::{Inspected, inspect};
pub use secret_file::new_secret;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Create a client; its secret is shown only once
    #[command(
        after_help = "Example:\n  mintage client create --name Orders --id orders --scope \"orders:read orders:write\" --ttl 15m"
    )]
    Create(Box<NewClient>),
    /// List all clients, or those of a name or with labels
    #[command(after_help = "Example:\n  mintage client list --name billing --label team=payments")]
    List(list::List),
    /// Show one client
    Show(Named),
    /// Enable a client
    Enable(Named),
    /// Disable a client: it gets no tokens, and its tokens are inactive
    Disable(Named),
    /// Change a client; members without a flag keep their value
    #[command(after_help = "Example:\n  mintage client update orders --scope orders:read --ttl default")]
    Update(Box<Update>),
    /// Delete a client and its secrets
    Delete(delete::Delete),
    /// Revoke all tokens issued to a client so far
    RevokeTokens(revoke_tokens::RevokeTokens),
    /// Import clients with their secrets from Ory Hydra, Keycloak or CSV
    #[command(after_help = "Example:\n  mintage client import clients.csv --dry-run")]
    Import(import::Arguments),
    /// Manage the secrets of a client
    #[command(subcommand)]
    Secret(secret::Command),
}

pub fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(new) => create::run(context, &new),
        Command::List(list) => list::run(context, &list),
        Command::Show(named) => show::run(context, &named),
        Command::Enable(named) => enable::run(context, &named, true),
        Command::Disable(named) => enable::run(context, &named, false),
        Command::Update(update) => update::run(context, &update),
        Command::Delete(delete) => delete::run(context, &delete),
        Command::RevokeTokens(revoke) => revoke_tokens::run(context, &revoke),
        Command::Import(arguments) => import::run(context, &arguments),
        Command::Secret(command) => secret::run(context, command),
    }
}
