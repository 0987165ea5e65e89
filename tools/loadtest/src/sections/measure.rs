//! How cases are measured: they take turns, round after round, so that other load on the machine
//! affects all of them; the figures are medians over the rounds.
//!
//! In each round, every case is driven twice: in a closed loop for its capacity, CPU time and
//! statements, then in an open loop at a fixed rate for its latencies. Each time, the server is
//! restarted and warmed up first.

use std::net::SocketAddr;
use std::time::Duration;

use loadtest::closed::{self, Until};
use loadtest::outcome::Outcome;
use loadtest::server::{self, CpuTime};
use loadtest::traffic::Traffic;
use loadtest::{median, open};
use testkit::{Server, TestClient};

use super::database::{Database, Settings};

/// One row of a comparison: a server in one configuration, and its load.
pub struct Case<'a> {
    /// The name in the table.
    pub name: String,
    /// The server that is started.
    pub target: Target<'a>,
    /// Its requests.
    pub traffic: Traffic,
}

/// The server that is started.
pub enum Target<'a> {
    /// The HTTP floor with this many workers.
    Floor(usize),
    /// Mintage, with one or several instances on the same database.
    Mintage {
        database: &'a Database,
        settings: Settings<'a>,
        instances: usize,
    },
}

impl<'a> Case<'a> {
    /// The HTTP floor.
    pub fn floor(workers: usize) -> Self {
        Self {
            name: "HTTP floor".to_owned(),
            target: Target::Floor(workers),
            traffic: Traffic::of(&TestClient {
                id: "floor".to_owned(),
                secret: "x".repeat(43),
            }),
        }
    }

    /// One server.
    pub fn new(name: impl Into<String>, database: &'a Database, settings: Settings<'a>, traffic: Traffic) -> Self {
        Self {
            name: name.into(),
            target: Target::Mintage {
                database,
                settings,
                instances: 1,
            },
            traffic,
        }
    }
}

/// Rounds, seconds per round, and connections.
#[derive(Clone, Copy)]
pub struct Plan {
    pub rounds: u32,
    pub seconds: u32,
    pub connections: usize,
}

impl Plan {
    fn time(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            rounds,
            seconds,
            connections,
        } = self;
        write!(
            f,
            "{connections} connections; medians of {rounds} rounds of {seconds} s"
        )
    }
}

/// The rate of the open loop.
#[derive(Clone, Copy)]
pub enum Rate {
    /// All at this share of the slowest case's capacity, so that latencies can be compared.
    OfSlowest(f64),
    /// Each at this share of its own capacity.
    OfOwn(f64),
}

/// The measurements of a case, with one value per round.
#[derive(Default)]
pub struct Figures {
    /// The name of the case.
    pub name: String,
    /// Requests per second in the open loop.
    pub rate: f64,
    capacity: Vec<f64>,
    cpu_micros: Vec<f64>,
    statements: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Figures {
    /// Responses per second in the closed loop.
    pub fn capacity(&self) -> f64 {
        median(self.capacity.clone())
    }

    /// CPU time of the server per response, including its record, in microseconds.
    pub fn cpu_micros(&self) -> f64 {
        median(self.cpu_micros.clone())
    }

    /// SQL statements per response.
    pub fn statements(&self) -> f64 {
        median(self.statements.clone())
    }

    /// Median latency in the open loop, in seconds.
    pub fn p50(&self) -> f64 {
        median(self.p50.clone())
    }

    /// 99th percentile of the latency in the open loop, in seconds.
    pub fn p99(&self) -> f64 {
        median(self.p99.clone())
    }
}

/// Measures all cases.
pub fn measure(cases: &[Case], plan: Plan, rate: Rate) -> Vec<Figures> {
    let named = |case: &Case| Figures {
        name: case.name.clone(),
        ..Figures::default()
    };
    let mut figures: Vec<Figures> = cases.iter().map(named).collect();
    for round in 1..=plan.rounds {
        for (case, figures) in cases.iter().zip(&mut figures) {
            let outcome = closed_loop(case, plan, figures);
            let rate = outcome.rate();
            note(&format!("round {round}, {}: {rate:.0}/s", case.name), &outcome);
        }
        // A case whose circuit breaker opened in the closed loop is still driven, but does not set
        // the rate of the others.
        let capacities = figures
            .iter()
            .map(Figures::capacity)
            .filter(|capacity| *capacity >= 1.0);
        let slowest = capacities.min_by(f64::total_cmp).unwrap_or(1.0);
        for (case, figures) in cases.iter().zip(&mut figures) {
            if round == 1 {
                figures.rate = match rate {
                    Rate::OfSlowest(share) => slowest * share,
                    Rate::OfOwn(share) => figures.capacity().max(1.0) * share,
                };
            }
            let running = Running::start(case, plan);
            let outcome = open::drive(
                &running.addresses(),
                &case.traffic,
                plan.connections,
                figures.rate,
                plan.time(),
            );
            figures.p50.push(outcome.percentile(50.0));
            figures.p99.push(outcome.percentile(99.0));
            note(
                &format!("round {round}, {} at {:.0}/s", case.name, figures.rate),
                &outcome,
            );
        }
    }
    figures
}

fn closed_loop(case: &Case, plan: Plan, figures: &mut Figures) -> Outcome {
    let running = Running::start(case, plan);
    let (statements, cpu) = (running.settle(), running.cpu());
    let outcome = running.drive(case, plan, plan.time());
    // The last records are not written yet: their cost belongs to these requests.
    let statements = running.settle() - statements;
    let cpu_nanos: f64 = running
        .cpu()
        .iter()
        .zip(cpu)
        .map(|(now, before)| now.since(before))
        .sum();
    let responses = outcome.succeeded().max(1) as f64;
    figures.capacity.push(outcome.rate());
    figures.cpu_micros.push(cpu_nanos / 1e3 / responses);
    figures.statements.push(statements / responses);
    outcome
}

fn note(what: &str, outcome: &Outcome) {
    let p99 = outcome.percentile(99.0) * 1e3;
    eprintln!(
        "{what}: p99 {p99:.2} ms, {} failed, {} not sent in time",
        outcome.failed, outcome.unsent
    );
}

/// The servers of a case, warmed up.
struct Running {
    servers: Vec<Server>,
    /// An operator's token; the floor has none.
    token: Option<String>,
}

impl Running {
    fn start(case: &Case, plan: Plan) -> Self {
        let running = match &case.target {
            Target::Floor(workers) => Self {
                servers: vec![server::floor(*workers)],
                token: None,
            },
            Target::Mintage {
                database,
                settings,
                instances,
            } => {
                let servers: Vec<Server> = (0..*instances).map(|_| database.serve(settings)).collect();
                let token = Some(database.operator.token(&servers[0]));
                Self { servers, token }
            }
        };
        running.drive(case, plan, Duration::from_secs(1));
        running
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.address).collect()
    }

    fn drive(&self, case: &Case, plan: Plan, time: Duration) -> Outcome {
        closed::drive(&self.addresses(), &case.traffic, plan.connections, Until::Time(time))
    }

    /// Waits until all records are written; returns the number of statements so far.
    fn settle(&self) -> f64 {
        let Some(token) = &self.token else {
            return 0.0;
        };
        let each = self.servers.iter().map(|server| {
            server::settle(server, token);
            server::statements(server, token)
        });
        each.sum()
    }

    fn cpu(&self) -> Vec<CpuTime> {
        self.servers.iter().map(|server| CpuTime::of(server.pid())).collect()
    }
}
