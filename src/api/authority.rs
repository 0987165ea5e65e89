//! By which authority an operator changes something.

use std::sync::Arc;

use crate::oauth::client::ClientId;
use crate::oauth::duty::{Duties, Duty};
use crate::oauth::token_id::TokenId;

/// Why a change is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The command line, or Mintage itself. A user who can reach the database needs no duty.
    Machine,
    /// The token of an operator.
    Token(TokenAuthority),
}

/// The authority of a token. It is read again in the transaction of the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAuthority {
    /// The client of the token.
    pub client: ClientId,
    /// The token.
    pub jti: TokenId,
    /// The secret that obtained the token.
    pub secret_id: Arc<str>,
    /// The duties of the token, which the client may have lost since.
    pub duties: Duties,
    /// The duty that the change needs.
    pub needs: Duty,
}
