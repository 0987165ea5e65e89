//! How many connections may be open: below the limit of open files, so that the database, Redis and
//! the logs never lack a descriptor, and no more than a share for one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;

use crate::config::{Config, TrustedProxies};
use crate::db::Backend;
use crate::metrics::{ConnectionCounts, Ending};
use crate::mutex::lock;
use crate::throttle::Network;

/// The bound if the limit of open files allows it and `server.max_connections` is 0: a limit of a
/// million files must not mean a million connections, which would need 23 GiB
/// (docs/operations.md, "Connections and memory").
const DEFAULT_MAX_CONNECTIONS: usize = 10_000;

/// The bound of a separate admin listener. A flood on the public one must not lock operators out, so
/// it has descriptors of its own.
const MAX_ADMIN_CONNECTIONS: usize = 64;

/// Fewer connections are of no use, whatever the limit of open files is.
const MIN_CONNECTIONS: usize = 16;

/// Connections that may be open above the bound while others close for them. The acceptor waits once
/// there are more.
pub const MAX_CLOSING: usize = 64;

/// Descriptors of Redis, with its subscription and reconnections.
const REDIS_FILES: usize = 8;

/// Descriptors of one worker: its poll, waker and runtime.
const WORKER_FILES: usize = 4;

/// Log, listeners, certificates, libraries, and what else opens for a moment.
const OTHER_FILES: usize = 64;

/// How often rejections and evictions are logged.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Raises the limit of open files as far as the system allows, and returns it.
pub fn raise_file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let highest = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, highest) {
        Ok(()) => limit.maximum,
        Err(error) => {
            log::warn!(error:%; "file limit not raised");
            limit.current
        }
    };
    current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Descriptors that are kept free of connections.
fn reserve(config: &Config, workers: usize) -> usize {
    let database = &config.database;
    // A connection to SQLite has the database, its write-ahead log and the shared memory open.
    let files = match Backend::of_url(&database.url) {
        Backend::Sqlite => 3,
        Backend::Postgres => 1,
    };
    let pools = 1 + database.replica_urls.len();
    let admin = match config.server.admin_listen.is_empty() {
        true => 0,
        false => MAX_ADMIN_CONNECTIONS + MAX_CLOSING,
    };
    database.pool.max_size as usize * files * pools
        + REDIS_FILES
        + workers * WORKER_FILES
        + OTHER_FILES
        + MAX_CLOSING
        + admin
}

/// The bound of the public listener.
fn max_connections(configured: usize, files: usize, reserve: usize) -> usize {
    let possible = files.saturating_sub(reserve).max(MIN_CONNECTIONS);
    match configured {
        0 => possible.min(DEFAULT_MAX_CONNECTIONS),
        configured if configured > possible => {
            log::warn!(configured, effective = possible, files; "connection limit lowered");
            possible
        }
        configured => configured,
    }
}

fn proxies(config: &Config) -> [TrustedProxies; 2] {
    let server = &config.server;
    [server.trusted_proxies.clone(), server.client_ip_proxies.clone()]
}

/// The bounds of one listener.
pub struct Limits {
    max: usize,
    max_per_address: usize,
    /// All clients come from the addresses of proxies.
    exempt: [TrustedProxies; 2],
    open: AtomicUsize,
    by_address: Mutex<HashMap<Network, usize, ahash::RandomState>>,
    counts: Arc<ConnectionCounts>,
    /// Evicted connections that have not closed yet.
    evicting: AtomicUsize,
    /// Bytes of connections that were ended to free memory and have not closed yet.
    freeing: AtomicUsize,
    /// Of this listener, for the log.
    own: OwnCounts,
    reported: Mutex<Reported>,
}

/// What one listener has rejected and closed. [`ConnectionCounts`] are those of all listeners.
#[derive(Default)]
struct OwnCounts {
    rejected: AtomicU64,
    evicted: AtomicU64,
    memory: AtomicU64,
}

/// What the log knows already.
struct Reported {
    at: Instant,
    rejected: u64,
    evicted: u64,
    memory: u64,
}

impl Limits {
    /// The bounds of the public listener. `workers` counts those of all listeners.
    pub fn of_public(config: &Config, files: usize, workers: usize, counts: &Arc<ConnectionCounts>) -> Arc<Self> {
        let server = &config.server;
        let max = max_connections(server.max_connections, files, reserve(config, workers));
        counts.max.store(max, Ordering::Relaxed);
        let share = match server.max_connections_per_address {
            0 => (max / 4).max(1),
            share => share,
        };
        Self::new(max, share, proxies(config), counts)
    }

    /// The bounds of a separate admin listener.
    pub fn of_admin(config: &Config, counts: &Arc<ConnectionCounts>) -> Arc<Self> {
        let max = MAX_ADMIN_CONNECTIONS;
        // Operators may well share an address.
        Self::new(max, max, proxies(config), counts)
    }

    pub(super) fn new(
        max: usize,
        max_per_address: usize,
        exempt: [TrustedProxies; 2],
        counts: &Arc<ConnectionCounts>,
    ) -> Arc<Self> {
        Arc::new(Self {
            max,
            max_per_address,
            exempt,
            open: AtomicUsize::new(0),
            by_address: Mutex::default(),
            counts: counts.clone(),
            evicting: AtomicUsize::new(0),
            freeing: AtomicUsize::new(0),
            own: OwnCounts::default(),
            reported: Mutex::new(Reported {
                at: Instant::now(),
                rejected: 0,
                evicted: 0,
                memory: 0,
            }),
        })
    }

    /// The most connections that the acceptor may give to each of `workers`.
    pub fn max_per_worker(&self, workers: usize) -> usize {
        (self.max + MAX_CLOSING).div_ceil(workers)
    }

    /// The counts.
    pub fn counts(&self) -> &Arc<ConnectionCounts> {
        &self.counts
    }

    /// How many connections are open above the bound and not about to close.
    pub fn excess(&self) -> usize {
        let closing = self.evicting.load(Ordering::Relaxed);
        self.open.load(Ordering::Relaxed).saturating_sub(self.max + closing)
    }

    /// Corrects how many evicted connections of a worker have not closed yet.
    pub fn evicting(&self, before: usize, now: usize) {
        self.evicting.fetch_add(now, Ordering::Relaxed);
        self.evicting.fetch_sub(before, Ordering::Relaxed);
    }

    /// Bytes that connections hold beyond their first buffers, without those that are about to close.
    pub fn held(&self) -> usize {
        let closing = self.freeing.load(Ordering::Relaxed);
        self.counts.held.load(Ordering::Relaxed).saturating_sub(closing)
    }

    /// Corrects how many bytes the ended connections of a worker still hold.
    pub fn freeing(&self, before: usize, now: usize) {
        self.freeing.fetch_add(now, Ordering::Relaxed);
        self.freeing.fetch_sub(before, Ordering::Relaxed);
    }

    /// Counts a connection that the server has closed.
    pub fn ended(&self, ending: Ending) {
        self.counts.ended(ending);
        match ending {
            Ending::Evicted => {
                self.own.evicted.fetch_add(1, Ordering::Relaxed);
            }
            Ending::Memory => {
                self.own.memory.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn is_exempt(&self, peer: IpAddr) -> bool {
        self.exempt.iter().any(|proxies| proxies.contains(peer))
    }

    /// Admits a connection; `None` if its address has its share already.
    pub fn admit(self: &Arc<Self>, peer: Option<IpAddr>) -> Option<Admission> {
        let address = peer.filter(|peer| !self.is_exempt(*peer)).map(Network::of);
        if let Some(address) = address {
            let mut by_address = lock(&self.by_address);
            let open = by_address.entry(address).or_default();
            if *open >= self.max_per_address {
                self.counts.rejected.fetch_add(1, Ordering::Relaxed);
                self.own.rejected.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            *open += 1;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        Some(Admission {
            limits: self.clone(),
            address,
        })
    }

    /// Logs rejections and evictions, at most every ten seconds, with their number.
    pub fn report(&self) {
        let Ok(mut reported) = self.reported.try_lock() else {
            return;
        };
        if reported.at.elapsed() < REPORT_INTERVAL {
            return;
        }
        reported.at = Instant::now();
        let news = |known: &mut u64, now: u64| now - std::mem::replace(known, now);
        let count = news(&mut reported.rejected, self.own.rejected.load(Ordering::Relaxed));
        if count > 0 {
            log::warn!(count, limit = self.max_per_address; "connections rejected");
        }
        let count = news(&mut reported.evicted, self.own.evicted.load(Ordering::Relaxed));
        if count > 0 {
            log::warn!(count, limit = self.max; "connections evicted");
        }
        let count = news(&mut reported.memory, self.own.memory.load(Ordering::Relaxed));
        if count > 0 {
            log::warn!(count; "connections closed to free memory");
        }
    }
}

/// An open connection, until it is dropped.
pub struct Admission {
    limits: Arc<Limits>,
    address: Option<Network>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.limits.open.fetch_sub(1, Ordering::Relaxed);
        self.limits.counts.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else {
            return;
        };
        let mut by_address = lock(&self.limits.by_address);
        if let Some(open) = by_address.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max: usize, share: usize) -> Arc<Limits> {
        Limits::new(
            max,
            share,
            [TrustedProxies::default(), TrustedProxies::NONE],
            &Arc::default(),
        )
    }

    fn peer(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn an_address_gets_its_share_and_no_more() {
        let limits = limits(100, 2);
        let first = limits.admit(peer("192.0.2.1"));
        let second = limits.admit(peer("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(limits.admit(peer("192.0.2.1")).is_none());
        assert!(limits.admit(peer("192.0.2.2")).is_some());
        drop(first);
        assert!(limits.admit(peer("192.0.2.1")).is_some());
        assert_eq!(limits.counts.rejected.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_share() {
        let limits = limits(100, 1);
        let _first = limits.admit(peer("2001:db8::1")).unwrap();
        assert!(limits.admit(peer("2001:db8::ffff:0:0:2")).is_none());
        assert!(limits.admit(peer("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn trusted_proxies_have_no_share() {
        let limits = limits(100, 1);
        let admitted: Vec<_> = (0..5).map_while(|_| limits.admit(peer("127.0.0.1"))).collect();
        assert_eq!(admitted.len(), 5);
    }

    #[test]
    fn what_has_closed_is_forgotten() {
        let limits = limits(1, 1);
        drop(limits.admit(peer("192.0.2.1")));
        assert_eq!(limits.excess(), 0);
        assert!(limits.by_address.lock().unwrap().is_empty());
        assert_eq!(limits.counts.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_bound_stays_below_the_file_limit() {
        assert_eq!(max_connections(0, 1024, 200), 824);
        assert_eq!(max_connections(500, 1024, 200), 500);
        assert_eq!(max_connections(2000, 1024, 200), 824);
        assert_eq!(max_connections(0, 1 << 20, 200), DEFAULT_MAX_CONNECTIONS);
        assert_eq!(max_connections(20_000, 1 << 20, 200), 20_000);
    }

    #[test]
    fn the_file_limit_is_raised_to_what_is_allowed() {
        let files = raise_file_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(limit.current.map_or(usize::MAX, |limit| limit as usize), files);
    }
}
