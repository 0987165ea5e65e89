//! What durability, the other database and large tables cost, beside what was asked for.

use std::time::{Duration, Instant};

use mintage::clock::Clock;
use mintage::config::Database;
use mintage::db::Db;
use mintage::db::tokens::{self, TokenRecord};
use mintage::oauth::token_id::TokenIdSource;

use crate::load::cell::{Cell, Figures, Plan, Rate, measure};
use crate::load::flags::Flags;
use crate::load::report::Report;
use crate::load::table::{Table, beside, figure, time, whole};
use crate::load::traffic::{Draw, Traffic};
use crate::load::{fill, median, plot};
use crate::store::{Store, settings};
use crate::verdicts::Verdicts;

const CONNECTIONS: usize = 64;

/// Measures the tables.
pub fn run(flags: &Flags, report: &Report) {
    let plan = Plan {
        rounds: flags.rounds,
        time: flags.seconds,
        rate: Rate::OfSlowest(0.6),
    };
    if flags.want("durability-group") {
        group_and_async(report, plan);
    }
    if flags.want("durability-backends") {
        both_databases(report, plan);
    }
    if flags.want("durability-misses") {
        misses(flags, report, plan);
    }
    if flags.want("durability-flush") {
        flushes(flags, report);
    }
    if flags.want("durability-janitor") {
        janitor(report, plan);
    }
}

/// With the default algorithm, by which it is judged, and with the cheapest one, where nothing hides the wait.
fn group_and_async(report: &Report, plan: Plan) {
    const NAME: &str = "durability-group";
    let store = Store::sqlite();
    let cell = |alg: &str, durability| {
        let client = store.client(alg);
        let settings = settings(&[("MINTAGE_WRITER__DURABILITY", durability)]);
        store.cell(format!("{alg}, {durability}"), settings, CONNECTIONS, move || {
            Traffic::of(&client)
        })
    };
    let cells = [
        Cell::floor(CONNECTIONS),
        cell("ES256", "async"),
        cell("ES256", "group"),
        cell("HS256", "async"),
        cell("HS256", "group"),
    ];
    let figures = measure(NAME, &cells, plan);
    let mut verdicts = Verdicts::new();
    for pair in [1, 3] {
        let (not_waiting, waiting) = (&figures[pair], &figures[pair + 1]);
        let what = |what: &str| format!("{what}, {} / {}", waiting.name, not_waiting.name);
        let throughput = waiting.capacity() / not_waiting.capacity();
        verdicts.least(&what("throughput"), throughput, 0.7);
        verdicts.most(&what("p99 at the same rate"), waiting.p99() / not_waiting.p99(), 3.0);
        let closed = waiting.closed_p99() / not_waiting.closed_p99();
        verdicts.most(&what("p99 of the closed loop"), closed, 3.0);
    }
    let lines: Vec<_> = figures
        .iter()
        .map(|each| (each.name.clone(), &each.latencies))
        .collect();
    let title = format!("SQLite: latency at {} requests a second", whole(figures[0].rate));
    let text = format!("SQLite. {}{}", comparison(&figures, plan), verdicts.0);
    report.section(
        NAME,
        &(text + &report.plot(NAME, &title, &plot::percentiles(&title, &lines))),
    );
}

fn both_databases(report: &Report, plan: Plan) {
    const NAME: &str = "durability-backends";
    let (sqlite, Some(postgres)) = (Store::sqlite(), Store::new("postgres")) else {
        return;
    };
    let cell = |store: &Store| {
        let client = store.client("HS256");
        store.cell(store.name, vec![], CONNECTIONS, move || Traffic::of(&client))
    };
    let figures = measure(NAME, &[Cell::floor(CONNECTIONS), cell(&sqlite), cell(&postgres)], plan);
    let mut verdicts = Verdicts::new();
    let ratio = figures[2].cpu_micros() / figures[1].cpu_micros();
    verdicts.most("server CPU a token, PostgreSQL / SQLite", ratio, 1.25);
    let text = format!("HS256, async. {}{}", comparison(&figures, plan), verdicts.0);
    report.section(NAME, &text);
}

fn misses(flags: &Flags, report: &Report, plan: Plan) {
    const NAME: &str = "durability-misses";
    let mut text = String::new();
    for backend in &flags.backends {
        let few = 1000;
        // Enough to have met each of the few, so that a hit is one.
        let warm_up = if flags.quick { 3000 } else { 15_000 };
        let (Some(small), Some(large)) = (Store::new(backend), Store::new(backend)) else {
            continue;
        };
        fill::clients(&small.url, few);
        fill::clients(&large.url, flags.clients);
        let cell = |store: &Store, name: String, count: u64, cached: &str| {
            let settings = settings(&[("MINTAGE_TOKEN__ALG", "HS256"), ("MINTAGE_CACHE__ENABLED", cached)]);
            let traffic = move || Traffic::of_many(Draw::uniform(count));
            Cell {
                warm_up,
                ..store.cell(name, settings, CONNECTIONS, traffic)
            }
        };
        let cells = [
            Cell::floor(CONNECTIONS),
            cell(&small, "a hit".to_owned(), few, "true"),
            cell(&small, format!("a miss, {} clients", whole(few as f64)), few, "false"),
            cell(
                &large,
                format!("a miss, {} clients", whole(flags.clients as f64)),
                flags.clients,
                "false",
            ),
        ];
        let figures = measure(NAME, &cells, plan);
        let miss = |each: &Figures| each.cpu_micros() - figures[1].cpu_micros();
        let mut verdicts = Verdicts::new();
        verdicts.most(
            "CPU of a miss alone, large / small table",
            miss(&figures[3]) / miss(&figures[2]),
            1.2,
        );
        let tokens = figures[3].cpu_micros() / figures[2].cpu_micros();
        verdicts.most("CPU of a token with a miss, large / small table", tokens, 1.2);
        text += &format!("{}, HS256. {}{}\n", small.name, comparison(&figures, plan), verdicts.0);
    }
    report.section(NAME, &text);
}

/// The flush itself, in this process: `tokens::insert_batch` as the writer calls it, the two tables in turn.
/// What the removal of expired records does to the latency of tokens.
fn janitor(report: &Report, plan: Plan) {
    const NAME: &str = "durability-janitor";
    /// More than the janitor removes while it is measured.
    const EXPIRED: u64 = 4_000_000;
    let (resting, sweeping) = (Store::sqlite(), Store::sqlite());
    for store in [&resting, &sweeping] {
        fill::expired_tokens(&store.url, EXPIRED);
    }
    let cell = |store: &Store, name: &str, interval| {
        let client = store.client("ES256");
        let settings = settings(&[("MINTAGE_JANITOR__INTERVAL", interval)]);
        store.cell(name, settings, CONNECTIONS, move || Traffic::of(&client))
    };
    let cells = [
        Cell::floor(CONNECTIONS),
        cell(&resting, "janitor at rest", "1h"),
        cell(&sweeping, "janitor at work", "100ms"),
    ];
    let figures = measure(NAME, &cells, plan);
    let mut verdicts = Verdicts::new();
    verdicts.most("p99, at work / at rest", figures[2].p99() / figures[1].p99(), 1.1);
    verdicts.most("p50, at work / at rest", figures[2].p50() / figures[1].p50(), 1.1);
    let text = format!(
        "SQLite, ES256, async, {} expired records. {}{}",
        whole(EXPIRED as f64),
        comparison(&figures, plan),
        verdicts.0
    );
    report.section(NAME, &text);
}

fn flushes(flags: &Flags, report: &Report) {
    const NAME: &str = "durability-flush";
    const ROWS: usize = 1000;
    let batches = if flags.quick { 20 } else { 100 };
    let mut table = Table::new(&["", "rows before", "median of a flush", "p99", "µs a row"]);
    let mut verdicts = Verdicts::new();
    for backend in &flags.backends {
        let (Some(empty), Some(full)) = (Store::new(backend), Store::new(backend)) else {
            continue;
        };
        fill::tokens(&full.url, flags.rows);
        let open = |store: &Store| {
            Db::open(&Database {
                url: store.url.clone(),
                ..Database::default()
            })
        };
        let databases = [open(&empty), open(&full)];
        let mut ids = TokenIdSource::new();
        let mut seconds = [vec![], vec![]];
        for round in 0..=flags.rounds {
            for (database, seconds) in databases.iter().zip(&mut seconds) {
                for _ in 0..batches {
                    let records: Vec<TokenRecord> = (0..ROWS).map(|_| record(&mut ids)).collect();
                    let began = Instant::now();
                    database
                        .run_here(|conn| tokens::insert_batch(conn, &records))
                        .expect("the rows are written");
                    // The first round warms up.
                    if round > 0 {
                        seconds.push(began.elapsed().as_secs_f64());
                    }
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            eprintln!("{NAME}: {}, round {round}/{}", empty.name, flags.rounds);
        }
        for (before, seconds) in [0, flags.rows].into_iter().zip(&mut seconds) {
            seconds.sort_by(f64::total_cmp);
            table.row(vec![
                empty.name.to_owned(),
                whole(before as f64),
                time(median(seconds.clone())),
                time(seconds[seconds.len() * 99 / 100]),
                figure(median(seconds.clone()) * 1e6 / ROWS as f64),
            ]);
        }
        let [empty_seconds, full_seconds] = seconds;
        let ratio = median(full_seconds) / median(empty_seconds);
        verdicts.most(&format!("flush on {}, full / empty table", empty.name), ratio, 1.2);
    }
    let text = format!(
        "A flush of {} rows, committed to disk; {} flushes of each table, in turns.\n\n{table}{}",
        whole(ROWS as f64),
        batches * flags.rounds,
        verdicts.0
    );
    report.section(NAME, &text);
}

fn record(ids: &mut TokenIdSource) -> TokenRecord {
    let now = Clock::System.now();
    TokenRecord {
        jti: ids.next(now),
        client_id: "client0000001".into(),
        scope: "orders:read".into(),
        audience: "http://127.0.0.1:8080".into(),
        issued_at: now.seconds(),
        expires_at: now.seconds() + 3600,
        one_time: false,
    }
}

/// The table of a few cells, the floor first.
fn comparison(figures: &[Figures], plan: Plan) -> String {
    let floor = &figures[0];
    let mut table = Table::new(&[
        "",
        "tokens/s",
        "server CPU µs a token",
        "SQL statements a token",
        "p50",
        "p99",
        "p99.9",
        "p99, closed loop",
    ]);
    for each in figures {
        table.row(vec![
            each.name.clone(),
            beside(each.capacity(), floor.capacity(), whole),
            beside(each.cpu_micros(), floor.cpu_micros(), figure),
            figure(each.statements()),
            beside(each.p50(), floor.p50(), time),
            beside(each.p99(), floor.p99(), time),
            beside(each.p999(), floor.p999(), time),
            beside(each.closed_p99(), floor.closed_p99(), time),
        ]);
    }
    format!(
        "{CONNECTIONS} connections, one worker; medians of {} rounds of {} s, latencies at {} requests a second. In brackets: times the \
         floor.\n\n{table}",
        plan.rounds,
        plan.time.as_secs_f64(),
        whole(floor.rate)
    )
}
