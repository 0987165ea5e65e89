//! Bearer tokens of our own (RFC 6750 §2.1), as the admin endpoints ask for them.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::error::{AdminError, ApiError};
use super::limits;
use super::refusals::Refusal;
use super::state::Worker;
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::client::ClientId;
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
/// 401 without a token or with one that is not active, 400 for a header that cannot be read, 403 without the scope,
/// 429 after too many failures from this address (P17).
pub async fn require(request: &HttpRequest, right: Right) -> Result<AccessTokenClaims, ApiError> {
    let worker = Worker::of(request);
    let now = worker.now();
    let token = presented(request).map_err(ApiError::Admin)?;
    limits::admit(request, None, now).map_err(|wait| ApiError::Admin(AdminError::TooManyFailures(wait)))?;
    let refuse = |refusal, error| match limits::refused(request, refusal, None, now) {
        Ok(()) => ApiError::Admin(error),
        Err(wait) => ApiError::Admin(AdminError::TooManyFailures(wait)),
    };
    let Some(claims) = active(worker, token, now).await? else {
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

/// Active for us: signature, issuer, our own audience, time, and a client that is enabled.
async fn active(worker: &Worker, token: &str, now: UnixMillis) -> Result<Option<AccessTokenClaims>, ApiError> {
    const UNAVAILABLE: ApiError = ApiError::Admin(AdminError::Unavailable);
    let Ok(claims) = worker.keys.verify(token).map_err(|_| UNAVAILABLE)? else {
        return Ok(None);
    };
    let policy = worker.shared.policy.load();
    let ours = claims.iss == policy.issuer && claims.aud.contains(&policy.audience);
    // A token for one use is for /validate; here it could be used again and again.
    if !ours || claims.exp <= now.seconds() || claims.one_time {
        return Ok(None);
    }
    let Some(id) = ClientId::parse(&claims.client_id) else {
        return Ok(None);
    };
    let client = worker.cache.lookup(id, now).await.map_err(|_| UNAVAILABLE)?;
    Ok(client.is_some_and(|client| client.enabled).then_some(claims))
}

fn presented(request: &HttpRequest) -> Result<&str, AdminError> {
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
