//! Bearer tokens of our own (RFC 6750 §2.1), as the admin endpoints and gateways ask about them.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::error::{AdminError, ApiError};
use super::refusals::Refusal;
use super::state::Worker;
use crate::actors::Unavailable;
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
/// 401 without a token or with one that is not active, 400 for a header that cannot be read, 403 without the scope.
pub async fn require(request: &HttpRequest, right: Right) -> Result<AccessTokenClaims, ApiError> {
    let worker = Worker::of(request);
    let now = worker.now();
    let token = presented(request).map_err(ApiError::Admin)?;
    let refuse = |refusal, error| {
        worker.shared.refusals.note(request, refusal, None, now);
        ApiError::Admin(error)
    };
    let audience = worker.shared.policy.load().audience.clone();
    let claims = active(worker, token, &audience, now).await;
    let claims = claims.map_err(|Unavailable| ApiError::Admin(AdminError::Unavailable))?;
    // A token for one use is for /validate; here it could be used again and again.
    let Some(claims) = claims.filter(|claims| !claims.one_time) else {
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

/// The claims of a token that is active for an audience: signature, issuer, audience, time, and a client that is
/// enabled. Whether a token for one use has been used is for [`redeem`].
///
/// # Errors
/// [`Unavailable`] when that cannot be told now; it is never "no".
pub async fn active(
    worker: &Worker,
    token: &str,
    audience: &str,
    now: UnixMillis,
) -> Result<Option<AccessTokenClaims>, Unavailable> {
    let Ok(claims) = worker.keys.verify(token).map_err(|_| Unavailable)? else {
        return Ok(None);
    };
    let ours = claims.iss == worker.shared.policy.load().issuer && claims.aud.contains(audience);
    if !ours || claims.exp <= now.seconds() {
        return Ok(None);
    }
    let Some(id) = ClientId::parse(&claims.client_id) else {
        return Ok(None);
    };
    let client = worker.cache.lookup(id, now).await?;
    Ok(client.is_some_and(|client| client.enabled).then_some(claims))
}

/// Uses a token for one use up; `false` when it was used before. To be called last: what it does is not undone.
///
/// # Errors
/// [`Unavailable`] when it is not known to be used up by this call.
pub async fn redeem(_worker: &Worker, _claims: &AccessTokenClaims) -> Result<bool, Unavailable> {
    Err(Unavailable)
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
