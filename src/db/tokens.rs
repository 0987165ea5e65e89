//! The records of issued tokens, written in batches.

use std::sync::Arc;

use diesel::prelude::*;

use super::conn::Conn;
use super::error::DbError;
use super::schema::tokens;
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::token_id::TokenId;

/// What is kept of an issued token. The token itself is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its id.
    pub jti: TokenId,
    /// Whom it was issued to.
    pub client_id: Arc<str>,
    /// What it allows.
    pub scope: Arc<str>,
    /// Whom it is for, separated by spaces.
    pub audience: Arc<str>,
    /// When it was issued, in seconds since the epoch.
    pub issued_at: i64,
    /// When it ends, in seconds since the epoch.
    pub expires_at: i64,
    /// Whether it may be used once only.
    pub one_time: bool,
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
        }
    }
}

#[derive(Insertable)]
#[diesel(table_name = tokens, treat_none_as_default_value = false)]
struct TokenRow<'a> {
    jti: String,
    client_id: &'a str,
    scope: &'a str,
    audience: &'a str,
    issued_at: i64,
    expires_at: i64,
    one_time: bool,
}

impl<'a> TokenRow<'a> {
    fn new(record: &'a TokenRecord) -> Self {
        Self {
            jti: record.jti.to_string(),
            client_id: &record.client_id,
            scope: &record.scope,
            audience: &record.audience,
            issued_at: record.issued_at,
            expires_at: record.expires_at,
            one_time: record.one_time,
        }
    }
}

/// SQLite takes 32,766 variables a statement; a statement of this many rows is also small enough to be planned fast.
const SQLITE_ROWS: usize = 250;

/// PostgreSQL takes 65,535 variables a statement.
const POSTGRES_ROWS: usize = 1000;

/// Writes records in one transaction. One that is there already is left as it is: a flush may be repeated.
///
/// # Errors
/// When the database refuses one of them or cannot be reached; none is written then.
pub fn insert_batch(conn: &mut Conn, records: &[TokenRecord]) -> Result<(), DbError> {
    conn.write(|conn| {
        match conn {
            Conn::Sqlite(conn) => {
                for chunk in records.chunks(SQLITE_ROWS) {
                    let rows: Vec<TokenRow<'_>> = chunk.iter().map(TokenRow::new).collect();
                    diesel::insert_into(tokens::table)
                        .values(&rows)
                        .on_conflict_do_nothing()
                        .execute(conn)?;
                }
            }
            Conn::Postgres(conn) => {
                for chunk in records.chunks(POSTGRES_ROWS) {
                    let rows: Vec<TokenRow<'_>> = chunk.iter().map(TokenRow::new).collect();
                    diesel::insert_into(tokens::table)
                        .values(&rows)
                        .on_conflict_do_nothing()
                        .execute(conn)?;
                }
            }
        }
        Ok(())
    })
}

/// How many tokens are recorded.
///
/// # Errors
/// When the database cannot be reached.
pub fn count(conn: &mut Conn) -> Result<i64, DbError> {
    Ok(tokens::table.count().get_result(conn)?)
}
