//! [`TestClient`]: the credentials of an OAuth client.

use mintage::oauth::client::ClientId;

/// A client id and its secret in the clear.
#[derive(Clone, Debug)]
pub struct TestClient {
    pub id: String,
    pub secret: String,
}

impl TestClient {
    pub fn new(id: &str, secret: &str) -> Self {
        Self {
            id: id.to_owned(),
            secret: secret.to_owned(),
        }
    }

    pub fn id(&self) -> ClientId {
        ClientId::parse(&self.id).unwrap()
    }

    /// The same client with another secret.
    pub fn with_secret(&self, secret: &str) -> Self {
        Self::new(&self.id, secret)
    }

    /// The client in the response to its creation, on the command line or by the admin API.
    #[track_caller]
    pub fn created(document: &serde_json::Value) -> Self {
        let text = |member: &str| document[member].as_str().expect(member);
        Self::new(text("client_id"), text("client_secret"))
    }
}
