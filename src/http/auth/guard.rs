//! The guard around every authentication: the limit on failures (P17), the log of denials, and the
//! failures that instances count together.

use crate::http::caller::Caller;
use crate::http::state::Worker;
use crate::oauth::client::ClientId;
use crate::oauth::denial::Denial;
use crate::oauth::error::RetryAfter;
use crate::throttle::Noted;
use crate::time::UnixMillis;

/// Whether the credentials of this caller may be verified.
///
/// # Errors
/// The delay before the next attempt, if the address, or this client id from this address, has
/// failed too often.
pub fn admit(worker: &Worker, caller: &Caller, client: Option<&ClientId>, now: UnixMillis) -> Result<(), RetryAfter> {
    let limits = &worker.shared.auth_limits;
    if !limits.any_limited(now) {
        return Ok(());
    }
    let Some(wait) = limits.wait(caller.address(), client, now) else {
        return Ok(());
    };
    note(worker, caller, Denial::TooManyFailures, None, now);
    Err(wait)
}

/// Counts and logs a denial. `client` is the id of the client if the log may show it.
pub fn note(worker: &Worker, caller: &Caller, denial: Denial, client: Option<&ClientId>, now: UnixMillis) {
    worker.metrics.denied(denial);
    caller.hint_ignored_header();
    worker.shared.denials.note(caller, denial, client, now);
}

/// Credentials that were denied.
#[derive(Clone, Copy)]
pub struct Denied<'a> {
    /// Why.
    pub denial: Denial,
    /// The client id in the credentials, for which a failure is counted.
    pub tried: Option<&'a ClientId>,
    /// The client that the credentials name, if it exists.
    pub client: Option<&'a ClientId>,
}

/// Logs a denial of credentials and counts it towards the limit if it is a failed authentication.
///
/// # Errors
/// The delay before the next attempt, if the limit was exceeded before this failure.
pub fn denied(worker: &Worker, caller: &Caller, denied: Denied<'_>, now: UnixMillis) -> Result<(), RetryAfter> {
    let shared = &worker.shared;
    let Denied { denial, tried, client } = denied;
    let client = client.filter(|_| denial.names_a_client());
    note(worker, caller, denial, client, now);
    if !denial.is_failed_authentication() {
        return Ok(());
    }
    match shared.auth_limits.note(caller.address(), tried, now) {
        Noted::Counted => {}
        Noted::Reached(limited) => shared.denials.note_limit(&caller.detached(), limited, client, now),
        Noted::TooMany(wait) => return Err(wait),
    }
    count_with_peers(worker, caller, tried, client);
    Ok(())
}

/// Counts the failure of a caller that hung up before its attempt was answered. It is counted in this
/// instance only: this runs while a future is dropped, perhaps together with its worker, so no task
/// can be started.
pub fn hung_up(worker: &Worker, caller: &Caller, denied: Denied<'_>, now: UnixMillis) {
    let shared = &worker.shared;
    let Denied { denial, tried, client } = denied;
    note(worker, caller, denial, client, now);
    if let Noted::Reached(limited) = shared.auth_limits.note(caller.address(), tried, now) {
        shared.denials.note_limit(&caller.detached(), limited, client, now);
    }
}

/// Counts a failure over all instances, after the response, and limits the caller here if the sum
/// exceeds the limit. `shown` is the client id if the log may show it.
fn count_with_peers(worker: &Worker, caller: &Caller, tried: Option<&ClientId>, shown: Option<&ClientId>) {
    if !worker.shared.peers.are_configured() {
        return;
    }
    let (shared, caller) = (worker.shared.clone(), caller.detached());
    let (tried, shown) = (tried.cloned(), shown.cloned());
    actix_web::rt::spawn(async move {
        let failures = shared.auth_limits.shared(caller.address, tried.as_ref());
        let Some(left) = shared.peers.count_failure(failures).await else {
            return;
        };
        let now = shared.clock.now();
        let limited = shared.auth_limits.merge(caller.address, tried.as_ref(), &left, now);
        if let Some(limited) = limited {
            shared.denials.note_limit(&caller, limited, shown.as_ref(), now);
        }
    });
}
