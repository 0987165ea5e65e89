//! Revoked tokens (RFC 7009) and redeemed one-time tokens. Neither must be reported as active
//! again.
//!
//! A revocation is written in one transaction with its line in the change log, before it is
//! acknowledged.

use diesel::prelude::*;

use super::changes::{self, Change};
use super::conn::Conn;
use super::error::DbError;
use super::schema::{redemptions, revocations};
use crate::oauth::activity::InvalidatedToken;
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;

/// Revokes a token. Has no effect on a token that was revoked before.
///
/// # Errors
/// The database rejects the statement or cannot be reached. The token may then still be active.
pub fn revoke(conn: &mut Conn, token: InvalidatedToken, now: UnixMillis) -> Result<(), DbError> {
    add(conn, token, now).map(drop)
}

/// As [`revoke`]. Returns `false` if the token was revoked before.
///
/// # Errors
/// As [`revoke`].
pub(super) fn add(conn: &mut Conn, token: InvalidatedToken, now: UnixMillis) -> Result<bool, DbError> {
    conn.write(|conn| {
        let row = (
            revocations::jti.eq(token.jti.to_string()),
            revocations::expires_at.eq(token.expires_at),
            revocations::revoked_at_ms.eq(now.0),
        );
        let insert = diesel::insert_into(revocations::table).values(row);
        let added = match conn {
            Conn::Sqlite(conn) => insert.on_conflict_do_nothing().execute(conn)?,
            Conn::Postgres(conn) => insert.on_conflict_do_nothing().execute(conn)?,
        };
        if added == 1 {
            changes::append(conn, &Change::InvalidatedToken(token), now)?;
        }
        Ok(added == 1)
    })
}

/// Whether a token was revoked.
///
/// # Errors
/// The database cannot be reached.
pub(super) fn contains(conn: &mut Conn, jti: &TokenId) -> Result<bool, DbError> {
    let found: i64 = revocations::table.find(jti.to_string()).count().get_result(conn)?;
    Ok(found > 0)
}

/// Redeems a one-time token. Returns `true` for the single caller that redeemed it.
///
/// # Errors
/// The database rejects the statement or cannot be reached. It is then unknown whether the token
/// was redeemed, so it must be treated as redeemed.
pub fn redeem(conn: &mut Conn, token: InvalidatedToken, now: UnixMillis) -> Result<bool, DbError> {
    conn.write(|conn| {
        let row = (
            redemptions::jti.eq(token.jti.to_string()),
            redemptions::expires_at.eq(token.expires_at),
            redemptions::redeemed_at_ms.eq(now.0),
        );
        let insert = diesel::insert_into(redemptions::table).values(row);
        let added = match conn {
            Conn::Sqlite(conn) => insert.on_conflict_do_nothing().execute(conn)?,
            Conn::Postgres(conn) => insert.on_conflict_do_nothing().execute(conn)?,
        };
        if added == 1 {
            changes::append(conn, &Change::InvalidatedToken(token), now)?;
        }
        Ok(added == 1)
    })
}

/// Rows per query, so that a million revocations are not in memory twice.
const PAGE: i64 = 20_000;

/// Passes every revoked or redeemed token that expires after `since` (seconds) to `take`.
///
/// # Errors
/// The database cannot be reached, or a token id is malformed.
pub fn for_each(conn: &mut Conn, since: i64, mut take: impl FnMut(InvalidatedToken)) -> Result<(), DbError> {
    let mut after = String::new();
    loop {
        let page: Vec<(String, i64)> = revocations::table
            .filter(revocations::jti.gt(&after))
            .order(revocations::jti)
            .limit(PAGE)
            .select((revocations::jti, revocations::expires_at))
            .load(conn)?;
        let Some((last, _)) = page.last() else {
            break;
        };
        after = last.clone();
        pass_on(page, since, &mut take)?;
    }
    let mut after = String::new();
    loop {
        let page: Vec<(String, i64)> = redemptions::table
            .filter(redemptions::jti.gt(&after))
            .order(redemptions::jti)
            .limit(PAGE)
            .select((redemptions::jti, redemptions::expires_at))
            .load(conn)?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        after = last.clone();
        pass_on(page, since, &mut take)?;
    }
}

fn pass_on(page: Vec<(String, i64)>, since: i64, take: &mut impl FnMut(InvalidatedToken)) -> Result<(), DbError> {
    for (jti, expires_at) in page.into_iter().filter(|(_, expires_at)| *expires_at > since) {
        let jti = TokenId::parse(&jti)
            .ok_or_else(|| DbError::Inconsistent(format!("revoked token id {jti:?} is malformed")))?;
        take(InvalidatedToken { jti, expires_at });
    }
    Ok(())
}
