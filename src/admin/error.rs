//! [`OperationError`]: why an operation failed, told apart by what the operator can do about it.

use crate::api::client_fields::MalformedClient;
use crate::db::{DbError, NotAuthorized};
use crate::gateway::route::MalformedRoute;
use crate::oauth::duty::Duty;

/// Why an operation failed. After [`OperationError::Unavailable`] and [`OperationError::Internal`]
/// the change may have been committed all the same; after any other error it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationError {
    /// There is no client with this id.
    ClientNotFound,
    /// The client has no secret with this id.
    SecretNotFound,
    /// No token can have this id.
    TokenNotFound,
    /// There is no route with this id.
    RouteNotFound,
    /// The id of the new client belongs to another client.
    ClientExists,
    /// There is a route with the same method, host and path.
    RouteExists,
    /// Each of the requested algorithms has a key that is published and not active yet.
    NextKeyExists,
    /// A row with this id exists, although ids are random.
    AlreadyExists,
    /// The client has [`super::MAX_SECRETS`] secrets.
    TooManySecrets,
    /// The client has the given secret already.
    SecretExists,
    /// The client has the given secret, and it has expired.
    SecretExpired,
    /// The client exists, and the caller meant to create it.
    NotNew,
    /// The client is not the version that the caller meant to change.
    VersionMismatch,
    /// The operator does not have this duty any more. It had it when the request began.
    AuthorityLost(Duty),
    /// The client has, or would get, a reserved scope that the operator does not hold.
    NotHeld,
    /// A member of the client is malformed.
    MalformedClient(MalformedClient),
    /// The route is malformed.
    MalformedRoute(MalformedRoute),
    /// The database did not answer.
    Unavailable,
    /// The database rejected the operation, or holds a row that cannot be read. The cause is in the
    /// log.
    Internal,
}

/// The error of an operation whose database call failed. The cause goes to the log, never to the
/// operator.
pub(super) fn failed(error: DbError) -> OperationError {
    match error {
        DbError::Unavailable(_) | DbError::Unusable(_) | DbError::Disconnected(_) => OperationError::Unavailable,
        DbError::Conflict => OperationError::AlreadyExists,
        DbError::NotAuthorized(NotAuthorized::Lost(duty)) => OperationError::AuthorityLost(duty),
        DbError::NotAuthorized(NotAuthorized::NotHeld) => OperationError::NotHeld,
        DbError::Inconsistent(_) | DbError::Query(_) => {
            log::error!(error:%; "admin request failed");
            OperationError::Internal
        }
    }
}
