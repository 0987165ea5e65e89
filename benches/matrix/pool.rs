//! The size of the pool under load that misses the cache at each request, so that the default can be judged.

use crate::load::cell::{Cell, FLOOR, Figures, Plan, Rate, measure};
use crate::load::fill;
use crate::load::flags::Flags;
use crate::load::plot;
use crate::load::report::Report;
use crate::load::table::{Table, beside, figure, time, whole};
use crate::load::traffic::{Draw, Traffic};
use crate::store::Store;

const SIZES: [usize; 6] = [1, 2, 5, 10, 25, 50];
const CONNECTIONS: usize = 64;
const CLIENTS: u64 = 10_000;

/// Measures the tables.
pub fn run(flags: &Flags, report: &Report) {
    for backend in &flags.backends {
        let name = format!("pool-{backend}");
        if flags.want(&name)
            && let Some(store) = Store::new(backend)
        {
            compare(flags, report, &name, &store);
        }
    }
}

fn compare(flags: &Flags, report: &Report, name: &str, store: &Store) {
    fill::clients(&store.url, CLIENTS);
    let mut cells = vec![Cell::floor(CONNECTIONS)];
    for size in SIZES {
        let settings = vec![
            ("MINTAGE_TOKEN__ALG", "HS256".to_owned()),
            ("MINTAGE_CACHE__ENABLED", "false".to_owned()),
            ("MINTAGE_DATABASE__POOL__MAX_SIZE", size.to_string()),
            ("MINTAGE_DATABASE__POOL__MIN_IDLE", size.min(5).to_string()),
        ];
        let traffic = || Traffic::of_many(Draw::uniform(CLIENTS));
        cells.push(store.cell(size.to_string(), settings, CONNECTIONS, traffic));
    }
    let plan = Plan {
        rounds: flags.rounds,
        time: flags.seconds,
        rate: Rate::OfSlowest(0.6),
    };
    let figures = measure(name, &cells, plan);
    let floor = &figures[0];
    let mut table = Table::new(&[
        "connections in the pool",
        "tokens/s",
        "server CPU µs a token",
        "wait for a connection, ms a token",
        "p50",
        "p99",
        "p99.9",
    ]);
    for each in &figures {
        table.row(vec![
            each.name.clone(),
            beside(each.capacity(), floor.capacity(), whole),
            beside(each.cpu_micros(), floor.cpu_micros(), figure),
            figure(each.wait_micros() / 1e3),
            beside(each.p50(), floor.p50(), time),
            beside(each.p99(), floor.p99(), time),
            beside(each.p999(), floor.p999(), time),
        ]);
    }
    let mut text = format!(
        "{}, HS256, no cache, {} clients, {CONNECTIONS} connections to the server, one worker; medians of {} rounds of {} s. The wait is \
         that of the closed loop; latencies are at {} requests a second. In brackets: times the floor.\n\n{table}",
        store.name,
        whole(CLIENTS as f64),
        plan.rounds,
        plan.time.as_secs_f64(),
        whole(floor.rate)
    );
    let over_size = |value: fn(&Figures) -> f64| -> Vec<(f64, f64)> {
        SIZES
            .iter()
            .zip(&figures[1..])
            .map(|(size, each)| (*size as f64, value(each)))
            .collect()
    };
    let lines = vec![
        (format!("{}: tokens a second", store.name), over_size(Figures::capacity)),
        (
            FLOOR.to_owned(),
            SIZES.iter().map(|size| (*size as f64, floor.capacity())).collect(),
        ),
    ];
    let svg = plot::over(
        "Capacity over pool size",
        ("connections in the pool", whole),
        ("tokens a second", whole),
        lines,
    );
    text += &report.plot(&format!("{name}-capacity"), "Capacity over pool size", &svg);
    let latencies: Vec<_> = figures
        .iter()
        .map(|each| (each.name.clone(), &each.latencies))
        .collect();
    let svg = plot::percentiles("Latency by pool size", &latencies);
    text += &report.plot(&format!("{name}-latency"), "Latency by pool size", &svg);
    report.section(name, &text);
}
