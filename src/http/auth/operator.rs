//! Operators: clients that call `/admin` or `/metrics` with a bearer token.
//!
//! What an operator may do is what its token *and* its client allow now. The token alone would keep
//! a right until it expires, however long ago it was taken away. The client comes from the cache of
//! the worker, which the change feed keeps current.
//!
//! A write is authorized a second time in its transaction (`db::authority`), because the client may
//! have changed since.

use std::sync::Arc;

use super::bearer::{self, Holder, presented};
use super::guard;
use crate::http::audit_log::AdminCaller;
use crate::http::caller::Caller;
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::client::Client;
use crate::oauth::denial::Denial;
use crate::oauth::duty::{Duties, Duty};
use crate::oauth::error::BearerError;
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;
use crate::unavailable::Unavailable;

/// What an operation requires of an operator. `mintage:admin` is every duty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To read what no other duty covers.
    Read,
    /// To read what this duty may change.
    ReadOf(Duty),
    /// To read clients: also for who revokes their tokens and must find them first.
    ReadClients,
    /// To change what this duty covers.
    WriteOf(Duty),
    /// Any duty at `/admin`.
    Any,
}

impl Right {
    fn allows(self, held: Duties) -> bool {
        let has_any = |duties: &[Duty]| duties.iter().any(|duty| held.has(*duty));
        match self {
            Right::Read => held.has(Duty::Read),
            Right::ReadOf(duty) => has_any(&[Duty::Read, duty]),
            Right::ReadClients => has_any(&[Duty::Read, Duty::Clients, Duty::Tokens]),
            Right::WriteOf(duty) => held.has(duty),
            Right::Any => held.is_operator(),
        }
    }

    /// The least privileged duty that has the right, for the challenge.
    fn least(self) -> Duty {
        match self {
            // Who reads the audit log may read nothing else.
            Right::ReadOf(Duty::Audit) | Right::Any => Duty::Audit,
            Right::Read | Right::ReadOf(_) | Right::ReadClients => Duty::Read,
            Right::WriteOf(duty) => duty,
        }
    }
}

/// An authorized operator.
pub struct Operator {
    /// The client, as it is now.
    pub client: Arc<Client>,
    /// The token.
    pub jti: TokenId,
    /// The secret that obtained the token. It is still valid.
    pub secret_id: Arc<str>,
    /// The duties of the token.
    pub token: Duties,
    /// Those of them that the client still has: what the operator may do now.
    pub held: Duties,
}

/// The caller of an admin endpoint, if it may do this now.
///
/// # Errors
/// 401 without a token, with an inactive one, or if its client is disabled; 400 for a malformed
/// header; 403 if the token, or the client now, lacks the scope, or if the secret that obtained the
/// token has ended; 503 while revocations or the client are unknown. These denials are not limited
/// (P17 is about secrets): a token cannot be guessed, and an operator must not be locked out
/// because others misuse the same address.
pub async fn require(worker: &Worker, caller: &Caller<'_>, right: Right) -> Result<Operator, ApiError> {
    authorize(worker, caller, right, bearer::active).await
}

/// As [`require`], but by the revocations and the client as last known, for what must work during
/// an outage of the database and changes nothing.
///
/// # Errors
/// As [`require`]; 503 only if this worker has never seen the client.
pub async fn require_as_known(worker: &Worker, caller: &Caller<'_>, right: Right) -> Result<Operator, ApiError> {
    authorize(worker, caller, right, bearer::active_as_known).await
}

/// The reason of a 400 for the `Authorization` header.
const MALFORMED_TOKEN: &str = "malformed_token";

/// The reason of a 503 while it is unknown whether a token is active.
const UNAVAILABLE: &str = "unavailable";

/// Returns the claims of a token that is active.
type Activity = fn(&Worker, &str, Option<&str>, UnixMillis) -> Result<Option<AccessTokenClaims>, Unavailable>;

async fn authorize(worker: &Worker, caller: &Caller<'_>, right: Right, active: Activity) -> Result<Operator, ApiError> {
    let now = worker.now();
    let token = presented(caller).inspect_err(|error| {
        if *error == BearerError::MalformedToken {
            caller.mark(AdminCaller::Stranger {
                named: None,
                reason: MALFORMED_TOKEN,
            });
        }
    })?;
    let stranger = |reason| {
        let named = bearer::client_of(worker, token, now);
        caller.mark(AdminCaller::Stranger {
            named: named.clone(),
            reason,
        });
        named
    };
    let inactive = || {
        let named = stranger(Denial::InvalidToken.name());
        guard::note(worker, caller, Denial::InvalidToken, named.as_ref(), now);
        ApiError::from(BearerError::InvalidToken)
    };
    let unknown = |unavailable| {
        stranger(UNAVAILABLE);
        ApiError::from(unavailable)
    };
    let claims = active(worker, token, None, now).map_err(unknown)?;
    let claims = claims.ok_or_else(inactive)?;
    let holder = bearer::holder(worker, claims, now).await.map_err(unknown)?;
    let holder = holder.ok_or_else(inactive)?;
    let secret_id = holder.secret_id(now);
    let Holder { claims, client } = holder;
    let token = Duties::held(&claims.scope);
    let held = token & Duties::held(&client.scope);
    match secret_id.filter(|_| right.allows(held)) {
        Some(secret_id) => {
            caller.mark(AdminCaller::Operator {
                client: client.id.clone(),
                jti: claims.jti,
                secret_id: secret_id.clone(),
            });
            Ok(Operator {
                jti: claims.jti,
                client,
                secret_id,
                token,
                held,
            })
        }
        None => {
            // The signature is ours, so the client exists and the log may name it.
            guard::note(worker, caller, Denial::InsufficientScope, Some(&client.id), now);
            caller.mark(AdminCaller::WithoutRight {
                client: client.id.clone(),
            });
            Err(BearerError::InsufficientScope(right.least().scope()).into())
        }
    }
}
