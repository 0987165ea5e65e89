//! `[bootstrap]`: the first operator of a deployment in which no one has a shell.

use serde::{Deserialize, Serialize};

use super::{ConfigError, SecretValue};
use crate::oauth::client::ClientId;
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::imported_secret::looks_generated;

/// `[bootstrap]`: a client with `mintage:admin` that the start creates if there is none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bootstrap {
    /// Its id. If empty, no client is created.
    pub client_id: String,
    /// Its secret, which must look generated: only a digest of it is stored.
    pub client_secret: SecretValue,
}

impl Bootstrap {
    /// The id and the secret of the client, if one is configured.
    ///
    /// # Errors
    /// One of the two is missing, the id is malformed, or the secret looks chosen.
    pub fn client(&self) -> Result<Option<(ClientId, ClientSecret)>, ConfigError> {
        let error = |text: &str| Err(ConfigError(text.to_owned()));
        let id = ClientId::parse(&self.client_id);
        if id.is_none() && !self.client_id.is_empty() {
            return error("bootstrap.client_id must be 1 to 128 printable ASCII characters");
        }
        let secret = ClientSecret::new(self.client_secret.reveal().to_owned());
        if !self.client_secret.is_empty() && !looks_generated(&secret) {
            return error("bootstrap.client_secret must be random: generate one with `openssl rand -hex 32`");
        }
        match (id, self.client_secret.is_empty()) {
            (None, true) => Ok(None),
            (None, false) => error("bootstrap.client_secret must come with bootstrap.client_id: set both, or neither"),
            (Some(_), true) => {
                error("bootstrap.client_id must come with bootstrap.client_secret: set both, or neither")
            }
            (Some(id), false) => Ok(Some((id, secret))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: &str = "3f9c1e7ab0d45c2286e1f7739ad05b4e61c8d2f05a97be341c6d80f2e9b7a453";

    fn client(id: &str, secret: &str) -> Result<Option<(String, String)>, String> {
        let bootstrap = Bootstrap {
            client_id: id.into(),
            client_secret: secret.to_owned().into(),
        };
        let client = bootstrap.client().map_err(|error| error.0)?;
        Ok(client.map(|(id, secret)| (id.to_string(), secret.reveal().to_owned())))
    }

    #[test]
    fn a_bootstrap_client_has_an_id_and_a_random_secret() {
        assert_eq!(client("", ""), Ok(None));
        assert_eq!(client("ops", RANDOM), Ok(Some(("ops".into(), RANDOM.into()))));
        let generated = ClientSecret::generate();
        assert!(client("ops", generated.reveal()).is_ok());
        for (id, secret, error) in [
            (
                "",
                RANDOM,
                "bootstrap.client_secret must come with bootstrap.client_id: set both, or neither",
            ),
            (
                "ops",
                "",
                "bootstrap.client_id must come with bootstrap.client_secret: set both, or neither",
            ),
            (
                "öps",
                RANDOM,
                "bootstrap.client_id must be 1 to 128 printable ASCII characters",
            ),
            (
                "ops",
                "hunter2",
                "bootstrap.client_secret must be random: generate one with `openssl rand -hex 32`",
            ),
            (
                "ops",
                "MyCompanyOrdersServiceProduction2024",
                "bootstrap.client_secret must be random: generate one with `openssl rand -hex 32`",
            ),
        ] {
            assert_eq!(client(id, secret), Err(error.into()), "{id} {secret}");
        }
    }
}
