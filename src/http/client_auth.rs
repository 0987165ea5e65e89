//! Client authentication (RFC 6749 §2.3.1), the same for every endpoint that needs it.
//!
//! Whatever is wrong, the answer is the same 401 and takes the same time (P15); only the log knows why. The exception is
//! a client with a secret that is kept by a slow hash: a wrong secret of it takes longer than one of nobody.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::error::ApiError;
use super::limits;
use super::refusals::Refusal;
use super::state::Worker;
use crate::oauth::basic::{self, MalformedBasic};
use crate::oauth::client::{AuthMethod, Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::error::OAuthError;
use crate::oauth::stored_secret::{self, StoredSecret};
use crate::time::UnixMillis;

/// The credentials of a request.
struct Presented {
    id: String,
    secret: ClientSecret,
    method: AuthMethod,
}

/// Why a request gives no credentials to judge.
enum NotPresented {
    /// It is refused as a request.
    Malformed(OAuthError),
    /// It is refused as an authentication.
    Refused(Refusal),
}

const TWO_METHODS: OAuthError = OAuthError::InvalidRequest("there is more than one way of authentication");
const TWO_IDS: OAuthError = OAuthError::InvalidRequest("client_id is not the one of the Authorization header");

/// The client that a request proves to come from.
///
/// # Errors
/// 400 for two methods in one request (P14), 401 for every failure (P15), 429 after too many of them (P17), 503 when the
/// client cannot be looked up (P25) or its slow hash has to wait for too many others.
pub async fn authenticate(
    request: &HttpRequest,
    body_id: Option<String>,
    body_secret: Option<ClientSecret>,
    now: UnixMillis,
) -> Result<Arc<Client>, ApiError> {
    let worker = Worker::of(request);
    let presented = match present(request, body_id, body_secret) {
        Ok(presented) => presented,
        Err(NotPresented::Malformed(error)) => return Err(error.into()),
        Err(NotPresented::Refused(refusal)) => return Err(refuse(request, refusal, None, now)),
    };
    let tried = ClientId::parse(&presented.id);
    limits::admit(request, tried.as_ref(), now).map_err(OAuthError::TooManyFailures)?;
    let found = match tried {
        Some(id) => worker.cache.lookup(id, now).await?,
        None => None,
    };
    let Some(client) = found else {
        // As much work as for a client that exists, so that time does not tell them apart.
        stored_secret::verify(&presented.secret, &[], now);
        let tried = ClientId::parse(&presented.id);
        return Err(refuse(request, Refusal::UnknownClient, tried.as_ref(), now));
    };
    let found = match stored_secret::verify(&presented.secret, &client.secrets, now) {
        None if stored_secret::any_is_password_hash(&client.secrets) => {
            // Boxed, so that the future of every other request is not larger for it.
            return Box::pin(authenticate_slowly(request, presented, client, now)).await;
        }
        found => found,
    };
    judge(request, found, &presented, &client, now)?;
    Ok(client)
}

/// As [`authenticate`], of a client that has secrets with a slow hash, when none of the others is the one.
async fn authenticate_slowly(
    request: &HttpRequest,
    presented: Presented,
    client: Arc<Client>,
    now: UnixMillis,
) -> Result<Arc<Client>, ApiError> {
    let worker = Worker::of(request);
    let mut unjudged = Unjudged(Some((request, &client.id, now)));
    let found = worker.shared.slow_secrets.find(&presented.secret, &client, now).await;
    unjudged.0 = None;
    let found = found?.map(|secret| secret.id.clone());
    // That took its time: what the client is now decides.
    let now = worker.now();
    let Some(client) = worker.cache.lookup(client.id.clone(), now).await? else {
        return Err(refuse(request, Refusal::UnknownClient, Some(&client.id), now));
    };
    let secret = found.and_then(|id| {
        client
            .secrets
            .iter()
            .find(|secret| secret.id == id && secret.is_valid(now))
    });
    judge(request, secret, &presented, &client, now)?;
    Ok(client)
}

/// Counts a failure if the caller hangs up before there is a verdict: or whoever guesses would never be counted.
struct Unjudged<'a>(Option<(&'a HttpRequest, &'a ClientId, UnixMillis)>);

impl Drop for Unjudged<'_> {
    fn drop(&mut self) {
        if let Some((request, id, now)) = self.0.take() {
            limits::hung_up(request, id, now);
        }
    }
}

/// Whether `client` may go on by the secret of its that was `found`.
fn judge(
    request: &HttpRequest,
    found: Option<&StoredSecret>,
    presented: &Presented,
    client: &Client,
    now: UnixMillis,
) -> Result<(), ApiError> {
    let refusal = match found {
        None => Refusal::WrongSecret,
        Some(_) if !client.enabled => Refusal::DisabledClient,
        Some(_) if !client.auth_methods.contains(&presented.method) => Refusal::MethodNotAllowed,
        Some(used) => {
            if used.last_used.note(now) {
                Worker::of(request).shared.secret_uses.note(&used.id, now);
            }
            return Ok(());
        }
    };
    Err(refuse(request, refusal, Some(&client.id), now))
}

fn present(
    request: &HttpRequest,
    body_id: Option<String>,
    body_secret: Option<ClientSecret>,
) -> Result<Presented, NotPresented> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let Some(header) = headers.next() else {
        return match (body_id, body_secret) {
            (Some(id), Some(secret)) => Ok(Presented {
                id,
                secret,
                method: AuthMethod::ClientSecretPost,
            }),
            _ => Err(NotPresented::Refused(Refusal::NoCredentials)),
        };
    };
    if headers.next().is_some() || body_secret.is_some() {
        return Err(NotPresented::Malformed(TWO_METHODS));
    }
    let (id, secret) = basic::parse(header.as_bytes()).map_err(|malformed| {
        NotPresented::Refused(match malformed {
            MalformedBasic::Scheme => Refusal::WrongScheme,
            MalformedBasic::Credentials => Refusal::MalformedBasic,
        })
    })?;
    if body_id.is_some_and(|body_id| body_id != id) {
        return Err(NotPresented::Malformed(TWO_IDS));
    }
    Ok(Presented {
        id,
        secret,
        method: AuthMethod::ClientSecretBasic,
    })
}

fn refuse(request: &HttpRequest, refusal: Refusal, tried: Option<&ClientId>, now: UnixMillis) -> ApiError {
    match limits::refused(request, refusal, tried, now) {
        Ok(()) => OAuthError::InvalidClient.into(),
        Err(wait) => OAuthError::TooManyFailures(wait).into(),
    }
}
