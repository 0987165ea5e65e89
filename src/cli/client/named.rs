//! The client that a command refers to by its id.

use super::Failure;
use crate::oauth::client::ClientId;

#[derive(clap::Args)]
pub struct Named {
    /// The client's id
    pub id: String,
    /// As JSON
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
        Failure::Failed(format!("there is no client {:?}: see `mintage client list`", self.id))
    }
}
