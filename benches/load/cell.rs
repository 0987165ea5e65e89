//! What is compared: cells, each a server in one configuration under one kind of load. They take turns, round after
//! round, so that whatever else the machine does hits all of them; what is quoted is the median over the rounds.
//!
//! In each round every cell is driven twice: in a closed loop for its capacity, and then, when all capacities are known,
//! in an open loop at a fixed rate for its latencies. Each time the server is started anew and warmed up first.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::closed::{self, Until};
use super::median;
use super::open;
use super::outcome::{Outcome, histogram, percentile};
use super::server::{Counts, OPERATOR_BODY, Server};
use super::traffic::Traffic;

pub use super::report::plot::FLOOR;

/// A server in one configuration, and its load.
pub struct Cell {
    /// What it is called in tables.
    pub name: String,
    /// What is started.
    pub program: Program,
    /// Makes the requests.
    pub traffic: Box<dyn Fn() -> Traffic>,
    /// Kept-alive connections.
    pub connections: usize,
    /// The least number of requests that fill the cache before anything is measured.
    pub warm_up: u64,
}

/// What is started.
pub enum Program {
    /// The bare handler, with so many workers.
    Floor(usize),
    /// The true server.
    Mintage {
        /// Its database.
        url: String,
        /// Its settings, as environment.
        settings: Vec<(&'static str, String)>,
        /// A client that may look at the statistics.
        operator: (String, String),
    },
}

impl Program {
    /// Starts it; with the true server comes a token for its statistics.
    pub fn start(&self) -> (Server, Option<String>) {
        match self {
            Self::Floor(workers) => (Server::floor(*workers), None),
            Self::Mintage {
                url,
                settings,
                operator,
            } => {
                let settings: Vec<(&str, &str)> =
                    settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let server = Server::mintage(url, &settings);
                let token = server.token(operator, OPERATOR_BODY);
                (server, Some(token))
            }
        }
    }
}

impl Cell {
    /// The floor under the same load.
    pub fn floor(connections: usize) -> Self {
        Self {
            name: FLOOR.to_owned(),
            program: Program::Floor(1),
            traffic: Box::new(|| Traffic::of(&("floor".to_owned(), "x".repeat(43)))),
            connections,
            warm_up: 0,
        }
    }
}

/// At which rate the open loop drives a cell.
#[derive(Clone, Copy)]
pub enum Rate {
    /// All at this share of the capacity of the slowest, so that latencies can be compared.
    OfSlowest(f64),
    /// Each at this share of its own capacity.
    OfOwn(f64),
}

/// How long, how often, how fast.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Turns of each cell.
    pub rounds: usize,
    /// How long each turn is driven.
    pub time: Duration,
    /// The rate of the open loop.
    pub rate: Rate,
}

/// What was measured of a cell: one value a round, and all latencies together for the plot.
pub struct Figures {
    /// The cell's name.
    pub name: String,
    capacity: Vec<f64>,
    cpu_micros: Vec<f64>,
    statements: Vec<f64>,
    hit_rate: Vec<f64>,
    wait_micros: Vec<f64>,
    closed_p99: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// Latencies of the open loop, in nanoseconds.
    pub latencies: Histogram<u64>,
    /// Requests a second of the open loop.
    pub rate: f64,
    /// Requests that were not answered with 200, or not sent in time.
    pub failed: u64,
}

impl Figures {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            capacity: vec![],
            cpu_micros: vec![],
            statements: vec![],
            hit_rate: vec![],
            wait_micros: vec![],
            closed_p99: vec![],
            p50: vec![],
            p99: vec![],
            latencies: histogram(),
            rate: 0.0,
            failed: 0,
        }
    }

    /// Answers a second in the closed loop.
    pub fn capacity(&self) -> f64 {
        median(self.capacity.clone())
    }

    /// CPU time of the server for one answer, its record written, in microseconds.
    pub fn cpu_micros(&self) -> f64 {
        median(self.cpu_micros.clone())
    }

    /// SQL statements for one answer.
    pub fn statements(&self) -> f64 {
        median(self.statements.clone())
    }

    /// The share of client lookups that memory answered.
    pub fn hit_rate(&self) -> f64 {
        median(self.hit_rate.clone())
    }

    /// Time spent waiting for a connection for one answer, in microseconds.
    pub fn wait_micros(&self) -> f64 {
        median(self.wait_micros.clone())
    }

    /// In the closed loop, in seconds: with every connection taken at all times.
    pub fn closed_p99(&self) -> f64 {
        median(self.closed_p99.clone())
    }

    /// In the open loop, in seconds.
    pub fn p50(&self) -> f64 {
        median(self.p50.clone())
    }

    /// In the open loop, in seconds.
    pub fn p99(&self) -> f64 {
        median(self.p99.clone())
    }

    /// In the open loop, in seconds; of all rounds together, because one alone may have too few answers.
    pub fn p999(&self) -> f64 {
        percentile(&self.latencies, 99.9)
    }

    fn closed(&mut self, outcome: &Outcome, cpu_nanos: f64, counts: Counts) {
        let answers = outcome.succeeded().max(1) as f64;
        self.capacity.push(outcome.rate());
        self.cpu_micros.push(cpu_nanos / 1e3 / answers);
        self.statements.push(counts.statements / answers);
        self.hit_rate.push(counts.hit_rate());
        self.wait_micros.push(counts.wait_seconds * 1e6 / answers);
        self.closed_p99.push(percentile(&outcome.latencies, 99.0));
        self.failed += outcome.failed;
    }

    fn open(&mut self, outcome: &Outcome) {
        self.p50.push(percentile(&outcome.latencies, 50.0));
        self.p99.push(percentile(&outcome.latencies, 99.0));
        self.latencies += &outcome.latencies;
        self.failed += outcome.failed + outcome.unsent;
    }
}

/// Measures all cells.
pub fn measure(what: &str, cells: &[Cell], plan: Plan) -> Vec<Figures> {
    let mut figures: Vec<Figures> = cells.iter().map(|cell| Figures::new(&cell.name)).collect();
    for round in 1..=plan.rounds {
        for (cell, figures) in cells.iter().zip(&mut figures) {
            let (outcome, cpu_nanos, counts) = run_closed(cell, plan);
            figures.closed(&outcome, cpu_nanos, counts);
            eprintln!(
                "{what}: round {round}/{}, {}, {} connections: {:.0}/s, {:.1} µs of CPU each{}",
                plan.rounds,
                cell.name,
                cell.connections,
                outcome.rate(),
                cpu_nanos / 1e3 / outcome.succeeded().max(1) as f64,
                failures(&outcome),
            );
        }
        if round == 1 {
            let slowest = figures.iter().map(Figures::capacity).fold(f64::MAX, f64::min);
            for each in &mut figures {
                let rate = match plan.rate {
                    Rate::OfSlowest(share) => slowest * share,
                    Rate::OfOwn(share) => each.capacity() * share,
                };
                // One whose breaker opened in the first round is asked all the same.
                each.rate = rate.max(1.0);
            }
        }
        for (cell, figures) in cells.iter().zip(&mut figures) {
            let (server, _) = cell.program.start();
            let traffic = (cell.traffic)();
            warm_up(&server, &traffic, cell, plan);
            let outcome = open::drive(&server.address, &traffic, cell.connections, figures.rate, plan.time);
            figures.open(&outcome);
            eprintln!(
                "{what}: round {round}/{}, {}, {} connections, {:.0}/s: p50 {:.2} ms, p99 {:.2} ms{}",
                plan.rounds,
                cell.name,
                cell.connections,
                figures.rate,
                percentile(&outcome.latencies, 50.0) * 1e3,
                percentile(&outcome.latencies, 99.0) * 1e3,
                failures(&outcome),
            );
        }
    }
    figures
}

fn run_closed(cell: &Cell, plan: Plan) -> (Outcome, f64, Counts) {
    let (server, token) = cell.program.start();
    let traffic = (cell.traffic)();
    warm_up(&server, &traffic, cell, plan);
    let settled_counts = || match &token {
        Some(token) => {
            // The last records are still to be written: they belong to the requests before.
            server.settle(token);
            server.counts(token)
        }
        None => Counts::default(),
    };
    let (counts, cpu) = (settled_counts(), server.cpu());
    let outcome = closed::drive(&server.address, &traffic, cell.connections, Until::Time(plan.time));
    let counts = settled_counts() - counts;
    (outcome, server.cpu().since(cpu), counts)
}

fn warm_up(server: &Server, traffic: &Traffic, cell: &Cell, plan: Plan) {
    let time = (plan.time / 3).min(Duration::from_secs(1));
    let outcome = closed::drive(&server.address, traffic, cell.connections, Until::Time(time));
    let rest = cell.warm_up.saturating_sub(outcome.succeeded());
    closed::drive(&server.address, traffic, cell.connections, Until::Requests(rest));
}

fn failures(outcome: &Outcome) -> String {
    match (outcome.failed, outcome.unsent) {
        (0, 0) => String::new(),
        (failed, unsent) => format!(", {failed} FAILED, {unsent} NOT SENT IN TIME"),
    }
}
