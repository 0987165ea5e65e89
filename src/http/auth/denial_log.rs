//! The log of denials: one line for each, at most ten per second, with the number of suppressed lines.
//!
//! A line never carries the credentials: a secret that is typed into the wrong field would stay in the log. It carries a
//! client id only if a client with this id exists.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use actix_web::http::header::HeaderValue;

use crate::http::caller::{Caller, DetachedCaller};
use crate::oauth::client::ClientId;
use crate::oauth::denial::Denial;
use crate::throttle::Limited;
use crate::time::UnixMillis;

/// Lines per second. An attack must not fill the disk.
const MAX_LINES_PER_SECOND: u32 = 10;

/// The log, shared by all workers. Only denials lock it.
#[derive(Debug, Default)]
pub struct DenialLog {
    denials: Mutex<Second>,
    /// Separate, because a flood of denials would suppress the line that announces it.
    limits: Mutex<Second>,
}

/// The lines of the current second.
#[derive(Debug, Default)]
struct Second {
    number: i64,
    lines: u32,
    suppressed: u64,
}

impl Second {
    /// If a line may be written: how many were suppressed before it.
    fn admit(&mut self, now: UnixMillis) -> Option<u64> {
        if self.number != now.seconds() {
            self.number = now.seconds();
            self.lines = 0;
        }
        if self.lines == MAX_LINES_PER_SECOND {
            self.suppressed += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

impl DenialLog {
    /// Writes a line, unless there are too many in this second.
    pub fn note(&self, caller: &Caller, denial: Denial, client: Option<&ClientId>, now: UnixMillis) {
        let Some(suppressed) = admit(&self.denials, now) else {
            return;
        };
        if suppressed > 0 {
            log::info!("lines about what was refused left out count={suppressed}");
        }
        log::info!(
            "{} refused reason={} {}",
            denial.what(),
            denial.name(),
            fields(client, caller.address(), caller.request_id())
        );
    }

    /// Writes that a limit is reached, unless there are too many such lines in this second.
    pub fn note_limit(&self, caller: &DetachedCaller, limited: Limited, client: Option<&ClientId>, now: UnixMillis) {
        let Some(suppressed) = admit(&self.limits, now) else {
            return;
        };
        if suppressed > 0 {
            log::warn!("too many failed authentications, lines left out count={suppressed}");
        }
        let limited = match limited {
            Limited::Client => "client_at_address",
            Limited::Address => "address",
        };
        log::warn!(
            "too many failed authentications limited={limited} {}",
            fields(client, caller.address, &caller.request_id)
        );
    }
}

fn admit(second: &Mutex<Second>, now: UnixMillis) -> Option<u64> {
    second.lock().unwrap_or_else(PoisonError::into_inner).admit(now)
}

fn fields(client: Option<&ClientId>, address: IpAddr, request_id: &HeaderValue) -> String {
    let client = client.map_or_else(|| "-".to_owned(), |id| format!("{id:?}"));
    let request_id = request_id.to_str().unwrap_or("-");
    format!("client={client} peer={address} request_id={request_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_and_then_a_count() {
        let mut second = Second::default();
        let admitted: Vec<bool> = (0..13).map(|_| second.admit(UnixMillis(5000)).is_some()).collect();
        assert_eq!(admitted.iter().filter(|line| **line).count(), 10);
        assert_eq!(second.admit(UnixMillis(6000)), Some(3));
        assert_eq!(second.admit(UnixMillis(6001)), Some(0));
    }
}
