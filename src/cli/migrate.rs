//! `mintage migrate`: applies and reverts migrations of the database schema.

use super::{Context, Failure, open, open_existing, print};
use crate::db::Conn;
use crate::db::migrations::{self, Reverted};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Apply all pending migrations
    Up,
    /// Revert the last migration; the data of the tables it removes is lost. Not while a server runs
    Down {
        /// Do it; without this flag, nothing is reverted
        #[arg(long)]
        yes: bool,
    },
    /// Show which migrations are applied
    Status,
}

pub fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let config = context.config()?;
    match command {
        Command::Up => {
            let db = open(&config)?;
            let applied = db.run_here(|conn| {
                db.check_sessions(conn)?;
                migrations::up(conn)
            })?;
            if applied.is_empty() {
                print("the schema is up to date");
            }
            for name in applied {
                print(&format!("applied {name}"));
            }
        }
        Command::Down { yes: false } => {
            return Err(Failure::Usage(
                "migrate down drops tables with their data: make a backup, then add --yes".into(),
            ));
        }
        Command::Down { yes: true } => match open_existing(&config)?.run_here(migrations::down_if_alone)? {
            Reverted::InUse => {
                return Err(Failure::Failed(
                    "nothing reverted: another process uses the database: stop all servers first".into(),
                ));
            }
            Reverted::Nothing => print("there is nothing to revert"),
            Reverted::Last(name) => print(&format!("reverted {name}")),
        },
        Command::Status => {
            let read = |conn: &mut Conn| Ok((migrations::status(conn)?, migrations::newer(conn)?));
            let (known, newer) = open_existing(&config)?.run_here(read)?;
            for migration in known {
                let state = if migration.applied { "applied" } else { "pending" };
                print(&format!("{state}  {}", migration.name));
            }
            for version in newer {
                print(&format!(
                    "newer    {version}: applied by a newer version than this binary"
                ));
            }
        }
    }
    Ok(())
}
