//! Bearer tokens of our own (RFC 6750 §2.1), as the admin endpoints and gateways ask about them.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::error::{AdminError, ApiError};
use super::refusals::Refusal;
use super::state::Worker;
use crate::actors::Unavailable;
use crate::oauth::activity::{Spent, is_active};
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::time::UnixMillis;

/// What an admin endpoint asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// `mintage:admin` or `mintage:read`.
    Read,
    /// `mintage:admin`.
    Write,
}

impl Right {
    fn scopes(self) -> &'static [&'static str] {
        match self {
            Right::Read => &["mintage:admin", "mintage:read"],
            Right::Write => &["mintage:admin"],
        }
    }

    fn challenge(self) -> &'static str {
        match self {
            Right::Read => "Bearer realm=\"mintage\", error=\"insufficient_scope\", scope=\"mintage:read\"",
            Right::Write => "Bearer realm=\"mintage\", error=\"insufficient_scope\", scope=\"mintage:admin\"",
        }
    }
}

/// The claims of the token that a request carries, if it is active here and has the right.
///
/// # Errors
/// 401 without a token or with one that is not active, 400 for a header that cannot be read, 403 without the scope.
/// A token cannot be guessed, so its refusals are not limited (P17 is about secrets): an operator behind an address that
/// others misuse must not be shut out.
pub async fn require(request: &HttpRequest, right: Right) -> Result<AccessTokenClaims, ApiError> {
    let worker = Worker::of(request);
    let now = worker.now();
    let token = presented(request).map_err(ApiError::Admin)?;
    let refuse = |refusal, error| {
        worker.shared.refusals.note(request, refusal, None, now);
        ApiError::Admin(error)
    };
    // A token for one use is for /validate; here it could be used again and again.
    let policy = worker.shared.policy.load();
    let claims = active(worker, token, Some(&policy.audience), now)
        .map_err(|_| ApiError::Admin(AdminError::Unavailable))?
        .filter(|claims| !claims.one_time);
    let Some(claims) = claims else {
        return Err(refuse(Refusal::InvalidToken, AdminError::InvalidToken));
    };
    if !right.scopes().iter().any(|scope| claims.scope.contains(scope)) {
        return Err(refuse(
            Refusal::InsufficientScope,
            AdminError::InsufficientScope(right.challenge()),
        ));
    }
    Ok(claims)
}

/// The claims of a token that is active, for one audience if it is named. Reads no database.
///
/// # Errors
/// [`Unavailable`] before the keys are loaded, and while the change log has not been read for so long that somebody
/// else's revocation may have been missed: to guess would be to call a revoked token active (G2).
pub fn active(
    worker: &Worker,
    token: &str,
    audience: Option<&str>,
    now: UnixMillis,
) -> Result<Option<AccessTokenClaims>, Unavailable> {
    let shared = &worker.shared;
    if !shared.readiness.knows_revocations() {
        return Err(Unavailable);
    }
    let Ok(claims) = worker.keys.verify(token, now).map_err(|_| Unavailable)? else {
        return Ok(None);
    };
    let policy = shared.policy.load();
    let active = is_active(&claims, &policy.issuer, audience, &shared.revocations, now);
    Ok(active.then_some(claims))
}

/// As [`active`], but a server that has just begun waits until it can tell.
///
/// # Errors
/// As [`active`].
pub async fn active_when_warm(
    worker: &Worker,
    token: &str,
    audience: Option<&str>,
    now: UnixMillis,
) -> Result<Option<AccessTokenClaims>, Unavailable> {
    match active(worker, token, audience, now) {
        Err(Unavailable) if worker.shared.readiness.warmed_up().await => active(worker, token, audience, now),
        told => told,
    }
}

/// Takes a token back, for good: when this returns, the database and every worker of this instance know it.
///
/// # Errors
/// [`Unavailable`] when the database did not say that it is written.
pub async fn spend(worker: &Worker, claims: &AccessTokenClaims, now: UnixMillis) -> Result<(), Unavailable> {
    let shared = &worker.shared;
    shared.revocations.revoke(&shared.db, Spent::from(claims), now).await
}

/// Uses a one-time token up; `true` for the one request, over all instances and restarts, that did it.
///
/// # Errors
/// [`Unavailable`] when the database did not say: then nobody knows whether it was used, and the answer must be no.
pub async fn redeem(worker: &Worker, claims: &AccessTokenClaims, now: UnixMillis) -> Result<bool, Unavailable> {
    let shared = &worker.shared;
    shared.revocations.redeem(&shared.db, Spent::from(claims), now).await
}

/// The token in the Authorization header, the only place where one is looked for.
///
/// # Errors
/// `NoToken` without the header or with another scheme, `MalformedToken` for two of them or one that cannot be read.
pub fn presented(request: &HttpRequest) -> Result<&str, AdminError> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let Some(header) = headers.next() else {
        return Err(AdminError::NoToken);
    };
    if headers.next().is_some() {
        return Err(AdminError::MalformedToken);
    }
    let text = header.to_str().map_err(|_| AdminError::MalformedToken)?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AdminError::NoToken);
    }
    let well_formed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || !token.bytes().all(well_formed) {
        return Err(AdminError::MalformedToken);
    }
    Ok(token)
}
