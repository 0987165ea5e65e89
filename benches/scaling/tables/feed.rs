//! The change feeds: what polling costs, how late a change is heard of, and what it sets off.

use super::{CLIENTS, INSTANCES, STEPS, WORKERS, cluster, popularities};
use crate::model::feed::{Feed, heard_by_all, invalidations};
use crate::model::inputs::MEASURED;
use crate::report::table::{Table, figure, percent, whole};
use crate::report::{Report, plot};

/// Changes of clients a second where polling is compared.
const CHANGES: [f64; 3] = [0.0, 10.0, 100.0];

pub fn write(report: &Report) {
    polling(report);
    lateness(report);
    set_off(report);
}

fn feed(instances: f64, client_changes: f64, poll_now: bool) -> Feed {
    Feed {
        instances,
        client_changes,
        spent: 0.0,
        poll_now,
    }
}

fn polling(report: &Report) {
    let mut table = Table::new(&[
        "instances",
        "changes a second",
        "polls a second",
        "questions how clients stand",
        "PostgreSQL's cores",
        "polls, with \"poll now\"",
        "PostgreSQL's cores, with it",
        "Redis' cores, with it",
    ]);
    for instances in STEPS.map(f64::from) {
        for changes in CHANGES {
            let (timer, now) = (feed(instances, changes, false), feed(instances, changes, true));
            let (timer, now) = (timer.cost(&MEASURED), now.cost(&MEASURED));
            table.row(vec![
                whole(instances),
                whole(changes),
                whole(timer.polls),
                whole(timer.standings),
                figure(timer.cores),
                whole(now.polls),
                figure(now.cores),
                figure(changes * instances * MEASURED.message_micros / 1e6),
            ]);
        }
    }
    let line = |changes: f64, poll_now: bool| {
        let how = if poll_now { "poll now" } else { "by the timer" };
        let cores = |instances: u32| {
            let instances = f64::from(instances);
            (instances, feed(instances, changes, poll_now).cost(&MEASURED).cores)
        };
        (
            format!("{changes:.0} changes a second, {how}"),
            STEPS.map(cores).to_vec(),
        )
    };
    let lines = vec![
        line(0.0, false),
        line(10.0, false),
        line(100.0, false),
        line(10.0, true),
        line(100.0, true),
    ];
    let title = "PostgreSQL's CPU for the change feeds";
    let svg = plot::over(title, ("instances", whole), ("cores", plot::plain), lines);
    report.section(
        "polling",
        &format!("{table}{}", report.plot("scaling-polling", title, &svg)),
    );
}

fn lateness(report: &Report) {
    let mut table = Table::new(&["share of the changes", "one instance, ms", "all of 10", "all of 100"]);
    for share in [0.5, 0.9, 0.99, 0.999] {
        let heard = |instances| figure(heard_by_all(share, instances, &MEASURED) * 1e3);
        table.row(vec![
            percent(share),
            heard(1.0),
            heard(10.0),
            heard(f64::from(INSTANCES)),
        ]);
    }
    report.section("lateness", &table.to_string());
}

fn set_off(report: &Report) {
    const CAPACITY: f64 = 100_000.0;
    let mut table = Table::new(&[
        "clients changed a second",
        "messages to caches a second",
        "questions how clients stand",
        "more loads, Zipf",
        "more loads, uniform",
        "hit rate, Zipf",
        "hit rate, uniform",
    ]);
    for changes in [0.1, 1.0, 10.0, 100.0, 1000.0] {
        let at = |changes: f64| {
            popularities().map(|(_, popularity)| {
                let mut cluster = cluster(INSTANCES, &popularity);
                cluster.cache.capacity = CAPACITY;
                cluster.cache.changes = changes / CLIENTS as f64;
                let answers = cluster.answers();
                (answers.loads * f64::from(INSTANCES * WORKERS), answers.hit_rate)
            })
        };
        let (without, with) = (at(0.0), at(changes));
        let instances = f64::from(INSTANCES);
        table.row(vec![
            figure(changes),
            whole(invalidations(changes, instances, f64::from(WORKERS))),
            figure(feed(instances, changes, false).cost(&MEASURED).standings),
            figure(with[0].0 - without[0].0),
            figure(with[1].0 - without[1].0),
            percent(with[0].1),
            percent(with[1].1),
        ]);
    }
    let text = format!(
        "{INSTANCES} instances, requests spread, `cache.capacity` {}; each client is as likely to be changed as any other.\n\n{table}",
        whole(CAPACITY)
    );
    report.section("invalidations", &text);
}
