//! Bearer tokens of our own (RFC 6750 §2.1), as the admin endpoints and gateways ask about them.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::guard;
use crate::http::error::{AdminError, ApiError};
use crate::http::state::Worker;
use crate::oauth::activity::{InvalidatedToken, is_active};
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::denial::Denial;
use crate::time::UnixMillis;
use crate::unavailable::Unavailable;

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
/// A token cannot be guessed, so its denials are not limited (P17 is about secrets): an operator behind an address that
/// others misuse must not be shut out.
pub async fn require(request: &HttpRequest, right: Right) -> Result<AccessTokenClaims, ApiError> {
    let worker = Worker::of(request);
    let now = worker.now();
    let token = presented(request).map_err(ApiError::Admin)?;
    let deny = |denial, error| {
        guard::note(worker, request, denial, None, now);
        ApiError::Admin(error)
    };
    // A token for one use is for /validate; here it could be used again and again.
    let policy = worker.shared.policy.load();
    let claims = active(worker, token, Some(&policy.audience), now)
        .map_err(|_| ApiError::Admin(AdminError::Unavailable))?
        .filter(|claims| !claims.one_time);
    let Some(claims) = claims else {
        return Err(deny(Denial::InvalidToken, AdminError::InvalidToken));
    };
    if !right.scopes().iter().any(|scope| claims.scope.contains(scope)) {
        return Err(deny(
            Denial::InsufficientScope,
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

/// Revokes a token, for good: when this returns, the database and every worker of this instance know it.
///
/// # Errors
/// [`Unavailable`] when the database did not say that it is written.
pub async fn revoke(worker: &Worker, claims: &AccessTokenClaims, now: UnixMillis) -> Result<(), Unavailable> {
    worker
        .shared
        .revocations
        .revoke(InvalidatedToken::from(claims), now)
        .await
}

/// Redeems a one-time token; `true` for the one request, over all instances and restarts, that did it.
///
/// # Errors
/// [`Unavailable`] when the database did not say: then nobody knows whether it was used, and the answer must be no.
pub async fn redeem(worker: &Worker, claims: &AccessTokenClaims, now: UnixMillis) -> Result<bool, Unavailable> {
    worker
        .shared
        .revocations
        .redeem(InvalidatedToken::from(claims), now)
        .await
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
    read(header.as_bytes())
}

/// Reads `Bearer TOKEN`, the scheme in any case.
///
/// # Errors
/// `NoToken` for another scheme, `MalformedToken` for what is no text or no token.
pub fn read(header: &[u8]) -> Result<&str, AdminError> {
    const SCHEME: &[u8] = b"bearer ";
    match header.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => well_formed(token),
        _ if header.eq_ignore_ascii_case(SCHEME.trim_ascii()) => Err(AdminError::MalformedToken),
        // A scheme that is not even text is not another scheme.
        _ if header.iter().any(|byte| !matches!(byte, b'\t' | b' '..=b'~')) => Err(AdminError::MalformedToken),
        _ => Err(AdminError::NoToken),
    }
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`, with `=` anywhere: what is no token of ours is refused
/// later, alike. Every byte is looked at, without a branch for each, so that the compiler can take sixteen at a time.
fn well_formed(token: &[u8]) -> Result<&str, AdminError> {
    let good = token.iter().fold(!token.is_empty(), |good, byte| {
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        // `-` `.` `/` and the digits stand together.
        let digit = byte.wrapping_sub(b'-') < 13;
        good & (letter | digit | (*byte == b'_') | (*byte == b'~') | (*byte == b'+') | (*byte == b'='))
    });
    let text = std::str::from_utf8(token).ok().filter(|_| good);
    text.ok_or(AdminError::MalformedToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_that_a_token_may_have_is_taken_and_no_other() {
        for byte in 0..=u8::MAX {
            let allowed = byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
            let header = [b"Bearer a", &[byte][..]].concat();
            assert_eq!(read(&header).is_ok(), allowed, "{byte:#x}");
        }
    }

    #[test]
    fn the_scheme_may_be_in_any_case_and_another_is_no_token() {
        assert_eq!(read(b"bEARER abc"), Ok("abc"));
        for bad in [&b"Bearer "[..], b"Bearer", b"Bearer  a", b"Bearer a b", b"Bas\xffc x"] {
            assert_eq!(read(bad), Err(AdminError::MalformedToken), "{bad:?}");
        }
        for other in [&b""[..], b"Basic abc", b"Bearerabc"] {
            assert_eq!(read(other), Err(AdminError::NoToken), "{other:?}");
        }
    }
}
