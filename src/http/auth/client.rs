//! Client authentication (RFC 6749 §2.3.1), for every endpoint that requires it.
//!
//! Every failure gets the same 401 in the same time (P15); only the log tells the cause. The
//! exception is a client with a password hash: verifying a wrong secret for it takes longer than
//! for an unknown client.

use std::sync::Arc;

use super::guard;
use crate::http::audit_log;
use crate::http::caller::{Authorization, Caller};
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::basic::{self, MalformedBasic};
use crate::oauth::client::{AuthMethod, Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::denial::Denial;
use crate::oauth::error::OAuthError;
use crate::oauth::stored_secret::{self, StoredSecret};
use crate::time::UnixMillis;

/// Credentials in the body of a request.
pub struct FormCredentials {
    /// `client_id`.
    pub client_id: Option<String>,
    /// `client_secret`.
    pub client_secret: Option<ClientSecret>,
}

/// A client that has proved who it is.
pub struct Authenticated {
    /// The client.
    pub client: Arc<Client>,
    /// The id of the secret that proved it.
    pub secret_id: Arc<str>,
}

/// The credentials of a request.
struct Presented {
    id: String,
    secret: ClientSecret,
    method: AuthMethod,
}

/// Why a request has no credentials to verify.
enum NotPresented {
    /// The request is malformed.
    Malformed(OAuthError),
    /// The credentials are missing or malformed.
    Denied(Denial),
}

const TWO_METHODS: OAuthError = OAuthError::InvalidRequest("there is more than one way of authentication");
const TWO_IDS: OAuthError = OAuthError::InvalidRequest("client_id is not the one of the Authorization header");

/// Authenticates the client that sends a request.
///
/// # Errors
/// 400 for two methods in one request (P14), 401 for every failure (P15), 429 after too many of
/// them (P17), 503 if the client cannot be looked up (P25) or too many password hash checks are
/// waiting.
pub async fn authenticate(
    worker: &Worker,
    caller: &Caller<'_>,
    form: FormCredentials,
    now: UnixMillis,
) -> Result<Authenticated, ApiError> {
    let presented = match present(caller, form) {
        Ok(presented) => presented,
        Err(NotPresented::Malformed(error)) => return Err(error.into()),
        Err(NotPresented::Denied(denial)) => return Err(deny(worker, caller, denial, None, now)),
    };
    let tried = ClientId::parse(&presented.id);
    guard::admit(worker, caller, tried.as_ref(), now).map_err(OAuthError::TooManyFailures)?;
    let found = match tried {
        Some(id) => worker.cache.lookup(id, now).await?,
        None => None,
    };
    let Some(client) = found else {
        // As much work as for a known client, so that the response time does not tell whether the
        // client exists.
        stored_secret::verify(&presented.secret, &[], now);
        let tried = ClientId::parse(&presented.id);
        return Err(deny(worker, caller, Denial::UnknownClient, tried.as_ref(), now));
    };
    let found = match stored_secret::verify(&presented.secret, &client.secrets, now) {
        None if stored_secret::any_is_password_hash(&client.secrets) => {
            // Boxed, so that it does not enlarge the future of every other request.
            return Box::pin(authenticate_by_password_hash(worker, caller, presented, client, now)).await;
        }
        found => found,
    };
    let secret_id = authorize(worker, caller, found, &presented, &client, now)?;
    Ok(Authenticated { client, secret_id })
}

/// Continues [`authenticate`] with the password hashes of a client, if none of its other secrets
/// matches.
async fn authenticate_by_password_hash(
    worker: &Worker,
    caller: &Caller<'_>,
    presented: Presented,
    client: Arc<Client>,
    now: UnixMillis,
) -> Result<Authenticated, ApiError> {
    let mut unfinished = Unfinished(Some((worker, caller, &client, now)));
    let found = worker
        .shared
        .password_verifier
        .find(&presented.secret, &client, now)
        .await;
    unfinished.0 = None;
    let found = found?.map(|secret| secret.id.clone());
    // The check took time, so the current state of the client decides.
    let now = worker.now();
    let Some(current) = worker.cache.lookup(client.id.clone(), now).await? else {
        return Err(deny(worker, caller, Denial::UnknownClient, Some(&client.id), now));
    };
    let secret = found.and_then(|id| {
        current
            .secrets
            .iter()
            .find(|secret| secret.id == id && secret.is_valid(now))
    });
    let secret_id = authorize(worker, caller, secret, &presented, &current, now)?;
    Ok(Authenticated {
        client: current,
        secret_id,
    })
}

/// Counts and audits a failure if the caller hangs up before the check is done. Otherwise a caller
/// could guess secrets without limit by hanging up each time.
struct Unfinished<'a>(Option<(&'a Worker, &'a Caller<'a>, &'a Client, UnixMillis)>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some((worker, caller, client, now)) = self.0.take() {
            audit_log::sign_in_failed(worker, caller, client, Denial::WrongSecret, now);
            guard::hung_up(worker, caller, &client.id, now);
        }
    }
}

/// The id of the secret `found`, if it authenticates `client`.
fn authorize(
    worker: &Worker,
    caller: &Caller<'_>,
    found: Option<&StoredSecret>,
    presented: &Presented,
    client: &Client,
    now: UnixMillis,
) -> Result<Arc<str>, ApiError> {
    let denial = match found {
        None => Denial::WrongSecret,
        Some(_) if !client.enabled => Denial::DisabledClient,
        Some(_) if !client.auth_methods.contains(&presented.method) => Denial::MethodNotAllowed,
        Some(used) => {
            if used.last_used.note(now) {
                worker.shared.secret_usage.note(&used.id, now);
            }
            return Ok(used.id.clone());
        }
    };
    audit_log::sign_in_failed(worker, caller, client, denial, now);
    Err(deny(worker, caller, denial, Some(&client.id), now))
}

fn present(caller: &Caller<'_>, form: FormCredentials) -> Result<Presented, NotPresented> {
    let header = match (caller.authorization(), form.client_secret) {
        (Authorization::One(header), None) => header,
        (Authorization::None, Some(secret)) => {
            let id = form.client_id.ok_or(NotPresented::Denied(Denial::NoCredentials))?;
            return Ok(Presented {
                id,
                secret,
                method: AuthMethod::ClientSecretPost,
            });
        }
        (Authorization::None, None) => return Err(NotPresented::Denied(Denial::NoCredentials)),
        (Authorization::One(_), Some(_)) | (Authorization::Repeated, _) => {
            return Err(NotPresented::Malformed(TWO_METHODS));
        }
    };
    let (id, secret) = basic::parse(header).map_err(|malformed| {
        NotPresented::Denied(match malformed {
            MalformedBasic::Scheme => Denial::WrongScheme,
            MalformedBasic::Credentials => Denial::MalformedBasic,
        })
    })?;
    if form.client_id.is_some_and(|form_id| form_id != id) {
        return Err(NotPresented::Malformed(TWO_IDS));
    }
    Ok(Presented {
        id,
        secret,
        method: AuthMethod::ClientSecretBasic,
    })
}

fn deny(worker: &Worker, caller: &Caller<'_>, denial: Denial, tried: Option<&ClientId>, now: UnixMillis) -> ApiError {
    match guard::denied(worker, caller, denial, tried, now) {
        Ok(()) => OAuthError::InvalidClient.into(),
        Err(wait) => OAuthError::TooManyFailures(wait).into(),
    }
}
