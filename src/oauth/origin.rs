//! Where a token was issued to: what an investigation asks first.

use std::net::IpAddr;
use std::sync::Arc;

/// The secret and the address of the request that a token was issued for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The id of the secret that the client proved itself with.
    pub secret_id: Arc<str>,
    /// The client IP; `None` if the connection was gone already.
    pub client_ip: Option<IpAddr>,
}
