//! The scenario that the design began with, 100,000 token requests a minute from 100 clients whose entries live 10
//! minutes, and what becomes of it with other lifetimes, capacities, workers, and many more clients and revocations.

use std::time::{Duration, Instant};

use crate::costs;
use crate::load::cell::{FLOOR, Program};
use crate::load::flags::{self, Flags};
use crate::load::open;
use crate::load::outcome::{Outcome, percentile};
use crate::load::report::Report;
use crate::load::server::Counts;
use crate::load::table::{Table, beside, figure, percent, time, whole};
use crate::load::traffic::{Draw, Traffic};
use crate::load::{fill, plot};
use crate::store::{Settings, Store, settings};

/// Requests a second.
const RATE: f64 = 100_000.0 / 60.0;
const CLIENTS: u64 = 100;
const CONNECTIONS: usize = 100;

/// Measures a table and writes it under its name.
type Part = fn(&Flags, &Report, &str);

/// Measures the tables.
pub fn run(flags: &Flags, report: &Report) {
    let parts: [(&str, Part); 7] = [
        ("scenario-minutes", minutes),
        ("scenario-ttl", lifetimes),
        ("scenario-capacity", capacities),
        ("scenario-workers", costs::workers),
        ("scenario-clients", costs::many_clients),
        ("scenario-hits", costs::hit_rates),
        ("scenario-revocations", costs::revocations),
    ];
    for (name, part) in parts {
        if flags.want(name) {
            part(flags, report, name);
        }
    }
    if let Some(time) = flags.soak {
        soak(time, report);
    }
}

/// An open loop on a server that has just started: what it met, what it used, what it counted.
struct Observed {
    outcome: Outcome,
    cpu_nanos: f64,
    counts: Counts,
    resident_bytes: u64,
}

impl Observed {
    fn of(what: &str, program: &Program, draw: Draw, time: Duration) -> Self {
        let (server, token) = program.start();
        let counts = || token.as_ref().map_or(Counts::default(), |token| server.counts(token));
        let (counts_before, cpu) = (counts(), server.cpu());
        eprintln!("{what}: {} s at {RATE:.0}/s", time.as_secs_f64());
        let outcome = open::drive(&server.address, &Traffic::of_many(draw), CONNECTIONS, RATE, time);
        if let Some(token) = &token {
            server.settle(token);
        }
        let observed = Self {
            cpu_nanos: server.cpu().since(cpu),
            counts: counts() - counts_before,
            resident_bytes: server.resident_bytes(),
            outcome,
        };
        if observed.outcome.failed + observed.outcome.unsent > 0 {
            let (failed, unsent) = (observed.outcome.failed, observed.outcome.unsent);
            eprintln!("{what}: {failed} FAILED, {unsent} NOT SENT IN TIME");
        }
        observed
    }

    fn seconds(&self) -> f64 {
        self.outcome.took.as_secs_f64()
    }

    /// Of one core.
    fn cpu_share(&self) -> f64 {
        self.cpu_nanos / 1e9 / self.seconds()
    }

    fn percentile(&self, percent: f64) -> f64 {
        percentile(&self.outcome.latencies, percent)
    }
}

fn minutes(flags: &Flags, report: &Report, name: &str) {
    let length = Duration::from_secs(if flags.quick { 3 } else { 120 });
    // Each on a database of its own: the second must not find the first one's tokens and warm its cache with them.
    let (cached, uncached) = (Store::sqlite(), Store::sqlite());
    for store in [&cached, &uncached] {
        fill::clients(&store.url, CLIENTS);
    }
    let as_usual = [("MINTAGE_SERVER__WORKERS", "0"), ("MINTAGE_CACHE__TTL", "10m")];
    let without = [as_usual[0], ("MINTAGE_CACHE__ENABLED", "false")];
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let programs = [
        (FLOOR, Program::Floor(cores)),
        ("with the cache", cached.program(settings(&as_usual))),
        ("without", uncached.program(settings(&without))),
    ];
    let observed: Vec<(&str, Observed)> = programs
        .iter()
        .map(|(what, program)| (*what, Observed::of(what, program, Draw::in_turn(CLIENTS), length)))
        .collect();
    let floor = &observed[0].1;
    let mut table = Table::new(&[
        "",
        "tokens",
        "hit rate",
        "clients loaded",
        "SQL statements",
        "a token",
        "CPU of one core",
        "p50",
        "p99",
        "p99.9",
        "memory",
    ]);
    for (what, each) in &observed {
        let is_floor = *what == FLOOR;
        let counted = |text: String| if is_floor { String::new() } else { text };
        table.row(vec![
            (*what).to_owned(),
            whole(each.outcome.succeeded() as f64),
            counted(percent(each.counts.hit_rate())),
            counted(whole(each.counts.loads)),
            counted(whole(each.counts.statements)),
            counted(figure(each.counts.statements / each.outcome.succeeded() as f64)),
            beside(each.cpu_share() * 100.0, floor.cpu_share() * 100.0, |share| {
                format!("{} %", figure(share))
            }),
            beside(each.percentile(50.0), floor.percentile(50.0), time),
            beside(each.percentile(99.0), floor.percentile(99.0), time),
            beside(each.percentile(99.9), floor.percentile(99.9), time),
            format!("{:.1} MB", each.resident_bytes as f64 / 1e6),
        ]);
    }
    let lines: Vec<_> = observed
        .iter()
        .map(|(what, each)| ((*what).to_owned(), &each.outcome.latencies))
        .collect();
    let title = "Latency at 100,000 token requests a minute";
    let text = format!(
        "{} requests a second from {CLIENTS} clients for {} s, ES256, SQLite, {cores} workers, begun with an empty cache. In brackets: times \
         the floor.\n\n{table}{}",
        whole(RATE),
        length.as_secs(),
        report.plot(name, title, &plot::percentiles(title, &lines))
    );
    report.section(name, &text);
}

fn lifetimes(flags: &Flags, report: &Report, name: &str) {
    let lifetimes = [0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 600.0];
    let rows = lifetimes.map(|seconds| {
        // Two lifetimes or more, or the first loads would count for too much; what lives for longer than two minutes is not
        // loaded a second time in them.
        let length = if flags.quick {
            2.0
        } else {
            f64::clamp(2.0 * seconds, 15.0, 120.0)
        };
        let settings = vec![("MINTAGE_CACHE__TTL", format!("{}ms", seconds * 1e3))];
        (seconds, settings, Draw::uniform(CLIENTS), length)
    });
    let store = Store::sqlite();
    fill::clients(&store.url, CLIENTS);
    let observed = sweep(name, &store, rows.into());
    let label: plot::Name = |seconds| match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 60.0 => format!("{s:.0} s"),
        s => format!("{:.0} min", s / 60.0),
    };
    let intro = format!(
        "{} requests a second from {CLIENTS} clients at random, ES256, SQLite, one worker; 15 s to 120 s each, longer than two lifetimes \
         where that is possible.",
        whole(RATE)
    );
    sweep_section(report, name, &intro, ("cache.ttl", label), &[("", &observed)]);
}

fn capacities(flags: &Flags, report: &Report, name: &str) {
    const MANY: u64 = 1000;
    let store = Store::sqlite();
    fill::clients(&store.url, MANY);
    let length = if flags.quick { 2.0 } else { 15.0 };
    let rows = |draw: fn(u64) -> Draw| {
        let sizes = [10.0, 50.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2000.0];
        sizes.map(|size| {
            let settings = vec![
                ("MINTAGE_CACHE__CAPACITY", size.to_string()),
                ("MINTAGE_CACHE__WARM", "0".to_owned()),
            ];
            (size, settings, draw(MANY), length)
        })
    };
    let uniform = sweep(&format!("{name}, uniform"), &store, rows(Draw::uniform).into());
    let zipf = sweep(&format!("{name}, Zipf"), &store, rows(Draw::zipf).into());
    let intro = format!(
        "{} requests a second from {} clients, each as likely as any other or by Zipf's law; ES256, SQLite, one worker, {length} s each, \
         begun with an empty cache.",
        whole(RATE),
        whole(MANY as f64)
    );
    let series = [("uniform", &uniform), ("Zipf", &zipf)];
    sweep_section(
        report,
        name,
        &intro,
        ("cache.capacity", whole),
        &series.map(|(what, rows)| (what, rows)),
    );
}

/// A setting's value, and what was observed with it.
type Sweep = Vec<(f64, Observed)>;

fn sweep(what: &str, store: &Store, rows: Vec<(f64, Settings, Draw, f64)>) -> Sweep {
    rows.into_iter()
        .map(|(value, settings, draw, seconds)| {
            let what = format!("{what}, {value}");
            let program = store.program(settings);
            (
                value,
                Observed::of(&what, &program, draw, Duration::from_secs_f64(seconds)),
            )
        })
        .collect()
}

fn sweep_section(report: &Report, name: &str, intro: &str, setting: (&str, plot::Name), series: &[(&str, &Sweep)]) {
    let mut table = Table::new(&[
        setting.0,
        "hit rate",
        "clients loaded a second",
        "SQL statements a second",
        "CPU of one core",
        "p50",
        "p99",
    ]);
    for (what, rows) in series {
        for (value, each) in *rows {
            let comma = if what.is_empty() { "" } else { ", " };
            table.row(vec![
                format!("{}{comma}{what}", setting.1(*value)),
                percent(each.counts.hit_rate()),
                figure(each.counts.loads / each.seconds()),
                figure(each.counts.statements / each.seconds()),
                percent(each.cpu_share()),
                time(each.percentile(50.0)),
                time(each.percentile(99.0)),
            ]);
        }
    }
    let lines = |value: fn(&Observed) -> f64| {
        let line = |(what, rows): &(&str, &Sweep)| {
            let points = rows.iter().map(|(setting, each)| (*setting, value(each))).collect();
            ((*what).to_owned(), points)
        };
        series.iter().map(line).collect()
    };
    let (hits, load) = (
        format!("Hit rate over {}", setting.0),
        format!("Database load over {}", setting.0),
    );
    let hit_svg = plot::over(
        &hits,
        setting,
        ("hit rate", percent),
        lines(|each| each.counts.hit_rate()),
    );
    let statements = lines(|each| each.counts.statements / each.seconds());
    let load_svg = plot::over(&load, setting, ("SQL statements a second", whole), statements);
    let text = format!(
        "{intro}\n\n{table}{}{}",
        report.plot(&format!("{name}-hit-rate"), &hits, &hit_svg),
        report.plot(&format!("{name}-load"), &load, &load_svg)
    );
    report.section(name, &text);
}

/// Resident memory while tokens are issued for a long time.
fn soak(time: Duration, report: &Report) {
    const NAME: &str = flags::SOAK;
    let store = Store::sqlite();
    fill::clients(&store.url, CLIENTS);
    let (server, token) = store.program(settings(&[("MINTAGE_SERVER__WORKERS", "0")])).start();
    let began = Instant::now();
    let sample = (time / 120).max(Duration::from_millis(200));
    let (outcome, memory) = std::thread::scope(|scope| {
        let sampling = scope.spawn(|| {
            let mut memory: Vec<(f64, f64)> = Vec::new();
            while began.elapsed() < time {
                memory.push((began.elapsed().as_secs_f64(), server.resident_bytes() as f64 / 1e6));
                if memory.len() % 10 == 1 {
                    eprintln!(
                        "{NAME}: {:.0} s, {:.1} MB",
                        began.elapsed().as_secs_f64(),
                        memory[memory.len() - 1].1
                    );
                }
                std::thread::sleep(sample);
            }
            memory
        });
        let traffic = Traffic::of_many(Draw::in_turn(CLIENTS));
        let outcome = open::drive(&server.address, &traffic, CONNECTIONS, RATE, time);
        (outcome, sampling.join().expect("the sampler does not panic"))
    });
    let flushed = token.map(|token| {
        server.settle(&token);
        server.document("/admin/writer/stats", &token)["flushed_total"]
            .as_f64()
            .unwrap_or(0.0)
    });
    let mut table = Table::new(&["after", "memory"]);
    for part in [0, 10, 20, 40, 60, 80, 100] {
        let at = ((memory.len() - 1) * part / 100).min(memory.len() - 1);
        let (seconds, megabytes) = memory[at];
        table.row(vec![format!("{seconds:.0} s"), format!("{megabytes:.1} MB")]);
    }
    let (early, late) = (memory.len() / 5, memory.len() / 2);
    let most = memory[late..]
        .iter()
        .map(|(_, megabytes)| *megabytes)
        .fold(0.0, f64::max);
    let growth = most / memory[early].1 - 1.0;
    let title = "Resident memory";
    let svg = plot::over_time(title, ("MB", plot::plain), vec![("the server".to_owned(), memory)]);
    let text = format!(
        "{} requests a second from {CLIENTS} clients for {:.0} s, ES256, SQLite: {} tokens, {} failures, {} records written. \
         The most of the second half is {} more than after a fifth of the time.\n\n{table}{}",
        whole(RATE),
        time.as_secs_f64(),
        whole(outcome.succeeded() as f64),
        whole((outcome.failed + outcome.unsent) as f64),
        whole(flushed.unwrap_or(0.0)),
        percent(growth),
        report.plot(NAME, title, &svg)
    );
    report.section(NAME, &text);
}
