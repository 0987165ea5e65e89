//! The records of tokens and of what was taken back: how many, and the disk and memory they take.

use super::{CLIENTS, INSTANCES, TOKENS, setting};
use crate::model::inputs::MEASURED;
use crate::model::records::{Flushes, Keeping, revocation_memory, rows_a_day};
use crate::model::{DAY, records};
use crate::report::table::{Table, figure, whole};
use crate::report::{Report, plot};

const HOUR: f64 = 3600.0;

/// The defaults.
const KEEPING: Keeping = Keeping {
    ttl: HOUR,
    keep_expired: DAY,
};

pub fn write(report: &Report) {
    rows(report);
    disk(report);
    taken_back(report);
}

fn rows(report: &Report) {
    let mut table = Table::new(&[
        "tokens a second",
        "rows a day",
        "write-ahead log a day",
        "disk, PostgreSQL, on average",
        "and at most",
        "disk, SQLite",
        "rows of a partition",
        "rows of a flush, 100 instances",
        "flushes a second",
        "PostgreSQL's cores",
    ]);
    let rates = [CLIENTS as f64 / HOUR, 100_000.0 / 60.0, TOKENS, 100_000.0];
    for tokens in rates {
        let flushes = Flushes::of(tokens, f64::from(INSTANCES), &MEASURED);
        table.row(vec![
            whole(tokens),
            millions(rows_a_day(tokens)),
            bytes(rows_a_day(tokens) * MEASURED.row_wal_bytes),
            bytes(tokens * KEEPING.on_postgres() * MEASURED.row_bytes),
            bytes(tokens * KEEPING.on_postgres_at_most() * MEASURED.row_bytes),
            bytes(tokens * KEEPING.on_sqlite() * MEASURED.row_bytes_sqlite),
            millions(tokens * records::PARTITION),
            figure(flushes.rows),
            whole(flushes.flushes),
            figure(flushes.cores),
        ]);
    }
    let text = format!(
        "`token.ttl` {}, `janitor.keep_expired` {}: records lie in {} partitions.\n\n{table}",
        setting(KEEPING.ttl),
        setting(KEEPING.keep_expired),
        whole(KEEPING.partitions_in_use())
    );
    report.section("records", &text);
}

fn disk(report: &Report) {
    let keeps = [0.0, HOUR, 6.0 * HOUR, DAY, 7.0 * DAY];
    let ttls = [600.0, HOUR, 6.0 * HOUR, DAY];
    let tokens = 1000.0;
    let of = |ttl, keep_expired| tokens * Keeping { ttl, keep_expired }.on_postgres() * MEASURED.row_bytes;
    let names = ttls.map(|ttl| format!("ttl {}", setting(ttl)));
    let header: Vec<&str> = std::iter::once("janitor.keep_expired")
        .chain(names.iter().map(String::as_str))
        .collect();
    let mut table = Table::new(&header);
    for keep in keeps {
        let mut cells = vec![setting(keep)];
        cells.extend(ttls.map(|ttl| bytes(of(ttl, keep))));
        table.row(cells);
    }
    let lines = keeps.map(|keep| {
        let points = ttls.map(|ttl| (ttl, of(ttl, keep) / 1e9)).to_vec();
        (format!("keep_expired {}", setting(keep)), points)
    });
    let title = "Disk for each 1,000 tokens a second, PostgreSQL";
    let svg = plot::over(title, ("token.ttl", setting), ("GB", plot::plain), lines.to_vec());
    let text = format!(
        "PostgreSQL, on average, for each {} tokens a second.\n\n{table}{}",
        whole(tokens),
        report.plot("scaling-disk", title, &svg)
    );
    report.section("disk", &text);
}

fn taken_back(report: &Report) {
    let mut table = Table::new(&[
        "revocations and redemptions a second",
        "memory of an instance, ttl 2m",
        "ttl 1h",
        "ttl 24h",
        "disk, ttl 1h",
        "lines read a second by 100 instances",
        "PostgreSQL's cores for these",
        "and for writing them",
    ]);
    for spent in [1.0, 10.0, 100.0, 1000.0] {
        let memory = |ttl| bytes(revocation_memory(spent, ttl, &MEASURED));
        let lines = spent * f64::from(INSTANCES);
        table.row(vec![
            whole(spent),
            memory(120.0),
            memory(HOUR),
            memory(DAY),
            bytes(spent * (HOUR / 2.0 + DAY) * MEASURED.revocation_bytes),
            whole(lines),
            figure(lines * MEASURED.line_micros / 1e6),
            figure(spent * MEASURED.revocation_micros / 1e6),
        ]);
    }
    let mut ceilings = Table::new(&["round trip to the database", "at most a second, in the whole cluster"]);
    for round_trip in [0.0, 0.2e-3, 0.5e-3, 1e-3, 2e-3] {
        let held = 1.0 / MEASURED.revocations_in_turn + 2.0 * round_trip;
        ceilings.row(vec![format!("{} ms", round_trip * 1e3), whole(1.0 / held)]);
    }
    report.section("revocations", &format!("{table}\n{ceilings}"));
}

fn millions(value: f64) -> String {
    format!("{} million", figure(value / 1e6))
}

fn bytes(value: f64) -> String {
    match value {
        v if v < 1e9 => format!("{} MB", figure(v / 1e6)),
        v if v < 1e12 => format!("{} GB", figure(v / 1e9)),
        v => format!("{} TB", figure(v / 1e12)),
    }
}
