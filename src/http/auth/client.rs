//! Client authentication (RFC 6749 §2.3.1), the same for every endpoint that needs it.
//!
//! Whatever is wrong, the answer is the same 401 and takes the same time (P15); only the log knows why. The exception is
//! a client with a secret that is kept by a slow hash: a wrong secret of it takes longer than one of nobody.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::guard;
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::basic::{self, MalformedBasic};
use crate::oauth::client::{AuthMethod, Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::denial::Denial;
use crate::oauth::error::OAuthError;
use crate::oauth::stored_secret::{self, StoredSecret};
use crate::time::UnixMillis;

/// The credentials of a request.
struct Presented {
    id: String,
    secret: ClientSecret,
    method: AuthMethod,
}

/// Why a request gives no credentials to verify.
enum NotPresented {
    /// It is rejected as a request.
    Malformed(OAuthError),
    /// It is denied as an authentication.
    Denied(Denial),
}

const TWO_METHODS: OAuthError = OAuthError::InvalidRequest("there is more than one way of authentication");
const TWO_IDS: OAuthError = OAuthError::InvalidRequest("client_id is not the one of the Authorization header");

/// The client that a request proves to come from.
///
/// # Errors
/// 400 for two methods in one request (P14), 401 for every failure (P15), 429 after too many of them (P17), 503 when the
/// client cannot be looked up (P25) or its slow hash has to wait for too many others.
pub async fn authenticate(
    worker: &Worker,
    request: &HttpRequest,
    body_id: Option<String>,
    body_secret: Option<ClientSecret>,
    now: UnixMillis,
) -> Result<Arc<Client>, ApiError> {
    let presented = match present(request, body_id, body_secret) {
        Ok(presented) => presented,
        Err(NotPresented::Malformed(error)) => return Err(error.into()),
        Err(NotPresented::Denied(denial)) => return Err(deny(worker, request, denial, None, now)),
    };
    let tried = ClientId::parse(&presented.id);
    guard::admit(worker, request, tried.as_ref(), now).map_err(OAuthError::TooManyFailures)?;
    let found = match tried {
        Some(id) => worker.cache.lookup(id, now).await?,
        None => None,
    };
    let Some(client) = found else {
        // As much work as for a client that exists, so that time does not tell them apart.
        stored_secret::verify(&presented.secret, &[], now);
        let tried = ClientId::parse(&presented.id);
        return Err(deny(worker, request, Denial::UnknownClient, tried.as_ref(), now));
    };
    let found = match stored_secret::verify(&presented.secret, &client.secrets, now) {
        None if stored_secret::any_is_password_hash(&client.secrets) => {
            // Boxed, so that the future of every other request is not larger for it.
            return Box::pin(authenticate_by_password_hash(worker, request, presented, client, now)).await;
        }
        found => found,
    };
    authorize(worker, request, found, &presented, &client, now)?;
    Ok(client)
}

/// As [`authenticate`], of a client that has secrets with a slow hash, when none of the others is the one.
async fn authenticate_by_password_hash(
    worker: &Worker,
    request: &HttpRequest,
    presented: Presented,
    client: Arc<Client>,
    now: UnixMillis,
) -> Result<Arc<Client>, ApiError> {
    let mut unfinished = Unfinished(Some((worker, request, &client.id, now)));
    let found = worker
        .shared
        .password_verifier
        .find(&presented.secret, &client, now)
        .await;
    unfinished.0 = None;
    let found = found?.map(|secret| secret.id.clone());
    // That took its time: what the client is now decides.
    let now = worker.now();
    let Some(client) = worker.cache.lookup(client.id.clone(), now).await? else {
        return Err(deny(worker, request, Denial::UnknownClient, Some(&client.id), now));
    };
    let secret = found.and_then(|id| {
        client
            .secrets
            .iter()
            .find(|secret| secret.id == id && secret.is_valid(now))
    });
    authorize(worker, request, secret, &presented, &client, now)?;
    Ok(client)
}

/// Counts a failure if the caller hangs up before there is a verdict: or whoever guesses would never be counted.
struct Unfinished<'a>(Option<(&'a Worker, &'a HttpRequest, &'a ClientId, UnixMillis)>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some((worker, request, id, now)) = self.0.take() {
            guard::hung_up(worker, request, id, now);
        }
    }
}

/// Whether `client` may go on by the secret of its that was `found`.
fn authorize(
    worker: &Worker,
    request: &HttpRequest,
    found: Option<&StoredSecret>,
    presented: &Presented,
    client: &Client,
    now: UnixMillis,
) -> Result<(), ApiError> {
    let denial = match found {
        None => Denial::WrongSecret,
        Some(_) if !client.enabled => Denial::DisabledClient,
        Some(_) if !client.auth_methods.contains(&presented.method) => Denial::MethodNotAllowed,
        Some(used) => {
            if used.last_used.note(now) {
                worker.shared.secret_usage.note(&used.id, now);
            }
            return Ok(());
        }
    };
    Err(deny(worker, request, denial, Some(&client.id), now))
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
            _ => Err(NotPresented::Denied(Denial::NoCredentials)),
        };
    };
    if headers.next().is_some() || body_secret.is_some() {
        return Err(NotPresented::Malformed(TWO_METHODS));
    }
    let (id, secret) = basic::parse(header.as_bytes()).map_err(|malformed| {
        NotPresented::Denied(match malformed {
            MalformedBasic::Scheme => Denial::WrongScheme,
            MalformedBasic::Credentials => Denial::MalformedBasic,
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

fn deny(worker: &Worker, request: &HttpRequest, denial: Denial, tried: Option<&ClientId>, now: UnixMillis) -> ApiError {
    match guard::denied(worker, request, denial, tried, now) {
        Ok(()) => OAuthError::InvalidClient.into(),
        Err(wait) => OAuthError::TooManyFailures(wait).into(),
    }
}
