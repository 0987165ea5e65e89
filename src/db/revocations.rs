//! Tokens taken back (RFC 7009), and one-time tokens used up: both are ids that must never be called active again.
//!
//! A revocation is written in one transaction with its line in the change log, before anybody is told that it counts.

use diesel::prelude::*;

use super::changes::{self, Change};
use super::conn::Conn;
use super::error::DbError;
use super::schema::{redemptions, revocations};
use crate::oauth::activity::InvalidatedToken;
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;

/// Takes a token back; one that was taken back before stays so.
///
/// # Errors
/// When the database refuses or cannot be reached: the token may still be active then.
pub fn revoke(conn: &mut Conn, token: InvalidatedToken, now: UnixMillis) -> Result<(), DbError> {
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
        Ok(())
    })
}

/// Uses a one-time token up; `true` for the one caller who did it.
///
/// # Errors
/// When the database refuses or cannot be reached: nobody knows then whether it was used, so it must count as used.
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

/// Rows read at a time: a million revocations must not stand in memory twice.
const PAGE: i64 = 20_000;

/// Hands every revocation and redemption that ends after `since` (seconds) to `take`.
///
/// # Errors
/// When the database cannot be reached, or an id is none.
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
        hand_over(page, since, &mut take)?;
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
        hand_over(page, since, &mut take)?;
    }
}

fn hand_over(page: Vec<(String, i64)>, since: i64, take: &mut impl FnMut(InvalidatedToken)) -> Result<(), DbError> {
    for (jti, expires_at) in page.into_iter().filter(|(_, expires_at)| *expires_at > since) {
        let jti = TokenId::parse(&jti).ok_or_else(|| DbError::Inconsistent(format!("revoked id {jti:?} is none")))?;
        take(InvalidatedToken { jti, expires_at });
    }
    Ok(())
}
