//! An operator, as the admin API shows it to itself.

use serde::Serialize;
use utoipa::ToSchema;

/// What an operator may do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Operator)]
pub struct OperatorDocument {
    /// The client of the token.
    pub client_id: String,
    /// What the token is worth now: the duties of the token that the client still has.
    pub scope: String,
    /// The duties that the client has now, which a new token can have.
    pub available: String,
}
