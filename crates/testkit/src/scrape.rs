//! [`Scrape`]: the metrics of a server, parsed without the code under test;
//! [`wait_for_change_feed`]: waits for what they say about the change feed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::http::Request;
use crate::poll::until;

/// How long a poll of the change feed may be overdue on a busy machine.
const CHANGE_FEED_TIMEOUT: Duration = Duration::from_secs(15);

/// The text of `GET /metrics`.
pub struct Scrape(pub String);

impl Scrape {
    #[track_caller]
    pub fn of(server: SocketAddr) -> Self {
        let response = Request::get("/metrics").send(server);
        assert_eq!(response.status, 200, "{}", response.text());
        Self(response.text())
    }

    /// The names of metrics, without the suffixes of histograms.
    pub fn names(&self) -> BTreeSet<&str> {
        let declared = self.0.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        declared.map(|line| line.split(' ').next().unwrap()).collect()
    }

    /// The series: metric names with their labels.
    pub fn series(&self) -> BTreeSet<&str> {
        let samples = self.0.lines().filter(|line| !line.starts_with('#'));
        samples.map(|line| line.rsplit_once(' ').unwrap().0).collect()
    }

    /// The value of a series, given exactly as in the text.
    pub fn value(&self, series: &str) -> Option<f64> {
        let mut lines = self.0.lines();
        let line = lines.find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series))?;
        Some(line.rsplit_once(' ').unwrap().1.parse().unwrap())
    }

    #[track_caller]
    pub fn assert_value(&self, series: &str, expected: f64) {
        assert_eq!(self.value(series), Some(expected), "{series}\n{}", self.0);
    }
}

/// Waits until the change feed of a server has applied all changes written so far: they are in
/// effect on every worker now, and the caches keep what they load from now on.
///
/// Does not depend on how busy the machine is. That the feed polls often enough for a change to be
/// applied within a second is tested in paused time.
#[track_caller]
pub fn wait_for_change_feed(server: SocketAddr) {
    let written = Instant::now();
    until("the change feed has applied all changes", CHANGE_FEED_TIMEOUT, || {
        let asked = Instant::now();
        let lag = Scrape::of(server).value("mintage_change_feed_lag_seconds");
        // The last complete poll began at most this long before the response.
        lag.is_some_and(|lag| Duration::from_secs_f64(lag) < asked - written)
    });
}
