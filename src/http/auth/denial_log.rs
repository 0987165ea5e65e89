//! The log of denials: a line for each, within a budget for each reason and caller, and the number
//! of those without a line.
//!
//! The caller is the client if its existence is known (`Denial::names_a_client`, or a token of this
//! server), otherwise the address. So noise about one caller cannot hide another, and callers
//! without a client cannot displace clients.
//!
//! A line never carries the credentials: a secret that is typed into the wrong field would stay in
//! the log. It carries a client id only if a client with this id exists.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::Mutex;

use crate::http::caller::{Caller, DetachedCaller};
use crate::mutex::lock;
use crate::oauth::client::ClientId;
use crate::oauth::denial::Denial;
use crate::throttle::{BudgetLimits, BudgetedCaller, Budgets, Counted, Limited, Network, Verdict};
use crate::time::UnixMillis;

/// An attack must not fill the disk: ten lines for each reason and caller in ten seconds, and 200
/// for all. Then the counts of the 20 largest, and a sum for each reason. An entry takes about 300 bytes, so four full maps take 1.2 MB.
const LIMITS: BudgetLimits = BudgetLimits {
    window: 10_000,
    lines_per_key: 10,
    lines_per_window: 200,
    max_keys: NonZeroUsize::new(1024).expect("it is not zero"),
    max_reported: 20,
};

/// The log, shared by all workers. Only denials lock it.
pub struct DenialLog {
    began: UnixMillis,
    denials: Callers<Denial>,
    /// Separate, because a flood of denials would suppress the line that announces it.
    limits: Callers<Limited>,
}

/// The budgets of clients, and separately those of addresses, of which a botnet has many.
struct Callers<R> {
    clients: Mutex<Budgets<R>>,
    networks: Mutex<Budgets<R>>,
}

impl<R: Copy + Eq + Hash> Callers<R> {
    fn new() -> Self {
        let budgets = || Mutex::new(Budgets::new(LIMITS));
        Self {
            clients: budgets(),
            networks: budgets(),
        }
    }

    fn note(&self, reason: R, client: Option<&ClientId>, ip: std::net::IpAddr, now: UnixMillis) -> Verdict {
        match client {
            Some(client) => lock(&self.clients).note(reason, BudgetedCaller::Client(client.clone()), ip, now),
            None => lock(&self.networks).note(reason, BudgetedCaller::Network(Network::of(ip)), ip, now),
        }
    }

    fn of_both(&self, read: impl Fn(&mut Budgets<R>) -> Vec<Counted<R>>) -> Vec<Counted<R>> {
        // One after the other: a denial waits for none of them for long.
        let clients = read(&mut lock(&self.clients));
        let networks = read(&mut lock(&self.networks));
        [clients, networks].concat()
    }
}

impl DenialLog {
    /// A log that begins now.
    pub fn new(now: UnixMillis) -> Self {
        Self {
            began: now,
            denials: Callers::new(),
            limits: Callers::new(),
        }
    }

    /// Counts a denial, and writes a line unless there are too many.
    pub fn note(&self, caller: &Caller, denial: Denial, client: Option<&ClientId>, now: UnixMillis) {
        let client_ip = caller.address();
        if self.denials.note(denial, client, client_ip, now) == Verdict::Suppress {
            return;
        }
        let (reason, client) = (denial.name(), client.map(ClientId::as_str));
        let request_id = caller.request_id_text();
        match denial.is_of_a_request() {
            true => log::info!(reason, client, client_ip:%, request_id; "request denied"),
            false => log::info!(reason, client, client_ip:%, request_id; "credentials denied"),
        }
    }

    /// Counts that a limit is reached, and writes a line unless there are too many.
    pub fn note_limit(&self, caller: &DetachedCaller, limited: Limited, client: Option<&ClientId>, now: UnixMillis) {
        let client_ip = caller.address;
        if self.limits.note(limited, client, client_ip, now) == Verdict::Suppress {
            return;
        }
        let (limit, client) = (name(limited), client.map(ClientId::as_str));
        let request_id = caller.request_id.to_str().unwrap_or("-");
        log::warn!(limit, client, client_ip:%, request_id; "authentication limit reached");
    }

    /// Writes how many denials of past windows got no line. To be called every second, so that a
    /// count is written although nothing follows.
    pub fn report(&self, now: UnixMillis) {
        self.write(|budgets| budgets.report(now), |budgets| budgets.report(now));
    }

    /// Writes every count that was not written yet, when the server stops.
    pub fn report_all(&self) {
        self.write(Budgets::report_all, Budgets::report_all);
    }

    /// All denials since the moment that is returned with them, by reason and caller.
    pub fn totals(&self) -> (UnixMillis, Vec<Counted<Denial>>) {
        (self.began, self.denials.of_both(|budgets| budgets.totals()))
    }

    fn write(
        &self,
        denials: impl Fn(&mut Budgets<Denial>) -> Vec<Counted<Denial>>,
        limits: impl Fn(&mut Budgets<Limited>) -> Vec<Counted<Limited>>,
    ) {
        for counted in self.denials.of_both(denials) {
            let (reason, count) = (counted.reason.name(), counted.count);
            let (client, client_ip) = (client_of(&counted), counted.last_ip.map(|ip| ip.to_string()));
            log::info!(reason, client, client_ip, count; "denial events suppressed");
        }
        for counted in self.limits.of_both(limits) {
            let (limit, count) = (name(counted.reason), counted.count);
            let (client, client_ip) = (client_of(&counted), counted.last_ip.map(|ip| ip.to_string()));
            log::warn!(limit, client, client_ip, count; "authentication limit events suppressed");
        }
    }
}

fn client_of<R>(counted: &Counted<R>) -> Option<&str> {
    match &counted.caller {
        Some(BudgetedCaller::Client(client)) => Some(client.as_str()),
        _ => None,
    }
}

fn name(limited: Limited) -> &'static str {
    match limited {
        Limited::Client => "client_ip",
        Limited::Address => "ip",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_states_the_largest_number_of_lines() {
        // Each for clients and for addresses. `Limited` has two values.
        let lines = 2 * LIMITS.max_lines(Denial::ALL.len()) + 2 * LIMITS.max_lines(2);
        let reports = lines - 4 * LIMITS.lines_per_window as usize;
        let claim = format!("at most {lines} lines in ten seconds, {reports} of them counts");
        let documentation = include_str!("../../../docs/operations.md");
        assert!(documentation.contains(&claim), "operations.md must say: {claim}");
    }
}
