//! Before and after: each bottleneck as it was in a straightforward server and as it is now, alone and all together.
//!
//! One thing fixed while all else is as before shows what it is worth to who has nothing else; one thing as before while all
//! else is as now shows what would be lost without it.

use crate::load::cell::{Cell, Figures, Plan, Rate, measure};
use crate::load::flags::Flags;
use crate::load::plot;
use crate::load::report::Report;
use crate::load::server::make_client;
use crate::load::table::{Table, beside, figure, time, whole};
use crate::load::traffic::Traffic;
use crate::store::{Settings, Store, settings};

struct Bottleneck {
    /// What is done now.
    now: &'static str,
    /// What was done before.
    before: &'static str,
    /// The settings that bring it back.
    settings: &'static [(&'static str, &'static str)],
}

const BOTTLENECKS: [Bottleneck; 3] = [
    Bottleneck {
        now: "records written in batches",
        before: "each record written before its answer",
        settings: &[("MINTAGE_WRITER__MODE", "sync")],
    },
    Bottleneck {
        now: "clients cached",
        before: "each client loaded anew",
        settings: &[("MINTAGE_CACHE__ENABLED", "false")],
    },
    Bottleneck {
        now: "25 connections",
        before: "one connection",
        settings: &[
            ("MINTAGE_DATABASE__POOL__MAX_SIZE", "1"),
            ("MINTAGE_DATABASE__POOL__MIN_IDLE", "1"),
        ],
    },
];

const CONNECTIONS: usize = 64;

/// Measures the tables.
pub fn run(flags: &Flags, report: &Report) {
    for backend in &flags.backends {
        let name = format!("before-after-{backend}");
        if flags.want(&name)
            && let Some(store) = Store::new(backend)
        {
            compare(flags, report, &name, &store);
        }
    }
}

fn compare(flags: &Flags, report: &Report, name: &str, store: &Store) {
    let all = &BOTTLENECKS;
    let scopes: Vec<String> = (1..20).map(|number| format!("resource{number:02}:read")).collect();
    let client = make_client(
        &store.url,
        &format!("orders:read {}", scopes.join(" ")),
        &["--alg", "HS256"],
    );
    let as_before = |chosen: &dyn Fn(usize) -> bool| -> Settings {
        let chosen = all.iter().enumerate().filter(|(number, _)| chosen(*number));
        chosen
            .flat_map(|(_, bottleneck)| settings(bottleneck.settings))
            .collect()
    };
    let cell = |name: &str, settings: Settings| -> Cell {
        let client = client.clone();
        store.cell(name, settings, CONNECTIONS, move || Traffic::of(&client))
    };
    let mut cells = vec![Cell::floor(CONNECTIONS)];
    cells.push(cell("everything as before", as_before(&|_| true)));
    for (number, bottleneck) in all.iter().enumerate() {
        cells.push(cell(bottleneck.now, as_before(&|other| other != number)));
    }
    cells.push(cell("everything as now", as_before(&|_| false)));
    for (number, bottleneck) in all.iter().enumerate() {
        cells.push(cell(bottleneck.before, as_before(&|other| other == number)));
    }
    let plan = Plan {
        rounds: flags.rounds,
        time: flags.seconds,
        rate: Rate::OfSlowest(0.6),
    };
    let figures = measure(name, &cells, plan);
    let (floor, before, now) = (&figures[0], &figures[1], &figures[2 + all.len()]);
    let (fixed, undone) = (&figures[2..2 + all.len()], &figures[3 + all.len()..]);
    let mut text = format!(
        "{}, HS256, a client with 20 scopes, {CONNECTIONS} connections, one worker; medians of {} rounds of {} s. Latencies at \
         {} requests a second for all. In brackets: times the floor.\n\n",
        store.name,
        plan.rounds,
        plan.time.as_secs_f64(),
        whole(floor.rate)
    );
    text += &format!(
        "One thing as now, all else as before:\n\n{}",
        table(
            floor,
            before,
            "× before",
            [before].into_iter().chain(fixed).chain([now])
        )
    );
    text += &format!(
        "\nOne thing as before, all else as now:\n\n{}",
        table(floor, now, "× now", [now].into_iter().chain(undone))
    );
    let lines = |chosen: Vec<&'_ Figures>| -> String {
        let lines: Vec<_> = chosen
            .iter()
            .map(|figures| (figures.name.clone(), &figures.latencies))
            .collect();
        let title = format!("{}: latency at {} requests a second", store.name, whole(floor.rate));
        plot::percentiles(&title, &lines)
    };
    let first = lines([floor, before].into_iter().chain(fixed).chain([now]).collect());
    text += &report.plot(&format!("{name}-fixed"), "Latency with one thing fixed", &first);
    let second = lines([floor, now].into_iter().chain(undone).collect());
    text += &report.plot(&format!("{name}-without"), "Latency with one thing as before", &second);
    report.section(name, &text);
}

fn table<'a>(floor: &'a Figures, base: &Figures, times: &str, rows: impl Iterator<Item = &'a Figures>) -> Table {
    let mut table = Table::new(&[
        "configuration",
        "tokens/s",
        times,
        "server CPU µs a token",
        "SQL statements a token",
        "p50",
        "p99",
        "p99.9",
    ]);
    for each in [floor].into_iter().chain(rows) {
        table.row(vec![
            each.name.clone(),
            beside(each.capacity(), floor.capacity(), whole),
            figure(each.capacity() / base.capacity()),
            beside(each.cpu_micros(), floor.cpu_micros(), figure),
            figure(each.statements()),
            beside(each.p50(), floor.p50(), time),
            beside(each.p99(), floor.p99(), time),
            beside(each.p999(), floor.p999(), time),
        ]);
    }
    table
}
