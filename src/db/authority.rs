//! What an operator may do at the moment of its change.
//!
//! The server has authorized the request before, but by what it knew then: the body may have
//! arrived seconds later, and a right that was taken away on another instance is known here within
//! a second. A grant in that time would be permanent. So each change reads the operator again, in
//! its own transaction and under the lock of the change log, which every writer of clients,
//! secrets and revocations holds until it commits.

use super::conn::Conn;
use super::error::{DbError, NotAuthorized};
use super::{client_status, clients, locks, revocations};
use crate::api::audit::Principal;
use crate::api::authority::{Authority, TokenAuthority};
use crate::oauth::client::ClientId;
use crate::oauth::duty::Duties;
use crate::oauth::scope::Scope;
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;

/// The duties that an operator holds now. Takes the lock of the change log, so that no one else can
/// change them before the transaction ends.
///
/// # Errors
/// [`NotAuthorized::Lost`] without the duty that the change needs, or the database cannot be
/// reached.
pub(super) fn held(conn: &mut Conn, by: &Principal, now: UnixMillis) -> Result<Duties, DbError> {
    held_before(conn, by, now, None)
}

/// As [`held`], but before this transaction has revoked the token `revoked`, which may be that of
/// the operator.
///
/// # Errors
/// As [`held`].
pub(super) fn held_before(
    conn: &mut Conn,
    by: &Principal,
    now: UnixMillis,
    revoked: Option<TokenId>,
) -> Result<Duties, DbError> {
    let Authority::Token(token) = &by.authority else {
        return Ok(Duties::ALL);
    };
    locks::wait_for_log(conn)?;
    let held = of_token(conn, token, now, revoked)?;
    match held.has(token.needs) {
        true => Ok(held),
        false => Err(NotAuthorized::Lost(token.needs).into()),
    }
}

fn of_token(
    conn: &mut Conn,
    token: &TokenAuthority,
    now: UnixMillis,
    revoked_here: Option<TokenId>,
) -> Result<Duties, DbError> {
    let Some(client) = clients::load(conn, &token.client)? else {
        return Ok(Duties::NONE);
    };
    let is_valid = client
        .secrets
        .iter()
        .any(|secret| secret.id == token.secret_id && secret.is_valid(now));
    let statuses = client_status::of_clients(conn, std::slice::from_ref(&token.client))?;
    let of_client = statuses.first().and_then(|status| status.not_before);
    let not_before = of_client.max(client_status::global_not_before(conn)?);
    let is_late_enough = not_before.is_none_or(|moment| token.jti.issued_at() >= moment);
    let is_revoked = revoked_here != Some(token.jti) && revocations::contains(conn, &token.jti)?;
    if !client.enabled || !is_valid || !is_late_enough || is_revoked {
        return Ok(Duties::NONE);
    }
    Ok(token.duties & Duties::held(&client.scope))
}

/// Whether an operator that holds `held` may create or change a client with this scope: no one
/// grants what they do not hold, and a secret for a client is a grant of everything that it may do.
///
/// # Errors
/// [`NotAuthorized::NotHeld`].
pub(super) fn require(held: Duties, scope: &Scope) -> Result<(), DbError> {
    match held.covers(Duties::to_grant(scope)) {
        true => Ok(()),
        false => Err(NotAuthorized::NotHeld.into()),
    }
}

/// As [`require`], for a client as it is, if it exists.
///
/// # Errors
/// [`NotAuthorized::NotHeld`], or the database cannot be reached.
pub(super) fn require_for(conn: &mut Conn, held: Duties, id: &ClientId) -> Result<(), DbError> {
    if held == Duties::ALL {
        return Ok(());
    }
    match clients::load(conn, id)? {
        Some(client) => require(held, &client.scope),
        None => Ok(()),
    }
}
