//! Connections to PostgreSQL: how many an instance needs, how many there are, and what they cost.

use super::{INSTANCES, STEPS, cluster, popularities};
use crate::model::connections::{chance_to_wait, most};
use crate::model::inputs::MEASURED;
use crate::report::table::{Table, figure, percent, whole};
use crate::report::{Report, plot};

/// Kept back by PostgreSQL for superusers (3), and as many again for commands, migrations and operators.
const RESERVED: u32 = 6;

/// To a database in the same place.
const ROUND_TRIP: f64 = 0.5e-3;

pub fn write(report: &Report) {
    needed(report);
    given(report);
    kept(report);
}

fn needed(report: &Report) {
    let trips = [0.0, ROUND_TRIP, 2e-3];
    let mut table = Table::new(&[
        "instances",
        "busy on average, 0 ms",
        "0.5 ms",
        "2 ms",
        "least pool, 0 ms",
        "0.5 ms",
        "2 ms",
        "in all, 0.5 ms",
    ]);
    let (_, uniform) = &popularities()[1];
    let mut lines = Vec::new();
    for instances in STEPS {
        let cluster = cluster(instances, uniform);
        let busy = trips.map(|trip| cluster.busy_connections(&MEASURED, trip));
        let least = trips.map(|trip| cluster.least_pool(&MEASURED, trip));
        let mut cells = vec![instances.to_string()];
        cells.extend(busy.iter().map(|busy| figure(*busy)));
        cells.extend(least.iter().map(|least| least.to_string()));
        cells.push((least[1] * instances).to_string());
        table.row(cells);
        let sizes = [1, 2, 3, 5, 8, 12, 25, 50];
        let points = sizes.map(|size| (f64::from(size), chance_to_wait(busy[1], size)));
        lines.push((format!("{instances} instances"), points.to_vec()));
    }
    let title = "Calls that wait for a connection, round trip 0.5 ms";
    let svg = plot::over(title, ("pool.max_size", whole), ("share of the calls", percent), lines);
    let text = format!(
        "Uniform, defaults: nearly every token is a load. The columns are round trips to the database; the least pool is the one in which \
         no more than 1 % of the calls wait.\n\n{table}{}",
        report.plot("scaling-pool", title, &svg)
    );
    report.section("pool-needed", &text);
}

fn given(report: &Report) {
    let limits = [100, 200, 500, 1000];
    let names = limits.map(|limit| format!("max_connections {limit}"));
    let header: Vec<&str> = std::iter::once("instances")
        .chain(names.iter().map(String::as_str))
        .collect();
    let mut table = Table::new(&header);
    for instances in STEPS {
        let mut cells = vec![instances.to_string()];
        cells.extend(limits.map(|limit| match most(limit, RESERVED, instances) {
            0 => "none".to_owned(),
            size => size.to_string(),
        }));
        table.row(cells);
    }
    let text = format!("The largest `database.pool.max_size`, with {RESERVED} connections kept back.\n\n{table}");
    report.section("pool-given", &text);
}

fn kept(report: &Report) {
    const LIFETIME: f64 = 300.0;
    let mut table = Table::new(&[
        "connections of an instance",
        "in all",
        "memory of PostgreSQL for them",
        "new ones a second",
        "PostgreSQL's cores for these",
    ]);
    for each in [2, 3, 5, 10, 25] {
        let all = f64::from(each * INSTANCES);
        let fresh = all / LIFETIME;
        table.row(vec![
            each.to_string(),
            whole(all),
            format!("{} GB", figure(all * MEASURED.connection_memory / 1e9)),
            figure(fresh),
            figure(fresh * MEASURED.connection_micros / 1e6),
        ]);
    }
    let text = format!("{INSTANCES} instances, `max_lifetime` 5 minutes.\n\n{table}");
    report.section("pool-kept", &text);
}
