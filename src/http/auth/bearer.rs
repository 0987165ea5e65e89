//! Bearer tokens (RFC 6750 §2.1) that this server issued: at the admin API, at `/introspect`, and at
//! `/validate` for gateways. Whether a token is active is decided here; `operator.rs` and
//! `introspector.rs` decide what it allows.

use std::sync::Arc;

use crate::http::caller::{Authorization, Caller};
use crate::http::state::Worker;
use crate::oauth::activity::is_active;
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::error::BearerError;
use crate::time::UnixMillis;
use crate::unavailable::Unavailable;

/// The claims of an active token, for `audience` if given. Reads no database.
///
/// # Errors
/// [`Unavailable`] before the keys are loaded, and while the change log has not been read for so
/// long that this instance may have missed a revocation: a revoked token must not seem active (G2).
pub fn active(
    worker: &Worker,
    token: &str,
    audience: Option<&str>,
    now: UnixMillis,
) -> Result<Option<AccessTokenClaims>, Unavailable> {
    match worker.shared.readiness.knows_revocations() {
        true => active_as_known(worker, token, audience, now),
        false => Err(Unavailable),
    }
}

/// As [`active`], but by the revocations as last known, however old they are.
///
/// # Errors
/// [`Unavailable`] before the keys are loaded.
pub fn active_as_known(
    worker: &Worker,
    token: &str,
    audience: Option<&str>,
    now: UnixMillis,
) -> Result<Option<AccessTokenClaims>, Unavailable> {
    let shared = &worker.shared;
    let Ok(claims) = worker.keys.verify(token, now).map_err(|_| Unavailable)? else {
        return Ok(None);
    };
    let policy = shared.policy.load();
    let active = is_active(&claims, &policy.issuer, audience, &shared.revocations, now);
    Ok(active.then_some(claims))
}

/// The client that a token was issued to, if this server signed it. For the log: the token need not
/// be active.
pub fn client_of(worker: &Worker, token: &str, now: UnixMillis) -> Option<ClientId> {
    let claims = worker.keys.verify(token, now).ok()?.ok()?;
    ClientId::parse(&claims.client_id)
}

/// As [`active`], but waits for the keys and revocations of a server that is starting.
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
        outcome => outcome,
    }
}

/// An active token for Mintage itself, and its client as it is now.
pub struct Holder {
    /// The claims of the token.
    pub claims: AccessTokenClaims,
    /// The client, which is enabled.
    pub client: Arc<Client>,
}

impl Holder {
    /// The secret that obtained the token, if it is still valid.
    pub fn secret_id(&self, now: UnixMillis) -> Option<Arc<str>> {
        let id = self.claims.secret_id.as_ref()?;
        let is_valid = |id: &Arc<str>| {
            let mut secrets = self.client.secrets.iter();
            secrets.any(|secret| secret.id == *id && secret.is_valid(now))
        };
        Some(id.clone()).filter(is_valid)
    }
}

/// The holder of an active token. `None` if the token is for another audience or its client is
/// disabled.
///
/// # Errors
/// [`Unavailable`] if the client cannot be looked up.
pub async fn holder(
    worker: &Worker,
    claims: AccessTokenClaims,
    now: UnixMillis,
) -> Result<Option<Holder>, Unavailable> {
    // A one-time token is for /validate. Here nothing redeems it, so it could be used repeatedly.
    let is_for_mintage = !claims.one_time && claims.aud.is_only(&worker.shared.policy.load().admin_audience);
    let Some(id) = ClientId::parse(&claims.client_id).filter(|_| is_for_mintage) else {
        return Ok(None);
    };
    let client = worker.cache.current(id, now).await?;
    let client = client.filter(|client| client.enabled);
    Ok(client.map(|client| Holder { claims, client }))
}

/// The token in the Authorization header. A token in the query or the body is ignored.
///
/// # Errors
/// `NoToken` without the header or with another scheme, `MalformedToken` for a repeated or
/// malformed header.
pub fn presented<'r>(caller: &Caller<'r>) -> Result<&'r str, BearerError> {
    match caller.authorization() {
        Authorization::None => Err(BearerError::NoToken),
        Authorization::One(header) => parse(header),
        Authorization::Repeated => Err(BearerError::MalformedToken),
    }
}

/// Parses `Bearer TOKEN`; the case of the scheme does not matter.
///
/// # Errors
/// `NoToken` for another scheme, `MalformedToken` for a header that is not text or has no
/// well-formed token.
pub fn parse(header: &[u8]) -> Result<&str, BearerError> {
    const SCHEME: &[u8] = b"bearer ";
    match header.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => well_formed(token),
        _ if header.eq_ignore_ascii_case(SCHEME.trim_ascii()) => Err(BearerError::MalformedToken),
        // A header that is not text is malformed, not another scheme.
        _ if header.iter().any(|byte| !matches!(byte, b'\t' | b' '..=b'~')) => Err(BearerError::MalformedToken),
        _ => Err(BearerError::NoToken),
    }
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`, with `=` allowed anywhere:
/// verification rejects the token anyway. The loop has no branch per byte, so that the compiler can
/// vectorize it.
fn well_formed(token: &[u8]) -> Result<&str, BearerError> {
    let good = token.iter().fold(!token.is_empty(), |good, byte| {
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        // `-`, `.`, `/` and the digits are consecutive.
        let digit = byte.wrapping_sub(b'-') < 13;
        good & (letter | digit | (*byte == b'_') | (*byte == b'~') | (*byte == b'+') | (*byte == b'='))
    });
    let text = std::str::from_utf8(token).ok().filter(|_| good);
    text.ok_or(BearerError::MalformedToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_that_a_token_may_have_is_taken_and_no_other() {
        for byte in 0..=u8::MAX {
            let allowed = byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
            let header = [b"Bearer a", &[byte][..]].concat();
            assert_eq!(parse(&header).is_ok(), allowed, "{byte:#x}");
        }
    }

    #[test]
    fn the_scheme_may_be_in_any_case_and_another_is_no_token() {
        assert_eq!(parse(b"bEARER abc"), Ok("abc"));
        for bad in [&b"Bearer "[..], b"Bearer", b"Bearer  a", b"Bearer a b", b"Bas\xffc x"] {
            assert_eq!(parse(bad), Err(BearerError::MalformedToken), "{bad:?}");
        }
        for other in [&b""[..], b"Basic abc", b"Bearerabc"] {
            assert_eq!(parse(other), Err(BearerError::NoToken), "{other:?}");
        }
    }
}
