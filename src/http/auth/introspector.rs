//! Resource servers that call `/introspect` with an access token instead of their client credentials
//! (RFC 7662 §2.1).
//!
//! The token must be one for Mintage itself, with `mintage:introspect`, and its client must still
//! have that scope. `mintage:admin` does not include it (docs/protocol.md#p31).

use super::attempt::Authenticated;
use super::bearer;
use super::guard;
use crate::http::caller::Caller;
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::client::ClientId;
use crate::oauth::denial::Denial;
use crate::oauth::duty::Duty;
use crate::oauth::error::BearerError;
use crate::time::UnixMillis;

/// The client that presents `token`.
///
/// # Errors
/// 401 for an inactive token, one for another audience, and one whose client is disabled or whose
/// secret has ended; 403 if the token, or the client now, lacks the scope; 503 while revocations or
/// the client are unknown. As at the admin API, these denials are not limited.
pub async fn authenticate(
    worker: &Worker,
    caller: &Caller<'_>,
    token: &str,
    now: UnixMillis,
) -> Result<Authenticated, ApiError> {
    let deny = |denial, client: Option<&ClientId>, error: BearerError| {
        guard::note(worker, caller, denial, client, now);
        ApiError::from(error)
    };
    let inactive = || {
        let named = bearer::client_of(worker, token, now);
        deny(Denial::InvalidToken, named.as_ref(), BearerError::InvalidToken)
    };
    let claims = bearer::active_when_warm(worker, token, None, now).await?;
    let holder = bearer::holder(worker, claims.ok_or_else(inactive)?, now).await?;
    let holder = holder.ok_or_else(inactive)?;
    let secret_id = holder.secret_id(now).ok_or_else(inactive)?;
    let client = holder.client;
    let scope = Duty::Introspect.name();
    if !holder.claims.scope.contains(scope) || !client.scope.contains(scope) {
        let error = BearerError::InsufficientScope(Duty::Introspect.scope());
        return Err(deny(Denial::InsufficientScope, Some(&client.id), error));
    }
    Ok(Authenticated { client, secret_id })
}
