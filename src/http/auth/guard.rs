//! The guard before every authentication: the limit on failures (P17), the log of denials, and what peers are told of them.

use actix_web::HttpRequest;

use super::denial_log::Sender;
use crate::http::state::Worker;
use crate::http::{peer, request_id};
use crate::oauth::client::ClientId;
use crate::oauth::denial::Denial;
use crate::oauth::error::RetryAfter;
use crate::throttle::Noted;
use crate::time::UnixMillis;

/// Whether credentials of this request may be looked at.
///
/// # Errors
/// The wait, when its address, or the client id there, has failed too often.
pub fn admit(
    worker: &Worker,
    request: &HttpRequest,
    client: Option<&ClientId>,
    now: UnixMillis,
) -> Result<(), RetryAfter> {
    let shared = &worker.shared;
    if !shared.auth_limits.any_limited(now) {
        return Ok(());
    }
    let Some(wait) = shared
        .auth_limits
        .wait(peer::of(request, worker.trusted_proxies()), client, now)
    else {
        return Ok(());
    };
    note(worker, request, Denial::TooManyFailures, None, now);
    Err(wait)
}

/// Counts and logs a denial, with the id of the client as far as the log may show it.
pub fn note(worker: &Worker, request: &HttpRequest, denial: Denial, client: Option<&ClientId>, now: UnixMillis) {
    worker.metrics.denied(denial);
    let sender = || sender(worker, request);
    worker.shared.denials.note(denial, client, now, sender);
}

/// Logs denied credentials and counts them, if they are of a kind that counts. `tried` is the client id that they named.
///
/// # Errors
/// The wait, when this was one failure too many.
pub fn denied(
    worker: &Worker,
    request: &HttpRequest,
    denial: Denial,
    tried: Option<&ClientId>,
    now: UnixMillis,
) -> Result<(), RetryAfter> {
    let shared = &worker.shared;
    let client = tried.filter(|_| denial.is_of_a_client());
    note(worker, request, denial, client, now);
    if !denial.is_failed_authentication() {
        return Ok(());
    }
    match shared
        .auth_limits
        .note(peer::of(request, worker.trusted_proxies()), tried, now)
    {
        Noted::Counted => tell_peers(worker, request, tried, client),
        Noted::Reached(limited) => {
            shared
                .denials
                .note_limit(limited, client, now, || sender(worker, request));
            tell_peers(worker, request, tried, client);
        }
        Noted::TooMany(wait) => return Err(wait),
    }
    Ok(())
}

/// Counts a failure of a caller that hung up while a slow hash was compared, in this instance only: it is told from within
/// a future that is dropped, maybe with all the rest of the worker, and nothing can be begun there.
pub fn hung_up(worker: &Worker, request: &HttpRequest, id: &ClientId, now: UnixMillis) {
    let shared = &worker.shared;
    note(worker, request, Denial::WrongSecret, Some(id), now);
    let address = peer::of(request, worker.trusted_proxies());
    if let Noted::Reached(limited) = shared.auth_limits.note(address, Some(id), now) {
        shared
            .denials
            .note_limit(limited, Some(id), now, || sender(worker, request));
    }
}

/// Has a failure counted over all instances, and limits whoever has failed too often everywhere together; after the answer.
/// `shown` is the client id as far as the log may show it.
fn tell_peers(worker: &Worker, request: &HttpRequest, tried: Option<&ClientId>, shown: Option<&ClientId>) {
    if !worker.shared.peers.are_configured() {
        return;
    }
    let (shared, sender) = (worker.shared.clone(), sender(worker, request));
    let (tried, shown) = (tried.cloned(), shown.cloned());
    actix_web::rt::spawn(async move {
        let failures = shared.auth_limits.shared(sender.address, tried.as_ref());
        let Some(left) = shared.peers.count_failure(failures).await else {
            return;
        };
        let now = shared.clock.now();
        let limited = shared.auth_limits.merge(sender.address, tried.as_ref(), &left, now);
        if let Some(limited) = limited {
            shared.denials.note_limit(limited, shown.as_ref(), now, || sender);
        }
    });
}

fn sender(worker: &Worker, request: &HttpRequest) -> Sender {
    Sender {
        address: peer::of(request, worker.trusted_proxies()),
        request_id: request_id::keep(request, &worker.request_ids),
    }
}
