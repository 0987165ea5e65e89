//! What can go wrong in the database, told apart by what a caller can do about it.

use std::fmt;

use diesel::result::{DatabaseErrorKind, Error};

/// A call to the database failed. The text is for the log; a client is never shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DbError {
    /// It cannot be reached, or did not answer in time: the same call may succeed later.
    Unavailable(String),
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
        matches!(self, Self::Unavailable(_))
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(cause) => write!(f, "the database cannot be reached: {cause}"),
            Self::Conflict => f.write_str("there is one already"),
            Self::Inconsistent(what) => write!(f, "the database holds what it should not: {what}"),
            Self::Query(cause) => write!(f, "the database refused: {cause}"),
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
    "statement timeout",
    "lock timeout",
    "terminating connection",
    "the database system is",
    "connection",
    "too many clients",
    "could not extend file",
];

impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        match &error {
            Error::DatabaseError(kind, info) => match kind {
                DatabaseErrorKind::UniqueViolation => Self::Conflict,
                DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ReadOnlyTransaction
                | DatabaseErrorKind::SerializationFailure => Self::Unavailable(info.message().to_owned()),
                _ => {
                    let message = info.message();
                    let outage = SQLITE_OUTAGES.contains(&message)
                        || POSTGRES_OUTAGES.iter().any(|outage| message.contains(outage));
                    match outage {
                        true => Self::Unavailable(message.to_owned()),
                        false => Self::Query(message.to_owned()),
                    }
                }
            },
            Error::BrokenTransactionManager => Self::Unavailable(error.to_string()),
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
        assert_eq!(
            unknown("this row is poison"),
            DbError::Query("this row is poison".into())
        );
    }
}
