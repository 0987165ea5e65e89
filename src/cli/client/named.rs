//! The client that a command refers to by its id.

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
    /// Parses the id.
    pub fn parse(&self) -> Result<ClientId, Failure> {
        ClientId::parse(&self.id).ok_or_else(|| Failure::Usage("ID must be 1 to 128 printable ASCII characters".into()))
    }

    /// The failure when the client does not exist.
    pub fn missing(&self) -> Failure {
        Failure::Failed(format!("client {:?} not found: see `mintage client list`", self.id))
    }
}
