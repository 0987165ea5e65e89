//! Client authentication (RFC 6749 §2.3.1), for every endpoint that requires it.
//!
//! Every failure gets the same 401 in the same time (P15); only the log tells the cause. The
//! exception is a client with a password hash: verifying a wrong secret for it takes longer than
//! for an unknown client.

use std::iter;
use std::sync::Arc;

use super::attempt::{Attempt, Authenticated, Candidate, Failure, authorize, deny};
use super::guard;
use crate::http::caller::{Authorization, Caller};
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::basic::{self, BasicCredentials, MalformedBasic, Pair};
use crate::oauth::client::{AuthMethod, Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::denial::Denial;
use crate::oauth::error::OAuthError;
use crate::oauth::stored_secret;
use crate::time::UnixMillis;
use crate::unavailable::Unavailable;

/// Credentials in the body of a request.
pub struct FormCredentials {
    /// `client_id`.
    pub client_id: Option<String>,
    /// `client_secret`.
    pub client_secret: Option<ClientSecret>,
}

/// The credentials of a request.
pub struct Presented {
    pair: Pair,
    /// The pair before it was form-decoded, if that differs.
    raw: Option<Box<Pair>>,
    method: AuthMethod,
}

/// Why a request has no credentials to verify.
pub enum NotPresented {
    /// The request is malformed.
    Malformed(OAuthError),
    /// The credentials are missing or malformed.
    Denied(Denial),
    /// The only Authorization header has another scheme than Basic. With the `client_id` of the
    /// body, which has no secret.
    OtherScheme(Option<String>),
}

/// Why a request is malformed that authenticates in two ways.
pub const TWO_METHODS: OAuthError = OAuthError::InvalidRequest("there is more than one way of authentication");
/// Why a request is malformed that names two clients.
pub const TWO_IDS: OAuthError = OAuthError::InvalidRequest("client_id is not the one of the Authorization header");

/// Authenticates the client that sends a request.
///
/// # Errors
/// 400 for two methods in one request (P14), 401 for every failure (P15), 429 after too many of
/// them (P17), 503 if the client cannot be looked up (P25) or too many password hash checks are
/// waiting.
pub fn authenticate(
    worker: &Worker,
    caller: &Caller<'_>,
    form: FormCredentials,
    now: UnixMillis,
) -> impl Future<Output = Result<Authenticated, ApiError>> {
    verify(worker, caller, present(caller, form), now)
}

/// Authenticates the client by the credentials of its request.
///
/// # Errors
/// As [`authenticate`].
pub async fn verify(
    worker: &Worker,
    caller: &Caller<'_>,
    presented: Result<Presented, NotPresented>,
    now: UnixMillis,
) -> Result<Authenticated, ApiError> {
    let presented = match presented {
        Ok(presented) => presented,
        Err(NotPresented::Malformed(error)) => return Err(error.into()),
        Err(NotPresented::Denied(denial)) => return Err(deny(worker, caller, Failure::of(denial), None, now)),
        Err(NotPresented::OtherScheme(_)) => {
            return Err(deny(worker, caller, Failure::of(Denial::WrongScheme), None, now));
        }
    };
    if presented.raw.is_some() {
        // Boxed, so that it does not enlarge the future of every other request.
        return Box::pin(verify_either(worker, caller, presented, now)).await;
    }
    let Presented { pair, method, .. } = presented;
    let tried = ClientId::parse(&pair.id);
    guard::admit(worker, caller, tried.as_ref(), now).map_err(OAuthError::TooManyFailures)?;
    let found = match tried {
        Some(id) => worker.cache.lookup(id, now).await?,
        None => None,
    };
    let Some(client) = found else {
        // As much work as for a known client, so that the response time does not tell whether the
        // client exists.
        stored_secret::verify(&pair.secret, &[], now);
        let tried = ClientId::parse(&pair.id);
        return Err(deny(worker, caller, Failure::default(), tried.as_ref(), now));
    };
    let denial = match stored_secret::verify(&pair.secret, &client.secrets, now) {
        None if stored_secret::any_is_password_hash(&client.secrets) => {
            let attempt = Attempt::new(worker, caller, Some(client.id.clone()), method);
            let secret = pair.secret;
            let candidates = vec![Candidate { client, secret }];
            // Boxed, so that it does not enlarge the future of every other request.
            return Box::pin(attempt.verify_password_hashes(candidates, now)).await;
        }
        found => match authorize(worker, found, &client, method, now) {
            Ok(secret_id) => return Ok(Authenticated { client, secret_id }),
            Err(denial) => denial,
        },
    };
    let mut failure = Failure::default();
    failure.note(denial, &client);
    Err(deny(worker, caller, failure, Some(&client.id), now))
}

/// What became of a lookup; `None`: there is no such client.
type LookedUp = Result<Option<Arc<Client>>, Unavailable>;

/// Continues [`verify`] with two pairs, of which only the secrets can tell which one the client
/// meant: first the form-decoded one, then the one that was sent.
///
/// If the first pair does not authenticate the client, the second is always compared, with the same
/// work whether or not its client exists. An attempt is rejected if either id is limited. One failure
/// is recorded. It counts for the first id that a client can have, whatever clients exist, otherwise
/// the limit would tell. It does not count for the other one, because one id can be escaped in many
/// ways, each of which would have a limit of its own.
async fn verify_either(
    worker: &Worker,
    caller: &Caller<'_>,
    presented: Presented,
    now: UnixMillis,
) -> Result<Authenticated, ApiError> {
    let Presented { pair, raw, method } = presented;
    let pairs: Vec<Pair> = iter::once(pair).chain(raw.map(|raw| *raw)).collect();
    let ids: Vec<Option<ClientId>> = pairs.iter().map(|pair| ClientId::parse(&pair.id)).collect();
    for id in &ids {
        guard::admit(worker, caller, id.as_ref(), now).map_err(OAuthError::TooManyFailures)?;
    }
    // An id that no client can have has no limit of its own.
    let tried = ids.iter().flatten().next().cloned();
    let mut attempt = Attempt::new(worker, caller, tried, method);
    let mut candidates = Vec::new();
    let mut looked_up: Option<(Option<ClientId>, LookedUp)> = None;
    for (id, Pair { secret, .. }) in ids.into_iter().zip(pairs) {
        let client = match (&looked_up, &id) {
            (Some((before, client)), id) if before == id => client.clone(),
            (_, None) => Ok(None),
            // If this cannot be looked up, the other pair may be in the cache.
            (_, Some(id)) => worker.cache.lookup(id.clone(), now).await,
        };
        looked_up = Some((id, client.clone()));
        if let Some(authenticated) = attempt.compare(client, secret, &mut candidates, now) {
            return Ok(authenticated);
        }
    }
    match candidates.is_empty() {
        true => Err(attempt.deny(now)),
        false => attempt.verify_password_hashes(candidates, now).await,
    }
}

/// The credentials of a request.
///
/// # Errors
/// If the request has no credentials of a client, or more than those of one.
pub fn present(caller: &Caller<'_>, form: FormCredentials) -> Result<Presented, NotPresented> {
    let header = match (caller.authorization(), form.client_secret) {
        (Authorization::One(header), None) => header,
        (Authorization::None, Some(secret)) => {
            let id = form.client_id.ok_or(NotPresented::Denied(Denial::NoCredentials))?;
            return Ok(Presented {
                pair: Pair { id, secret },
                raw: None,
                method: AuthMethod::ClientSecretPost,
            });
        }
        (Authorization::None, None) => return Err(NotPresented::Denied(Denial::NoCredentials)),
        (Authorization::One(_), Some(_)) | (Authorization::Repeated, _) => {
            return Err(NotPresented::Malformed(TWO_METHODS));
        }
    };
    let credentials = match basic::parse(header) {
        Ok(credentials) => credentials,
        Err(MalformedBasic::Scheme) => return Err(NotPresented::OtherScheme(form.client_id)),
        Err(MalformedBasic::Credentials) => return Err(NotPresented::Denied(Denial::MalformedBasic)),
    };
    let BasicCredentials { pair, raw } = match form.client_id {
        None => credentials,
        Some(id) => credentials.of_client(&id).ok_or(NotPresented::Malformed(TWO_IDS))?,
    };
    Ok(Presented {
        pair,
        raw,
        method: AuthMethod::ClientSecretBasic,
    })
}
