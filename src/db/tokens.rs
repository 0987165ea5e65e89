//! The records of issued tokens, written in batches.

use std::sync::Arc;

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::Sqlite;

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

/// A record as a row. PostgreSQL takes it through diesel's own insert; for SQLite see [`InsertRows`].
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

/// An insert of exactly `N` rows for SQLite, prepared once for each connection.
///
/// diesel writes a multi-row insert out and has it parsed anew each time, since the number of rows may differ: 2.3 µs
/// of CPU a row. With the number in the type the statement can be kept: 1.3 µs.
struct InsertRows<'a, const N: usize>(&'a [TokenRow<'a>]);

impl<const N: usize> QueryId for InsertRows<'_, N> {
    type QueryId = InsertRows<'static, N>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const N: usize> QueryFragment<Sqlite> for InsertRows<'_, N> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("INSERT INTO tokens (jti, client_id, scope, audience, issued_at, expires_at, one_time) VALUES");
        for (index, row) in self.0.iter().enumerate() {
            out.push_sql(if index == 0 { " (" } else { ", (" });
            out.push_bind_param::<Text, _>(&row.jti)?;
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(row.client_id)?;
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(row.scope)?;
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(row.audience)?;
            out.push_sql(", ");
            out.push_bind_param::<BigInt, _>(&row.issued_at)?;
            out.push_sql(", ");
            out.push_bind_param::<BigInt, _>(&row.expires_at)?;
            out.push_sql(", ");
            out.push_bind_param::<Bool, _>(&row.one_time)?;
            out.push_sql(")");
        }
        out.push_sql(" ON CONFLICT (jti) DO NOTHING");
        Ok(())
    }
}

impl<const N: usize> RunQueryDsl<SqliteConnection> for InsertRows<'_, N> {}

/// Rows in one SQLite statement; larger ones are no faster.
const SQLITE_ROWS: usize = 50;

/// PostgreSQL takes 65,535 variables a statement.
const POSTGRES_ROWS: usize = 1000;

/// Writes records in one transaction. One that is there already is left as it is: a flush may be repeated.
///
/// # Errors
/// When the database refuses one of them or cannot be reached; none is written then.
pub fn insert_batch(conn: &mut Conn, records: &[TokenRecord]) -> Result<(), DbError> {
    let rows: Vec<TokenRow<'_>> = records.iter().map(TokenRow::new).collect();
    conn.write(|conn| {
        match conn {
            Conn::Sqlite(conn) => {
                let chunks = rows.chunks_exact(SQLITE_ROWS);
                let rest = chunks.remainder();
                for chunk in chunks {
                    InsertRows::<SQLITE_ROWS>(chunk).execute(conn)?;
                }
                for row in rest.chunks(1) {
                    InsertRows::<1>(row).execute(conn)?;
                }
            }
            Conn::Postgres(conn) => {
                for chunk in rows.chunks(POSTGRES_ROWS) {
                    diesel::insert_into(tokens::table)
                        .values(chunk)
                        .on_conflict_do_nothing()
                        .execute(conn)?;
                }
            }
        }
        Ok(())
    })
}

/// The `exp` of a recorded token, in seconds; `None` when there is no record of it.
///
/// # Errors
/// When the database cannot be reached.
pub fn expiry(conn: &mut Conn, jti: TokenId) -> Result<Option<i64>, DbError> {
    Ok(tokens::table
        .find(jti.to_string())
        .select(tokens::expires_at)
        .first(conn)
        .optional()?)
}

/// How many tokens are recorded.
///
/// # Errors
/// When the database cannot be reached.
pub fn count(conn: &mut Conn) -> Result<i64, DbError> {
    Ok(tokens::table.count().get_result(conn)?)
}
