//! Every way to run it: either database, either durability, four algorithms, few and many connections.

use crate::load::cell::{Cell, FLOOR, Figures, Plan, Rate, measure};
use crate::load::flags::Flags;
use crate::load::plot;
use crate::load::report::Report;
use crate::load::table::{Table, beside, figure, time, whole};
use crate::load::traffic::Traffic;
use crate::store::{Store, settings};

const ALGS: [&str; 4] = ["HS256", "EdDSA", "ES256", "RS256"];
const DURABILITIES: [&str; 2] = ["async", "group"];

/// Measures the tables.
pub fn run(flags: &Flags, report: &Report) {
    const NAME: &str = "backends";
    if !flags.want(NAME) {
        return;
    }
    let stores: Vec<Store> = flags
        .backends
        .iter()
        .filter_map(|backend| Store::new(backend))
        .collect();
    // One row of cells after the other: the floor first, and in each row one cell for each number of connections.
    let mut rows = vec![FLOOR.to_owned()];
    let mut cells: Vec<Cell> = flags.connections.iter().map(|number| Cell::floor(*number)).collect();
    for store in &stores {
        for alg in ALGS {
            let client = store.client(alg);
            for durability in DURABILITIES {
                let name = format!("{} {durability} {alg}", store.name);
                for connections in &flags.connections {
                    let client = client.clone();
                    let settings = settings(&[("MINTAGE_WRITER__DURABILITY", durability)]);
                    cells.push(store.cell(&name, settings, *connections, move || Traffic::of(&client)));
                }
                rows.push(name);
            }
        }
    }
    let plan = Plan {
        rounds: flags.rounds,
        time: flags.seconds,
        rate: Rate::OfOwn(0.5),
    };
    let figures = measure(NAME, &cells, plan);
    let rows: Vec<(&String, &[Figures])> = rows.iter().zip(figures.chunks(flags.connections.len())).collect();
    let table = |write: &dyn Fn(&Figures, &Figures) -> String| {
        let header: Vec<String> = flags.connections.iter().map(|number| number.to_string()).collect();
        let header: Vec<&str> = ["connections"]
            .into_iter()
            .chain(header.iter().map(String::as_str))
            .collect();
        let mut table = Table::new(&header);
        for (name, figures) in &rows {
            let written = figures.iter().zip(rows[0].1).map(|(each, floor)| write(each, floor));
            table.row([(*name).clone()].into_iter().chain(written).collect());
        }
        table
    };
    let mut text = format!(
        "One worker, over one to many kept-alive connections; medians of {} rounds of {} s. In brackets: times the floor with as many \
         connections.\n\nTokens a second:\n\n",
        plan.rounds,
        plan.time.as_secs_f64()
    );
    text += &table(&|each, floor| beside(each.capacity(), floor.capacity(), whole)).to_string();
    text += "\nServer CPU, µs a token:\n\n";
    text += &table(&|each, floor| beside(each.cpu_micros(), floor.cpu_micros(), figure)).to_string();
    for (name, percentile) in [
        ("p50", Figures::p50 as fn(&Figures) -> f64),
        ("p99", Figures::p99),
        ("p99.9", Figures::p999),
    ] {
        text += &format!("\n{name} at half of its own capacity:\n\n");
        text += &table(&|each, floor| beside(percentile(each), percentile(floor), time)).to_string();
    }
    text += &plots(flags, report, &rows);
    report.section(NAME, &text);
}

fn plots(flags: &Flags, report: &Report, rows: &[(&String, &[Figures])]) -> String {
    let mut text = String::new();
    for alg in ["HS256", "ES256"] {
        let chosen: Vec<_> = rows
            .iter()
            .filter(|(name, _)| *name == FLOOR || name.ends_with(alg))
            .collect();
        let capacity = chosen.iter().map(|(name, figures)| {
            let points = flags.connections.iter().zip(*figures);
            let points = points.map(|(connections, each)| (*connections as f64, each.capacity()));
            ((*name).clone(), points.collect())
        });
        let title = format!("Capacity, {alg}");
        let svg = plot::over(
            &title,
            ("connections", whole),
            ("tokens a second", whole),
            capacity.collect(),
        );
        text += &report.plot(&format!("backends-capacity-{}", alg.to_lowercase()), &title, &svg);
        // Latency at 64 connections, or at the most there are.
        let column = flags.connections.iter().position(|number| *number == 64);
        let column = column.unwrap_or(flags.connections.len() - 1);
        let latency: Vec<_> = chosen
            .iter()
            .map(|(name, figures)| ((*name).clone(), &figures[column].latencies))
            .collect();
        let title = format!(
            "Latency at half of its own capacity, {alg}, {} connections",
            flags.connections[column]
        );
        let svg = plot::percentiles(&title, &latency);
        text += &report.plot(&format!("backends-latency-{}", alg.to_lowercase()), &title, &svg);
    }
    text
}
