//! One attempt of a client to authenticate: which secrets are verified for it, and the one failure
//! that is recorded if none is right.

use std::mem;
use std::sync::Arc;

use super::guard::{self, Denied};
use crate::http::audit_log;
use crate::http::caller::Caller;
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::client::{AuthMethod, Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::denial::Denial;
use crate::oauth::error::OAuthError;
use crate::oauth::stored_secret::{self, StoredSecret};
use crate::time::UnixMillis;
use crate::unavailable::Unavailable;

/// A client that has proved who it is.
pub struct Authenticated {
    /// The client.
    pub client: Arc<Client>,
    /// The id of the secret that proved it.
    pub secret_id: Arc<str>,
}

/// A client with password hashes, none of whose other secrets is the presented one.
pub struct Candidate {
    /// The client.
    pub client: Arc<Client>,
    /// The secret that was presented for it.
    pub secret: ClientSecret,
}

/// An attempt that has not succeeded yet.
///
/// If the caller hangs up after a secret was verified, or while a password hash is, the failure is
/// counted and audited. Otherwise a caller could guess secrets without limit by hanging up each
/// time.
pub struct Attempt<'a> {
    worker: &'a Worker,
    caller: &'a Caller<'a>,
    /// The client id for which a failure counts.
    tried: Option<ClientId>,
    method: AuthMethod,
    failure: Failure,
    /// A client whose password hashes are being verified.
    verifying: Option<Arc<Client>>,
    ended: bool,
}

impl<'a> Attempt<'a> {
    /// An attempt by `method`, whose failure counts for the client id `tried`.
    pub fn new(worker: &'a Worker, caller: &'a Caller<'a>, tried: Option<ClientId>, method: AuthMethod) -> Self {
        Self {
            worker,
            caller,
            tried,
            method,
            failure: Failure::default(),
            verifying: None,
            ended: false,
        }
    }

    /// Notes that a client could not be looked up, so that it is uncertain whether it has the
    /// secret.
    pub fn note_outage(&mut self) {
        self.failure.is_uncertain = true;
    }

    /// Compares a secret with those of the client that was looked up, or with none if there is no
    /// client: that takes as long. `None` if it is not one of them, which is noted; a client with
    /// password hashes is added to the candidates instead.
    pub fn compare(
        &mut self,
        client: Result<Option<Arc<Client>>, Unavailable>,
        secret: ClientSecret,
        candidates: &mut Vec<Candidate>,
        now: UnixMillis,
    ) -> Option<Authenticated> {
        let client = match client {
            Ok(Some(client)) => client,
            missing => {
                stored_secret::verify(&secret, &[], now);
                match missing {
                    // As for a client that exists, otherwise the limit would tell.
                    Ok(_) => self.failure.found_wrong = true,
                    Err(Unavailable) => self.note_outage(),
                }
                return None;
            }
        };
        let found = stored_secret::verify(&secret, &client.secrets, now);
        if found.is_none() && stored_secret::any_is_password_hash(&client.secrets) {
            self.verifying.get_or_insert_with(|| client.clone());
            candidates.push(Candidate { client, secret });
            return None;
        }
        self.authorize(found, &client, now)
    }

    /// Continues with the password hashes of clients.
    ///
    /// # Errors
    /// 401 if none is that of the presented secret, 503 if that cannot be found out now.
    pub async fn verify_password_hashes(
        mut self,
        mut candidates: Vec<Candidate>,
        now: UnixMillis,
    ) -> Result<Authenticated, ApiError> {
        let worker = self.worker;
        let verifier = &worker.shared.password_verifier;
        // What was verified before needs no password hash, so it comes first. Otherwise each
        // request of a client that sends its secret without form encoding would cost one.
        candidates.sort_by_key(|candidate| !verifier.remembers(&candidate.secret, &candidate.client, now));
        let mut now = now;
        for Candidate { client, secret } in candidates {
            self.verifying = Some(client.clone());
            let Ok(found) = verifier.find(&secret, &client, now).await else {
                self.note_outage();
                continue;
            };
            // The check took time, so the current state of the client decides.
            now = worker.now();
            let Ok(current) = worker.cache.lookup(client.id.clone(), now).await else {
                self.note_outage();
                continue;
            };
            let Some(current) = current else {
                continue;
            };
            let is_found =
                |secret: &&StoredSecret| found.is_some_and(|found| found.id == secret.id) && secret.is_valid(now);
            let found = current.secrets.iter().find(is_found);
            if let Some(authenticated) = self.authorize(found, &current, now) {
                return Ok(authenticated);
            }
        }
        Err(self.deny(now))
    }

    /// The client, if the secret `found` authenticates it. The reason is noted otherwise.
    fn authorize(
        &mut self,
        found: Option<&StoredSecret>,
        client: &Arc<Client>,
        now: UnixMillis,
    ) -> Option<Authenticated> {
        match authorize(self.worker, found, client, self.method, now) {
            Ok(secret_id) => {
                self.ended = true;
                let client = client.clone();
                Some(Authenticated { client, secret_id })
            }
            Err(denial) => {
                self.failure.note(denial, client);
                None
            }
        }
    }

    /// Records the failure: one, however many secrets were verified.
    pub fn deny(mut self, now: UnixMillis) -> ApiError {
        self.ended = true;
        let failure = mem::take(&mut self.failure);
        deny(self.worker, self.caller, failure, self.tried.as_ref(), now)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let (failure, verifying) = (mem::take(&mut self.failure), self.verifying.take());
        if self.ended || !(failure.found_wrong || verifying.is_some()) {
            return;
        }
        let (denial, client) = match failure.client.is_none() && verifying.is_some() {
            true => (Denial::WrongSecret, verifying),
            false => (failure.denial, failure.client),
        };
        let now = self.worker.now();
        if let Some(client) = &client {
            audit_log::sign_in_failed(self.worker, self.caller, client, denial, now);
        }
        let denied = Denied {
            denial,
            tried: self.tried.as_ref(),
            client: client.as_ref().map(|client| &client.id),
        };
        guard::hung_up(self.worker, self.caller, denied, now);
    }
}

/// The id of the secret `found`, if it authenticates `client`.
///
/// # Errors
/// The reason why it does not.
pub fn authorize(
    worker: &Worker,
    found: Option<&StoredSecret>,
    client: &Client,
    method: AuthMethod,
    now: UnixMillis,
) -> Result<Arc<str>, Denial> {
    match found {
        None => Err(Denial::WrongSecret),
        Some(_) if !client.enabled => Err(Denial::DisabledClient),
        Some(_) if !client.auth_methods.contains(&method) => Err(Denial::MethodNotAllowed),
        Some(used) => {
            if used.last_used.note(now) {
                worker.shared.secret_usage.note(&used.id, now);
            }
            Ok(used.id.clone())
        }
    }
}

/// Why an authentication failed.
pub struct Failure {
    denial: Denial,
    /// The client, if there is one with the id.
    client: Option<Arc<Client>>,
    /// Whether a client or its secret could not be looked up.
    is_uncertain: bool,
    /// Whether a secret was found wrong, for a client or because there is none.
    found_wrong: bool,
}

impl Default for Failure {
    /// No client has the id.
    fn default() -> Self {
        Self::of(Denial::UnknownClient)
    }
}

impl Failure {
    /// Before any client is known.
    pub fn of(denial: Denial) -> Self {
        Self {
            denial,
            client: None,
            is_uncertain: false,
            found_wrong: false,
        }
    }

    /// Notes why a secret does not authenticate a client. The first client is kept, unless the
    /// secret of a later one is right.
    pub fn note(&mut self, denial: Denial, client: &Arc<Client>) {
        self.found_wrong = true;
        if self.client.is_none() || denial != Denial::WrongSecret {
            self.denial = denial;
            self.client = Some(client.clone());
        }
    }
}

/// Records a failure. `tried` is the client id for which it counts.
pub fn deny(
    worker: &Worker,
    caller: &Caller<'_>,
    failure: Failure,
    tried: Option<&ClientId>,
    now: UnixMillis,
) -> ApiError {
    let Failure {
        denial,
        client,
        is_uncertain,
        found_wrong,
    } = failure;
    if is_uncertain && !found_wrong {
        // No secret was compared with those of a client, so none was guessed.
        return ApiError::Unavailable;
    }
    if let Some(client) = &client {
        audit_log::sign_in_failed(worker, caller, client, denial, now);
    }
    let client = client.as_ref().map(|client| &client.id);
    match guard::denied(worker, caller, Denied { denial, tried, client }, now) {
        Ok(()) if is_uncertain => ApiError::Unavailable,
        Ok(()) => OAuthError::InvalidClient.into(),
        Err(wait) => OAuthError::TooManyFailures(wait).into(),
    }
}
