//! What a request costs with more workers, more clients, fewer hits and more revocations than the scenario has.

use crate::load::cell::{Cell, FLOOR, Figures, Plan, Program, Rate, measure};
use crate::load::flags::Flags;
use crate::load::report::Report;
use crate::load::server::Server;
use crate::load::table::{Table, beside, figure, percent, time, whole};
use crate::load::traffic::{Draw, Traffic, form_request};
use crate::load::{fill, plot};
use crate::store::{Store, settings};

const CONNECTIONS: usize = 100;

/// One worker and two.
pub fn workers(flags: &Flags, report: &Report, name: &str) {
    let store = Store::sqlite();
    let mut cells = Vec::new();
    for workers in ["1", "2"] {
        let mut floor = Cell::floor(CONNECTIONS);
        floor.program = Program::Floor(workers.parse().expect("a number"));
        floor.name = format!("{FLOOR}, {workers}");
        cells.push(floor);
        for alg in ["HS256", "ES256"] {
            let client = store.client(alg);
            let settings = settings(&[("MINTAGE_SERVER__WORKERS", workers)]);
            let traffic = move || Traffic::of(&client);
            cells.push(store.cell(format!("{alg}, {workers}"), settings, CONNECTIONS, traffic));
        }
    }
    let figures = measure(name, &cells, plan(flags));
    let mut table = cost_table("workers");
    for (number, each) in figures.iter().enumerate() {
        cost_row(&mut table, each, &figures[number / 3 * 3]);
    }
    let intro = "SQLite, async. With two workers on two cores the load generator takes time from them.";
    cost_section(report, name, intro, table, &figures, plan(flags));
}

/// A table of a thousand clients, and of a million.
pub fn many_clients(flags: &Flags, report: &Report, name: &str) {
    let mut cells = vec![Cell::floor(CONNECTIONS)];
    let counts = [1000, flags.clients / 10, flags.clients];
    // Enough to fill the cache, or to have met everybody who fits it.
    let warm_up = if flags.quick { 1000 } else { 15_000 };
    // They live until all are measured.
    let stores: Vec<Store> = counts.iter().map(|_| Store::sqlite()).collect();
    for (store, count) in stores.iter().zip(counts) {
        fill::clients(&store.url, count);
        for (what, draw) in [("uniform", Draw::uniform as fn(u64) -> Draw), ("Zipf", Draw::zipf)] {
            let label = format!("{} clients, {what}", whole(count as f64));
            let settings = settings(&[("MINTAGE_TOKEN__ALG", "HS256")]);
            let cell = store.cell(label, settings, CONNECTIONS, move || Traffic::of_many(draw(count)));
            cells.push(Cell { warm_up, ..cell });
        }
    }
    costs(
        flags,
        report,
        name,
        "clients",
        "SQLite, HS256, async, `cache.capacity` 5,000.",
        &cells,
    );
}

/// From all clients in the cache to none.
pub fn hit_rates(flags: &Flags, report: &Report, name: &str) {
    let store = Store::sqlite();
    const KNOWN: u64 = 1000;
    let strangers = flags.clients - KNOWN;
    fill::clients(&store.url, flags.clients);
    let mut cells = vec![Cell::floor(CONNECTIONS)];
    for misses in [0.0, 0.01, 0.1, 1.0] {
        let settings = settings(&[("MINTAGE_TOKEN__ALG", "HS256")]);
        let traffic = move || Traffic::of_many(Draw::mixed(KNOWN, strangers, misses));
        let label = format!("{:.0} % of clients cached", (1.0 - misses) * 100.0);
        let cell = store.cell(label, settings, CONNECTIONS, traffic);
        cells.push(Cell {
            warm_up: 2 * KNOWN,
            ..cell
        });
    }
    let intro = format!("SQLite with {} clients, HS256, async.", whole(flags.clients as f64));
    costs(flags, report, name, "", &intro, &cells);
}

/// No revocations, and a million that have not expired.
pub fn revocations(flags: &Flags, report: &Report, name: &str) {
    let many: u64 = if flags.quick { 20_000 } else { 1_000_000 };
    let mut cells = vec![Cell::floor(CONNECTIONS)];
    let stores = [(0, Store::sqlite()), (many, Store::sqlite())];
    for (count, store) in &stores {
        fill::revocations(&store.url, *count);
        let client = store.client("HS256");
        let token = Server::mintage(&store.url, &[]).usual_token(&client);
        let introspect = form_request("/introspect", &client.0, &client.1, &format!("token={token}"));
        let count = whole(*count as f64);
        let label = format!("/token, {count} revocations");
        cells.push(store.cell(label, vec![], CONNECTIONS, move || Traffic::of(&client)));
        let traffic = move || Traffic::in_turn(vec![introspect.clone()]);
        cells.push(store.cell(
            format!("/introspect, {count} revocations"),
            vec![],
            CONNECTIONS,
            traffic,
        ));
    }
    costs(flags, report, name, "", "SQLite, HS256, async.", &cells);
}

fn plan(flags: &Flags) -> Plan {
    Plan {
        rounds: flags.rounds,
        time: flags.seconds,
        rate: Rate::OfSlowest(0.6),
    }
}

/// Measures cells, the floor first, and writes what they cost.
fn costs(flags: &Flags, report: &Report, name: &str, first_column: &str, intro: &str, cells: &[Cell]) {
    let figures = measure(name, cells, plan(flags));
    let mut table = cost_table(first_column);
    for each in &figures {
        cost_row(&mut table, each, &figures[0]);
    }
    cost_section(report, name, intro, table, &figures, plan(flags));
}

fn cost_table(first_column: &str) -> Table {
    Table::new(&[
        first_column,
        "tokens/s",
        "server CPU µs each",
        "hit rate",
        "SQL statements each",
        "p50",
        "p99",
        "p99.9",
    ])
}

fn cost_row(table: &mut Table, each: &Figures, floor: &Figures) {
    let counted = |text: String| {
        if each.name.starts_with(FLOOR) {
            String::new()
        } else {
            text
        }
    };
    table.row(vec![
        each.name.clone(),
        beside(each.capacity(), floor.capacity(), whole),
        beside(each.cpu_micros(), floor.cpu_micros(), figure),
        counted(percent(each.hit_rate())),
        counted(figure(each.statements())),
        beside(each.p50(), floor.p50(), time),
        beside(each.p99(), floor.p99(), time),
        beside(each.p999(), floor.p999(), time),
    ]);
}

fn cost_section(report: &Report, name: &str, intro: &str, table: Table, figures: &[Figures], plan: Plan) {
    let rate = whole(figures[0].rate);
    let lines: Vec<_> = figures
        .iter()
        .map(|each| (each.name.clone(), &each.latencies))
        .collect();
    let title = format!("Latency at {rate} requests a second");
    let text = format!(
        "{intro} {CONNECTIONS} connections; medians of {} rounds of {} s, latencies at {rate} requests a second. In brackets: times the \
         floor.\n\n{table}{}",
        plan.rounds,
        plan.time.as_secs_f64(),
        report.plot(name, &title, &plot::percentiles(&title, &lines))
    );
    report.section(name, &text);
}
