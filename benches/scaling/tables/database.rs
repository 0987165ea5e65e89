//! What all of it together asks of PostgreSQL, and how many instances the load needs.

use super::{CLIENTS, INSTANCES, STEPS, TOKENS, TTL, cluster, popularities};
use crate::model::cluster::{Cluster, Load, Routing, most_uses, uncached_on_one_machine};
use crate::model::inputs::MEASURED;
use crate::model::popularity::Popularity;
use crate::report::table::{Table, figure, percent, whole};
use crate::report::{Report, plot};

/// A change to the cluster with the defaults.
type Change = fn(&mut Cluster);

/// What an operator may choose.
const CHOICES: [(&str, Change); 6] = [
    ("defaults", |_| {}),
    ("capacity 100,000", |cluster| cluster.cache.capacity = 100_000.0),
    ("capacity 1,000,000", |cluster| cluster.cache.capacity = 1e6),
    ("routed by client", |cluster| cluster.routing = Routing::ByClient),
    ("routed by client, capacity 20,000", |cluster| {
        cluster.routing = Routing::ByClient;
        cluster.cache.capacity = 20_000.0;
    }),
    ("a shared cache", |cluster| cluster.shared_cache = Some(TTL)),
];

pub fn write(report: &Report) {
    loads(report);
    parts(report);
    instances(report);
    uses(report);
    whole_machine(report);
}

fn loads(report: &Report) {
    let mut text = String::new();
    for (name, popularity) in popularities() {
        let counts = STEPS.map(|instances| instances.to_string());
        let header: Vec<&str> = std::iter::once("instances")
            .chain(counts.iter().map(String::as_str))
            .collect();
        let mut table = Table::new(&header);
        let mut lines = Vec::new();
        for (choice, change) in CHOICES {
            let loads = STEPS.map(|instances| (f64::from(instances), changed(instances, &popularity, change).loads));
            let mut cells = vec![choice.to_owned()];
            cells.extend(loads.iter().map(|(_, loads)| whole(*loads)));
            table.row(cells);
            lines.push((choice.to_owned(), loads.to_vec()));
        }
        let title = format!("Clients loaded from PostgreSQL a second, {name}");
        let svg = plot::over(&title, ("instances", whole), ("loads a second", whole), lines);
        let plot = report.plot(&format!("scaling-loads-{}", name.to_lowercase()), &title, &svg);
        text += &format!("\n{name}:\n\n{table}{plot}");
    }
    report.section("loads", &text);
}

fn changed(instances: u32, popularity: &Popularity, change: Change) -> Load {
    let mut cluster = cluster(instances, popularity);
    change(&mut cluster);
    cluster.load(&MEASURED)
}

fn parts(report: &Report) {
    let mut table = Table::new(&[
        "",
        "hit rate",
        "loads a second",
        "last uses a second",
        "loading",
        "token records",
        "last uses",
        "change feeds",
        "changes",
        "PostgreSQL's cores",
    ]);
    for (name, popularity) in popularities() {
        for (choice, change) in CHOICES {
            let load = changed(INSTANCES, &popularity, change);
            table.row(vec![
                format!("{name}, {choice}"),
                percent(load.hit_rate),
                whole(load.loads),
                whole(load.uses),
                figure(load.loading),
                figure(load.recording),
                figure(load.noting),
                figure(load.following),
                figure(load.changing),
                figure(load.cores()),
            ]);
        }
    }
    let (_, popularity) = &popularities()[0];
    let part = |what: &str, part: fn(&Load) -> f64| {
        let of = |instances: u32| (f64::from(instances), part(&changed(instances, popularity, |_| {})));
        (what.to_owned(), STEPS.map(of).to_vec())
    };
    let lines = vec![
        part("all", Load::cores),
        part("loading clients", |load| load.loading),
        part("last uses of secrets", |load| load.noting),
        part("token records", |load| load.recording),
        part("change feeds", |load| load.following),
    ];
    let title = "PostgreSQL's CPU over instances, Zipf, defaults";
    let svg = plot::over(title, ("instances", whole), ("cores", plot::plain), lines);
    let text = format!(
        "{INSTANCES} instances; parts in cores of PostgreSQL.\n\n{table}{}",
        report.plot("scaling-database", title, &svg)
    );
    report.section("database", &text);
}

/// Instances of two cores that the requests need, each to be busy for 60 % at the most.
fn instances(report: &Report) {
    const BUSY: f64 = 0.6;
    const CORES: f64 = 2.0;
    let mut table = Table::new(&[
        "a client asks",
        "tokens a second",
        "cores, all clients cached",
        "cores, none cached",
        "instances of 2 cores at 60 %",
        "PostgreSQL's cores, none cached",
    ]);
    for (every, seconds) in [
        ("once an hour", 3600.0),
        ("every ten minutes", 600.0),
        ("once a minute", 60.0),
        ("every ten seconds", 10.0),
    ] {
        let tokens = CLIENTS as f64 / seconds;
        let cached = tokens * MEASURED.token_micros / 1e6;
        let none = tokens * (MEASURED.token_micros + MEASURED.miss_micros) / 1e6;
        let needed = |cores: f64| (cores / BUSY / CORES).ceil();
        table.row(vec![
            every.to_owned(),
            whole(tokens),
            figure(cached),
            figure(none),
            format!("{:.0} to {:.0}", needed(cached), needed(none)),
            figure(tokens * MEASURED.load_micros / 1e6),
        ]);
    }
    report.section("instances", &table.to_string());
}

/// The notes of when secrets were last used.
fn uses(report: &Report) {
    let mut table = Table::new(&[
        "tokens a second",
        "instances",
        "written a second, Zipf",
        "of each instance",
        "written a second, uniform",
        "of each instance",
        "PostgreSQL's cores, uniform",
    ]);
    for tokens in [CLIENTS as f64 / 3600.0, CLIENTS as f64 / 600.0, TOKENS] {
        for instances in [1, 10, INSTANCES] {
            let written = |popularity| changed(instances, &popularity, |_| {}).uses;
            let zipf = written(Popularity::zipf(CLIENTS, tokens));
            let uniform = written(Popularity::uniform(CLIENTS, tokens));
            table.row(vec![
                whole(tokens),
                instances.to_string(),
                whole(zipf),
                whole(zipf / f64::from(instances)),
                whole(uniform),
                whole(uniform / f64::from(instances)),
                figure(uniform * MEASURED.use_micros / 1e6),
            ]);
        }
    }
    let most = |round_trip| whole(most_uses(&MEASURED, round_trip));
    let text = format!(
        "An instance can write {} a second without a round trip to the database, {} with one of 0.5 ms and {} with one of 2 ms.\n\n{table}",
        most(0.0),
        most(0.5e-3),
        most(2e-3)
    );
    report.section("uses", &text);
}

/// The one figure that was measured of all together.
fn whole_machine(report: &Report) {
    const GENERATOR: f64 = 8.46;
    let computed = uncached_on_one_machine(2.0, GENERATOR, &MEASURED);
    let mut table = Table::new(&["", "tokens a second"]);
    table.row(vec!["computed from the parts".into(), whole(computed)]);
    for (connections, measured) in [(5, 7351.0), (10, 6946.0), (25, 7468.0), (50, 8034.0)] {
        table.row(vec![
            format!("measured, {connections} connections"),
            format!("{} ({} of that)", whole(measured), percent(measured / computed)),
        ]);
    }
    report.section("whole", &table.to_string());
}
