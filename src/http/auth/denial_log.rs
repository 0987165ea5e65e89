//! The log of what was denied, credentials above all: one line each, at most ten a second, with a count of what was left out.
//!
//! A line never carries what was presented: a secret typed into the wrong field would be in the log for good. An id
//! is shown only where it is a client's.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::oauth::client::ClientId;
use crate::oauth::denial::Denial;
use crate::throttle::Limited;
use crate::time::UnixMillis;

/// Lines a second; an attack must not fill the disk.
const LINES_A_SECOND: u32 = 10;

/// Where a denied request came from.
pub struct Sender {
    /// Its address.
    pub address: IpAddr,
    /// The id that its answer carries.
    pub request_id: String,
}

/// The log itself, shared by all workers; only denials touch it.
#[derive(Debug, Default)]
pub struct DenialLog {
    denials: Mutex<Second>,
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

impl DenialLog {
    /// Writes a line, unless there were too many in this second.
    pub fn note(&self, denial: Denial, client: Option<&ClientId>, now: UnixMillis, sender: impl FnOnce() -> Sender) {
        let Some(left_out) = admit(&self.denials, now) else {
            return;
        };
        if left_out > 0 {
            log::info!(count = left_out; "denial events suppressed");
        }
        let (reason, client) = (denial.name(), client.map(ClientId::as_str));
        let Sender { address, request_id } = sender();
        match denial.is_of_a_request() {
            true => log::info!(reason, client, client_ip:% = address, request_id; "request denied"),
            false => log::info!(reason, client, client_ip:% = address, request_id; "credentials denied"),
        }
    }

    /// Writes that a limit is reached, unless there were too many such lines in this second.
    pub fn note_limit(
        &self,
        limited: Limited,
        client: Option<&ClientId>,
        now: UnixMillis,
        sender: impl FnOnce() -> Sender,
    ) {
        let Some(left_out) = admit(&self.limits, now) else {
            return;
        };
        if left_out > 0 {
            log::warn!(count = left_out; "authentication limit events suppressed");
        }
        let limit = match limited {
            Limited::Client => "client_ip",
            Limited::Address => "ip",
        };
        let client = client.map(ClientId::as_str);
        let Sender { address, request_id } = sender();
        log::warn!(limit, client, client_ip:% = address, request_id; "authentication limit reached");
    }
}

fn admit(second: &Mutex<Second>, now: UnixMillis) -> Option<u64> {
    second.lock().unwrap_or_else(PoisonError::into_inner).admit(now)
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
