//! What can go wrong in the database, told apart by what a caller can do about it.

use std::fmt;

use diesel::result::{DatabaseErrorKind, Error};

/// A call to the database failed. The text is for the log; a client is never shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DbError {
    /// It cannot be reached, or did not answer in time: the same call may succeed later.
    Unavailable(String),
    /// The connection was lost under the call, which may have been done or not; another connection may do better.
    Disconnected(String),
    /// The row is there already.
    Conflict,
    /// A row does not read as what it should be: somebody else wrote it.
    Inconsistent(String),
    /// The database refused the statement: the same call will fail again.
    Query(String),
}

impl DbError {
    /// Whether the same call may succeed later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Disconnected(_))
    }
}

impl DbError {
    fn from_message(message: &str) -> Self {
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
        if SQLITE_OUTAGES.contains(&message) || says(&POSTGRES_OUTAGES) {
            Self::Unavailable(message.to_owned())
        } else if says(&POSTGRES_CUTS) {
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
            Self::Disconnected(cause) => write!(f, "the connection to the database was lost: {cause}"),
            Self::Conflict => f.write_str("there is one already"),
            Self::Inconsistent(what) => write!(f, "the database holds what it should not: {what}"),
            Self::Query(cause) => write!(f, "database error: {cause}"),
        }
    }
}

impl std::error::Error for DbError {}

/// What SQLite says when the file, the disk or the lock is the trouble and not the statement.
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

/// What PostgreSQL says when it is going down, coming up, or too slow.
const POSTGRES_OUTAGES: [&str; 7] = [
    "deadlock detected",
    "statement timeout",
    "lock timeout",
    "the database system is",
    "too many clients",
    "could not extend file",
    "No space left on device",
];

/// What PostgreSQL and libpq say of a connection that has ended.
const POSTGRES_CUTS: [&str; 2] = ["terminating connection", "connection"];

impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        match &error {
            Error::DatabaseError(kind, info) => match kind {
                DatabaseErrorKind::UniqueViolation => Self::Conflict,
                // A server that only reads has handed its place to another: a new connection finds that one.
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
    fn an_outage_is_told_apart_from_a_refusal() {
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
