//! `mintage migrate`: applies and reverts migrations of the database schema.

use super::{Context, Failure, open, print};
use crate::db::migrations;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Apply all pending migrations
    Up,
    /// Revert the last migration; the data of the tables it removes is lost
    Down,
    /// Show which migrations are applied
    Status,
}

pub fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let db = open(&context.config()?)?;
    match command {
        Command::Up => {
            let applied = db.run_here(migrations::up)?;
            if applied.is_empty() {
                print("the schema is up to date");
            }
            for name in applied {
                print(&format!("applied {name}"));
            }
        }
        Command::Down => match db.run_here(migrations::down)? {
            Some(name) => print(&format!("reverted {name}")),
            None => print("there is nothing to revert"),
        },
        Command::Status => {
            for migration in db.run_here(migrations::status)? {
                let state = if migration.applied { "applied" } else { "pending" };
                print(&format!("{state}  {}", migration.name));
            }
        }
    }
    Ok(())
}
