//! The records of issued tokens, written in batches.

use std::fmt::Write;

use diesel::pg::CopyFormat;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::conn::Conn;
use super::error::DbError;
use super::schema::tokens;
use crate::oauth::client::ClientId;
use crate::oauth::token_id::{TEXT_LENGTH, TokenId};

pub use super::token_record::TokenRecord;

/// A record as a row.
#[derive(Insertable)]
#[diesel(table_name = tokens, treat_none_as_default_value = false)]
struct TokenRow<'a> {
    jti: &'a str,
    client_id: &'a str,
    scope: &'a str,
    audience: &'a str,
    issued_at: i64,
    expires_at: i64,
    one_time: bool,
    secret_id: Option<&'a str>,
    client_ip: Option<&'a str>,
}

/// The token ids and addresses of a batch as text, in two allocations.
struct Texts {
    /// Each id with its address behind it.
    text: String,
    /// Where each pair ends.
    ends: Vec<usize>,
}

impl Texts {
    fn of(records: &[TokenRecord]) -> Self {
        const IPV4: usize = 15;
        let mut text = String::with_capacity(records.len() * (TEXT_LENGTH + IPV4));
        let mut ends = Vec::with_capacity(records.len());
        for record in records {
            // Writing to a String cannot fail.
            let _ = write!(text, "{}", record.jti);
            if let Some(address) = record.client_ip {
                let _ = write!(text, "{address}");
            }
            ends.push(text.len());
        }
        Self { text, ends }
    }

    fn rows<'a>(&'a self, records: &'a [TokenRecord]) -> Vec<TokenRow<'a>> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let pairs = begins
            .zip(&self.ends)
            .map(|(begin, end)| self.text[begin..*end].split_at(TEXT_LENGTH));
        let row = |(record, (jti, address)): (&'a TokenRecord, (&'a str, &'a str))| TokenRow {
            jti,
            client_id: &record.client_id,
            scope: &record.scope,
            audience: &record.audience,
            issued_at: record.issued_at,
            expires_at: record.expires_at,
            one_time: record.one_time,
            secret_id: record.secret_id.as_deref(),
            client_ip: record.client_ip.map(|_| address),
        };
        records.iter().zip(pairs).map(row).collect()
    }
}

/// An insert of exactly `N` rows for SQLite, prepared once per connection.
///
/// The multi-row insert of diesel is parsed at every call, because the number of rows may differ:
/// 2.3 µs of CPU per row. With the number of rows in the type, the statement is cached: 1.3 µs.
struct InsertRows<'a, const N: usize>(&'a [TokenRow<'a>]);

impl<const N: usize> QueryId for InsertRows<'_, N> {
    type QueryId = InsertRows<'static, N>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const N: usize> QueryFragment<Sqlite> for InsertRows<'_, N> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(
            "INSERT INTO tokens \
             (jti, client_id, scope, audience, issued_at, expires_at, one_time, secret_id, client_ip) VALUES",
        );
        for (index, row) in self.0.iter().enumerate() {
            out.push_sql(if index == 0 { " (" } else { ", (" });
            out.push_bind_param::<Text, _>(row.jti)?;
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
            out.push_sql(", ");
            out.push_bind_param::<Nullable<Text>, _>(&row.secret_id)?;
            out.push_sql(", ");
            out.push_bind_param::<Nullable<Text>, _>(&row.client_ip)?;
            out.push_sql(")");
        }
        out.push_sql(" ON CONFLICT (jti) DO NOTHING");
        Ok(())
    }
}

impl<const N: usize> RunQueryDsl<SqliteConnection> for InsertRows<'_, N> {}

/// Rows per SQLite statement. Larger statements are no faster.
const SQLITE_ROWS: usize = 50;

/// Rows per PostgreSQL statement, which may have 65,535 parameters.
const POSTGRES_ROWS: usize = 1000;

/// Writes records in one transaction. Existing records stay as they are, because a flush may be
/// repeated.
///
/// # Errors
/// The database rejects a record or cannot be reached. Nothing is written then.
pub fn insert_batch(conn: &mut Conn, records: &[TokenRecord]) -> Result<(), DbError> {
    if let Conn::Postgres(conn) = conn {
        match copy(conn, records) {
            Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => {}
            outcome => return Ok(outcome?),
        }
    }
    insert(conn, records)
}

/// Writes records of which some may exist already.
fn insert(conn: &mut Conn, records: &[TokenRecord]) -> Result<(), DbError> {
    let texts = Texts::of(records);
    let rows = texts.rows(records);
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

/// Writes records by COPY, a single statement and therefore a transaction. Fails if a record exists
/// already, which happens only when a flush is repeated.
fn copy(conn: &mut PgConnection, records: &[TokenRecord]) -> QueryResult<()> {
    let data = copy_data(records);
    let send = |out: &mut dyn std::io::Write| {
        out.write_all(&data)
            .map_err(|error| Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand, Box::new(error.to_string())))
    };
    diesel::copy_from(tokens::table)
        .from_raw_data(tokens::table, send)
        .with_format(CopyFormat::Binary)
        .execute(conn)?;
    Ok(())
}

/// The rows in PostgreSQL's binary COPY format.
fn copy_data(records: &[TokenRecord]) -> Vec<u8> {
    const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
    const NO_FLAGS_AND_NO_EXTENSION: [u8; 8] = [0; 8];
    const COLUMNS: i16 = 9;
    const NULL: i32 = -1;
    const END: i16 = -1;
    let mut data = Vec::with_capacity(records.len() * 320 + 32);
    data.extend_from_slice(SIGNATURE);
    data.extend_from_slice(&NO_FLAGS_AND_NO_EXTENSION);
    let mut address = String::new();
    for record in records {
        data.extend_from_slice(&COLUMNS.to_be_bytes());
        let mut field = |value: Option<&[u8]>| match value {
            Some(bytes) => {
                data.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
                data.extend_from_slice(bytes);
            }
            None => data.extend_from_slice(&NULL.to_be_bytes()),
        };
        field(Some(&record.jti.text()));
        field(Some(record.client_id.as_bytes()));
        field(Some(record.scope.as_bytes()));
        field(Some(record.audience.as_bytes()));
        field(Some(&record.issued_at.to_be_bytes()));
        field(Some(&record.expires_at.to_be_bytes()));
        field(Some(&[u8::from(record.one_time)]));
        field(record.secret_id.as_deref().map(str::as_bytes));
        address.clear();
        if let Some(client_ip) = record.client_ip {
            let _ = write!(address, "{client_ip}");
        }
        field(record.client_ip.map(|_| address.as_bytes()));
    }
    data.extend_from_slice(&END.to_be_bytes());
    data
}

/// The `exp` of a recorded token, in seconds. `None` if there is no record.
///
/// # Errors
/// The database cannot be reached.
pub fn expiry(conn: &mut Conn, jti: TokenId) -> Result<Option<i64>, DbError> {
    Ok(tokens::table
        .find(jti.to_string())
        .select(tokens::expires_at)
        .first(conn)
        .optional()?)
}

/// Maximum number of records that one walk visits for `/admin/tokens`. Most are of other clients.
pub const WALK: i64 = 50_000;

/// A part of the records of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// The records, newest first.
    pub records: Vec<TokenRecord>,
    /// Where to continue; `None` at the end of all records.
    pub next: Option<TokenId>,
}

/// Whose records are listed.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The client.
    pub client_id: ClientId,
    /// Only tokens that were issued for this secret.
    pub secret_id: Option<String>,
}

/// The newest records of a client, at most `limit`, and older than `before` if given.
///
/// There is no index by client, because every insert would have to update it for this query alone.
/// So this walks through the records of all clients, newest first, and visits at most `walk` of
/// them. It may find few records or none, and return where to continue.
///
/// # Errors
/// The database cannot be reached, or a token id is malformed.
pub fn of_client(
    conn: &mut Conn,
    wanted: &Wanted,
    before: Option<TokenId>,
    limit: usize,
    walk: i64,
) -> Result<Walked, DbError> {
    // Greater than every id.
    let before = before.map_or_else(|| "g".to_owned(), |before| before.to_string());
    let older = || tokens::table.filter(tokens::jti.lt(&before));
    let last: Option<String> = older()
        .order(tokens::jti.desc())
        .select(tokens::jti)
        .offset(walk - 1)
        .first(conn)
        .optional()?;
    let end = last.clone().unwrap_or_default();
    let mut records = tokens::table.into_boxed();
    if let Some(secret_id) = &wanted.secret_id {
        records = records.filter(tokens::secret_id.eq(secret_id));
    }
    let found: Vec<StoredToken> = records
        .filter(tokens::jti.lt(&before))
        .filter(tokens::jti.ge(&end))
        .filter(tokens::client_id.eq(wanted.client_id.as_str()))
        .order(tokens::jti.desc())
        .limit(limit as i64 + 1)
        .load(conn)?;
    let mut records = found
        .into_iter()
        .map(StoredToken::into_record)
        .collect::<Result<Vec<_>, _>>()?;
    if records.len() > limit {
        records.truncate(limit);
        let next = records.last().map(|record| record.jti);
        return Ok(Walked { records, next });
    }
    let next = last.map(|jti| token_id(&jti)).transpose()?;
    Ok(Walked { records, next })
}

#[derive(Queryable)]
struct StoredToken {
    jti: String,
    client_id: String,
    scope: String,
    audience: String,
    issued_at: i64,
    expires_at: i64,
    one_time: bool,
    secret_id: Option<String>,
    client_ip: Option<String>,
}

impl StoredToken {
    fn into_record(self) -> Result<TokenRecord, DbError> {
        Ok(TokenRecord {
            jti: token_id(&self.jti)?,
            client_id: self.client_id.into(),
            scope: self.scope.into(),
            audience: self.audience.into(),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            one_time: self.one_time,
            secret_id: self.secret_id.map(Into::into),
            // Not a reason to hide a record: someone may have written another text.
            client_ip: self.client_ip.and_then(|text| text.parse().ok()),
        })
    }
}

fn token_id(jti: &str) -> Result<TokenId, DbError> {
    TokenId::parse(jti).ok_or_else(|| DbError::Inconsistent(format!("recorded token id {jti:?} is malformed")))
}

/// The number of recorded tokens.
///
/// # Errors
/// The database cannot be reached.
pub fn count(conn: &mut Conn) -> Result<i64, DbError> {
    Ok(tokens::table.count().get_result(conn)?)
}
