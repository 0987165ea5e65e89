//! The record of an issued token.

use std::net::IpAddr;
use std::sync::Arc;

use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::origin::Origin;
use crate::oauth::token_id::TokenId;

/// The record of an issued token. It does not contain the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// The token id.
    pub jti: TokenId,
    /// The client that the token was issued to.
    pub client_id: Arc<str>,
    /// The granted scope.
    pub scope: Arc<str>,
    /// The audiences, separated by spaces.
    pub audience: Arc<str>,
    /// When it was issued, in seconds since the epoch.
    pub issued_at: i64,
    /// When the token expires, in seconds since the epoch.
    pub expires_at: i64,
    /// Whether the token can be redeemed only once.
    pub one_time: bool,
    /// The id of the secret that the client proved itself with; `None` if it is not known.
    pub secret_id: Option<Arc<str>>,
    /// The client IP; `None` if it is not known.
    pub client_ip: Option<IpAddr>,
}

impl From<&AccessTokenClaims> for TokenRecord {
    fn from(claims: &AccessTokenClaims) -> Self {
        Self {
            jti: claims.jti,
            client_id: claims.client_id.clone(),
            scope: claims.scope.shared(),
            audience: claims.aud.joined(),
            issued_at: claims.iat,
            expires_at: claims.exp,
            one_time: claims.one_time,
            secret_id: None,
            client_ip: None,
        }
    }
}

impl TokenRecord {
    /// The record of a token that was issued to this origin.
    pub fn new(claims: &AccessTokenClaims, origin: Origin) -> Self {
        Self {
            secret_id: Some(origin.secret_id),
            client_ip: origin.client_ip,
            ..Self::from(claims)
        }
    }

    /// The bytes that the record adds to what its client holds already. For a record of a token
    /// whose claims exist.
    pub fn own_bytes(&self) -> usize {
        /// The record and the claims hold a scope that the request named. A default scope is also
        /// held by the client.
        const OF_ONE_REQUEST: usize = 2;
        let own = |text: &Arc<str>, holders: usize| match Arc::strong_count(text) <= holders {
            true => text.len(),
            false => 0,
        };
        // Several audiences are joined for the record alone; a single one is the client's.
        own(&self.scope, OF_ONE_REQUEST) + own(&self.audience, 1)
    }
}
