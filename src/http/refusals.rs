//! The log of what was refused, credentials above all: one line each, at most ten a second, with a count of what was left out.
//!
//! A line never carries what was presented: a secret typed into the wrong field would be in the log for good. An id
//! is shown only where it is a client's.

use std::sync::{Mutex, PoisonError};

use actix_web::HttpRequest;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use super::limits::Limited;
use super::state::Worker;
use super::{peer, request_id};
use crate::oauth::client::ClientId;
use crate::oauth::time::UnixMillis;

/// Lines a second; an attack must not fill the disk.
const LINES_A_SECOND: u32 = 10;

/// Why credentials were refused; for the log, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Refusal {
    /// There were none, or only half of them.
    NoCredentials,
    /// The Authorization header has another scheme.
    WrongScheme,
    /// The Basic credentials cannot be read.
    MalformedBasic,
    /// There is no such client.
    UnknownClient,
    /// None of the client's secrets, or one that has expired.
    WrongSecret,
    /// The client is disabled.
    DisabledClient,
    /// The client may not authenticate in this way.
    MethodNotAllowed,
    /// Too many had failed before: what was presented was not looked at.
    TooManyFailures,
    /// The bearer token is not active here.
    InvalidToken,
    /// The bearer token lacks a scope.
    InsufficientScope,
    /// Somebody asks about another's request who is not one of `server.trusted_proxies`.
    UntrustedPeer,
    /// A gateway asks about a request that is incomplete or could be read in two ways.
    UnclearRequest,
    /// No route allows the request.
    NoRoute,
}

impl Refusal {
    /// All of them, in their order.
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("one for each variant");

    /// What is refused.
    fn what(self) -> &'static str {
        match self {
            Self::UntrustedPeer | Self::UnclearRequest | Self::NoRoute => "request",
            _ => "credentials",
        }
    }

    /// The name, in the log and in the metrics.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether it counts as a failed authentication (P17): credentials were presented, looked at and found wrong.
    pub fn counts(self) -> bool {
        match self {
            Self::NoCredentials | Self::TooManyFailures | Self::InvalidToken | Self::InsufficientScope => false,
            // What a gateway asks about is not who asks.
            Self::UntrustedPeer | Self::UnclearRequest | Self::NoRoute => false,
            Self::WrongScheme
            | Self::MalformedBasic
            | Self::UnknownClient
            | Self::WrongSecret
            | Self::DisabledClient
            | Self::MethodNotAllowed => true,
        }
    }

    /// Whether the id that was tried is a client's, and so may be shown.
    pub fn is_of_a_client(self) -> bool {
        matches!(self, Self::WrongSecret | Self::DisabledClient | Self::MethodNotAllowed)
    }
}

/// The log itself, shared by all workers; only refusals touch it.
#[derive(Debug, Default)]
pub struct RefusalLog {
    refusals: Mutex<Second>,
    /// Apart from the others, whose flood it announces and would be lost in.
    limits: Mutex<Second>,
}

/// The current second and how much of it is used up.
#[derive(Debug, Default)]
struct Second {
    number: i64,
    lines: u32,
    left_out: u64,
}

impl Second {
    /// Whether a line may be written, and how many were left out before it.
    fn admit(&mut self, now: UnixMillis) -> Option<u64> {
        if self.number != now.seconds() {
            self.number = now.seconds();
            self.lines = 0;
        }
        if self.lines == LINES_A_SECOND {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl RefusalLog {
    /// Writes a line, unless there were too many in this second; counted it is in any case.
    pub fn note(&self, request: &HttpRequest, refusal: Refusal, client: Option<&ClientId>, now: UnixMillis) {
        Worker::of(request).metrics.refused(refusal as usize);
        let Some(left_out) = admit(&self.refusals, now) else {
            return;
        };
        if left_out > 0 {
            log::info!("lines about what was refused left out count={left_out}");
        }
        log::info!(
            "{} refused reason={} {}",
            refusal.what(),
            refusal.name(),
            who(request, client)
        );
    }

    /// Writes that a limit is reached, unless there were too many such lines in this second.
    pub fn note_limit(&self, request: &HttpRequest, limited: Limited, client: Option<&ClientId>, now: UnixMillis) {
        let Some(left_out) = admit(&self.limits, now) else {
            return;
        };
        if left_out > 0 {
            log::warn!("too many failed authentications, lines left out count={left_out}");
        }
        let limited = match limited {
            Limited::Client => "client_at_address",
            Limited::Address => "address",
        };
        log::warn!(
            "too many failed authentications limited={limited} {}",
            who(request, client)
        );
    }
}

fn admit(second: &Mutex<Second>, now: UnixMillis) -> Option<u64> {
    second.lock().unwrap_or_else(PoisonError::into_inner).admit(now)
}

fn who(request: &HttpRequest, client: Option<&ClientId>) -> String {
    let client = client.map_or_else(|| "-".to_owned(), |id| format!("{id:?}"));
    let (peer, id) = (peer::of(request), request_id::keep(request));
    format!("client={client} peer={peer} request_id={id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_place_in_the_metrics() {
        const { assert!(Refusal::ALL.len() <= crate::metrics::REFUSALS) };
        for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, place, "{refusal:?}");
        }
    }

    #[test]
    fn ten_lines_a_second_and_then_a_count() {
        let mut second = Second::default();
        let admitted: Vec<bool> = (0..13).map(|_| second.admit(UnixMillis(5000)).is_some()).collect();
        assert_eq!(admitted.iter().filter(|line| **line).count(), 10);
        assert_eq!(second.admit(UnixMillis(6000)), Some(3));
        assert_eq!(second.admit(UnixMillis(6001)), Some(0));
    }
}
