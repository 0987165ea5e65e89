//! The client that a command names.

use super::Failure;
use crate::oauth::client::ClientId;

#[derive(clap::Args)]
pub struct Named {
    /// Client id
    pub id: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl Named {
    /// Its id.
    pub fn parse(&self) -> Result<ClientId, Failure> {
        ClientId::parse(&self.id).ok_or_else(|| Failure::Usage("ID must be 1 to 128 printable ASCII characters".into()))
    }

    /// There is no such client.
    pub fn missing(&self) -> Failure {
        Failure::Failed(format!("client {:?} not found: see `mintage client list`", self.id))
    }
}
