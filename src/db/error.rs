//! Database errors, distinguished by what a caller can do about them.

use std::fmt;

use diesel::result::{DatabaseErrorKind, Error};
use tokio::task::JoinError;

use crate::oauth::duty::Duty;

/// A call to the database failed. The text is for the log; clients never receive it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DbError {
    /// The database cannot be reached or did not answer in time. The same call may succeed later.
    Unavailable(String),
    /// The database cannot be used, and waiting does not help: a wrong password, a file that is no
    /// database. Of the callers, only the start and the command line distinguish it from an outage;
    /// elsewhere it is an error like any other.
    Unusable(String),
    /// The connection was lost during the call, whose effect is unknown. Another connection may
    /// work.
    Disconnected(String),
    /// The row exists already.
    Conflict,
    /// A row is malformed. Another program wrote it.
    Inconsistent(String),
    /// The database rejected the statement. The same call will fail again.
    Query(String),
    /// The operator may not do this. Nothing is changed.
    NotAuthorized(NotAuthorized),
}

/// Why an operator may not change something, at the moment of the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAuthorized {
    /// The operator does not have this duty any more: its scope, its client, its secret or its
    /// token has ended since the request was authorized.
    Lost(Duty),
    /// The client has, or would get, a reserved scope that the operator does not hold.
    NotHeld,
}

impl From<NotAuthorized> for DbError {
    fn from(why: NotAuthorized) -> Self {
        Self::NotAuthorized(why)
    }
}

impl DbError {
    /// Whether the same call may succeed later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Disconnected(_))
    }

    /// The error of a task that panicked or was cancelled. Its own text is withheld, because it
    /// contains the message of the panic and so any value (G8); the panic has been logged.
    pub fn stopped(_: JoinError) -> Self {
        Self::Unavailable("a task of this process ended early".into())
    }

    /// The error that a message of the database describes.
    pub(super) fn from_message(message: &str) -> Self {
        let contains_any = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
        if SQLITE_OUTAGES.contains(&message) || contains_any(&POSTGRES_OUTAGES) {
            Self::Unavailable(message.to_owned())
        } else if contains_any(&POSTGRES_DISCONNECTS) {
            Self::Disconnected(message.to_owned())
        } else {
            Self::Query(message.to_owned())
        }
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(cause) => write!(f, "the database cannot be reached: {cause}"),
            Self::Unusable(cause) => write!(f, "the database cannot be used: {cause}"),
            Self::Disconnected(cause) => write!(f, "the connection to the database was lost: {cause}"),
            Self::Conflict => f.write_str("it exists already"),
            Self::Inconsistent(what) => write!(f, "the database is inconsistent: {what}"),
            Self::Query(cause) => write!(f, "database error: {cause}"),
            Self::NotAuthorized(NotAuthorized::Lost(duty)) => write!(f, "the operator lacks {}", duty.name()),
            Self::NotAuthorized(NotAuthorized::NotHeld) => {
                f.write_str("the operator does not hold every scope that begins with mintage: of the client")
            }
        }
    }
}

impl std::error::Error for DbError {}

/// SQLite's messages if the cause is the file, the disk or the lock, and not the statement.
const SQLITE_OUTAGES: [&str; 8] = [
    "database is locked",
    "database table is locked",
    "database schema is locked",
    "disk I/O error",
    "database or disk is full",
    "unable to open database file",
    "attempt to write a readonly database",
    "out of memory",
];

/// PostgreSQL's messages while it stops, starts or is overloaded.
const POSTGRES_OUTAGES: [&str; 7] = [
    "deadlock detected",
    "statement timeout",
    "lock timeout",
    "the database system is",
    "too many clients",
    "could not extend file",
    "No space left on device",
];

/// Messages of PostgreSQL and libpq about a lost connection.
const POSTGRES_DISCONNECTS: [&str; 2] = ["terminating connection", "connection"];

impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        match &error {
            Error::DatabaseError(kind, info) => match kind {
                DatabaseErrorKind::UniqueViolation => Self::Conflict,
                // A read-only server has been replaced as the primary. A new connection reaches the
                // new one.
                DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ReadOnlyTransaction => Self::Disconnected(info.message().to_owned()),
                DatabaseErrorKind::SerializationFailure => Self::Unavailable(info.message().to_owned()),
                _ => Self::from_message(info.message()),
            },
            Error::BrokenTransactionManager => Self::Disconnected(error.to_string()),
            _ => Self::Query(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(message: &str) -> DbError {
        Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned())).into()
    }

    #[test]
    fn an_outage_is_distinguished_from_a_rejected_statement() {
        assert!(unknown("database is locked").is_unavailable());
        assert!(unknown("canceling statement due to statement timeout").is_unavailable());
        assert!(unknown("disk I/O error").is_unavailable());
        assert!(matches!(
            unknown("server closed the connection unexpectedly"),
            DbError::Disconnected(_)
        ));
        assert_eq!(
            unknown("this row is poison"),
            DbError::Query("this row is poison".into())
        );
    }
}
