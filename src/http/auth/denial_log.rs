//! The log of denials: one line for each, at most ten per second, with the number of suppressed
//! lines.
//!
//! A line never carries the credentials: a secret that is typed into the wrong field would stay in
//! the log. It carries a client id only if a client with this id exists.

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
            log::info!(count = suppressed; "denial events suppressed");
        }
        let (reason, client) = (denial.name(), client.map(ClientId::as_str));
        let (address, request_id) = (caller.address(), request_id(caller.request_id()));
        match denial.is_of_a_request() {
            true => log::info!(reason, client, client_ip:% = address, request_id; "request denied"),
            false => log::info!(reason, client, client_ip:% = address, request_id; "credentials denied"),
        }
    }

    /// Writes that a limit is reached, unless there are too many such lines in this second.
    pub fn note_limit(&self, caller: &DetachedCaller, limited: Limited, client: Option<&ClientId>, now: UnixMillis) {
        let Some(suppressed) = admit(&self.limits, now) else {
            return;
        };
        if suppressed > 0 {
            log::warn!(count = suppressed; "authentication limit events suppressed");
        }
        let limit = match limited {
            Limited::Client => "client_ip",
            Limited::Address => "ip",
        };
        let (client, request_id) = (client.map(ClientId::as_str), request_id(&caller.request_id));
        log::warn!(limit, client, client_ip:% = caller.address, request_id; "authentication limit reached");
    }
}

fn admit(second: &Mutex<Second>, now: UnixMillis) -> Option<u64> {
    second.lock().unwrap_or_else(PoisonError::into_inner).admit(now)
}

fn request_id(header: &HeaderValue) -> &str {
    header.to_str().unwrap_or("-")
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
