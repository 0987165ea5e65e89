//! [`Scrape`]: the metrics of a server, parsed without the code under test.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::http::Request;

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
