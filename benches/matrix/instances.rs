//! What it costs to be several: one, two and three instances on one PostgreSQL, on the same cores.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::load::closed::{self, Until};
use crate::load::flags::Flags;
use crate::load::median;
use crate::load::outcome::{histogram, percentile};
use crate::load::report::Report;
use crate::load::server::Server;
use crate::load::table::{Table, beside, figure, time, whole};
use crate::load::traffic::Traffic;
use crate::store::{Store, settings};
use crate::verdicts::Verdicts;

const NAME: &str = "instances";
const NUMBERS: [usize; 3] = [1, 2, 3];
const ALGS: [&str; 2] = ["ES256", "HS256"];
const CONNECTIONS: usize = 64;

/// What was measured of so many instances: one value a round, and all latencies together.
struct Figures {
    instances: usize,
    capacity: Vec<f64>,
    cpu_micros: Vec<f64>,
    latencies: Histogram<u64>,
}

impl Figures {
    fn of(instances: usize) -> Self {
        Self {
            instances,
            capacity: Vec::new(),
            cpu_micros: Vec::new(),
            latencies: histogram(),
        }
    }

    fn capacity(&self) -> f64 {
        median(self.capacity.clone())
    }

    fn cpu_micros(&self) -> f64 {
        median(self.cpu_micros.clone())
    }
}

/// Measures the table.
pub fn run(flags: &Flags, report: &Report) {
    if !flags.want(NAME) {
        return;
    }
    let Some(store) = Store::new("postgres") else {
        return;
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!(
        "PostgreSQL, async. Each instance with one worker a core ({cores}), {CONNECTIONS} kept-alive connections in all, spread over the \
         instances in turn, in a closed loop; medians of {} rounds of {} s, the numbers of instances taking turns. CPU is that of all \
         instances together. In brackets: times one instance.\n",
        flags.rounds,
        flags.seconds.as_secs_f64()
    );
    let mut verdicts = Verdicts::new();
    for alg in ALGS {
        let figures = compare(flags, &store, alg);
        let one = &figures[0];
        let mut table = Table::new(&["instances", "tokens/s", "server CPU µs a token", "p50", "p99", "p99.9"]);
        for each in &figures {
            let [p50, p99, p999] =
                [50.0, 99.0, 99.9].map(|percent| [each, one].map(|figures| percentile(&figures.latencies, percent)));
            table.row(vec![
                each.instances.to_string(),
                beside(each.capacity(), one.capacity(), whole),
                beside(each.cpu_micros(), one.cpu_micros(), figure),
                beside(p50[0], p50[1], time),
                beside(p99[0], p99[1], time),
                beside(p999[0], p999[1], time),
            ]);
        }
        text += &format!("\n{alg}:\n\n{table}");
        let three = &figures[NUMBERS.len() - 1];
        let ratio = three.capacity() / one.capacity();
        verdicts.least(&format!("tokens/s, {alg}, three instances / one"), ratio, 0.9);
    }
    report.section(NAME, &format!("{text}{}", verdicts.0));
}

fn compare(flags: &Flags, store: &Store, alg: &str) -> Vec<Figures> {
    let client = store.client(alg);
    let mut figures = NUMBERS.map(Figures::of);
    for round in 1..=flags.rounds {
        for each in &mut figures {
            turn(store, &client, each, flags.seconds);
            let (capacity, cpu) = (each.capacity[round - 1], each.cpu_micros[round - 1]);
            eprintln!(
                "{NAME}: round {round}/{}, {alg}, {} instances: {capacity:.0}/s, {cpu:.1} µs of CPU each",
                flags.rounds, each.instances
            );
        }
    }
    figures.into()
}

/// Starts the instances anew and drives them once.
fn turn(store: &Store, client: &(String, String), figures: &mut Figures, length: Duration) {
    // Together they must fit what PostgreSQL of the tests has room for.
    let settings = settings(&[
        ("MINTAGE_SERVER__WORKERS", "0"),
        ("MINTAGE_DATABASE__POOL__MAX_SIZE", "10"),
    ]);
    let program = store.program(settings);
    let running: Vec<(Server, Option<String>)> = (0..figures.instances).map(|_| program.start()).collect();
    let addresses: Vec<&str> = running.iter().map(|(server, _)| server.address.as_str()).collect();
    let traffic = Traffic::of(client);
    let drive = |time| closed::drive_all(&addresses, &traffic, CONNECTIONS, Until::Time(time));
    drive((length / 3).min(Duration::from_secs(1)));
    let settle = || {
        for (server, token) in &running {
            server.settle(token.as_ref().expect("the true server gives tokens"));
        }
    };
    settle();
    let before: Vec<_> = running.iter().map(|(server, _)| server.cpu()).collect();
    let outcome = drive(length);
    settle();
    let cpu = running
        .iter()
        .zip(before)
        .map(|((server, _), before)| server.cpu().since(before));
    let cpu_nanos: f64 = cpu.sum();
    if outcome.failed > 0 {
        eprintln!("{NAME}: {} FAILED", outcome.failed);
    }
    figures.capacity.push(outcome.rate());
    figures
        .cpu_micros
        .push(cpu_nanos / 1e3 / outcome.succeeded().max(1) as f64);
    figures.latencies += &outcome.latencies;
}
