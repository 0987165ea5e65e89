//! `mintage config`: checks the configuration, or shows the effective values.

use super::{Context, Failure, print, warn};
use crate::config::{shown, weaknesses};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Validate the configuration
    Check,
    /// Print the effective configuration, passwords masked
    Show,
}

pub fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let mut config = context.config()?;
    match command {
        Command::Check => {
            for found in &weaknesses(&config, &context.sources)? {
                warn(found);
            }
            print("the configuration is valid");
        }
        Command::Show => {
            config.database.url = shown(&config.database.url);
            config.redis.url = shown(&config.redis.url);
            for url in &mut config.database.replica_urls {
                *url = shown(url);
            }
            print(&toml::to_string(&config).map_err(|error| Failure::Failed(error.to_string()))?);
        }
    }
    Ok(())
}
