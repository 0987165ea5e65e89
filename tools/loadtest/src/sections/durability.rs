//! The cost of writing the record to the disk before the response, and the cost of large tables.

use std::path::Path;

use loadtest::fill;
use loadtest::traffic::Traffic;

use super::database::{Backend, Database};
use super::measure::{Case, Plan, Rate, measure};
use super::table;

const ASYNC: [(&str, &str); 1] = [("MINTAGE_WRITER__DURABILITY", "async")];
const GROUP: [(&str, &str); 1] = [("MINTAGE_WRITER__DURABILITY", "group")];
const NO_CACHE: [(&str, &str); 1] = [("MINTAGE_CACHE__ENABLED", "false")];
const JANITOR_RUNNING: [(&str, &str); 1] = [("MINTAGE_JANITOR__INTERVAL", "100ms")];

/// Prints two tables per database; with `rows` = 0, only the first.
pub fn run(binary: &Path, plan: Plan, backends: &[Backend], rows: u64) {
    for backend in backends {
        let Some(database) = Database::new(binary, *backend) else {
            continue;
        };
        async_and_group(&database, plan);
        if rows > 0 {
            large_tables(binary, *backend, plan, rows);
        }
    }
}

/// With the default algorithm, and with the cheapest one, which shows the wait most clearly.
fn async_and_group(database: &Database, plan: Plan) {
    let mut cases = vec![Case::floor(1)];
    for alg in ["ES256", "HS256"] {
        let traffic = Traffic::of(&database.client(alg));
        cases.push(Case::new(format!("{alg}, async"), database, &ASYNC, traffic.clone()));
        cases.push(Case::new(format!("{alg}, group"), database, &GROUP, traffic));
    }
    print(database.name, &cases, plan);
}

fn large_tables(binary: &Path, backend: Backend, plan: Plan, rows: u64) {
    /// All clients of the small table, few enough for any cache.
    const FEW: u64 = 1000;
    let new = || Database::new(binary, backend).expect("there was one before");
    let (small, large, expired) = (&new(), &new(), &new());
    fill::clients(&small.url, FEW);
    fill::clients(&large.url, rows);
    fill::tokens(&large.url, rows);
    fill::expired_tokens(&expired.url, rows);
    let one = |database: &Database| Traffic::of(&database.client("HS256"));
    let many = |count| Traffic::of_many(count, fill::client);
    let hs256 = [NO_CACHE[0], ("MINTAGE_TOKEN__ALG", "HS256")];
    let cases = [
        Case::floor(1),
        Case::new("empty tables", small, &[], one(small)),
        Case::new(format!("{rows} records"), large, &[], one(large)),
        Case::new(
            format!("{rows} expired records, janitor running"),
            expired,
            &JANITOR_RUNNING,
            one(expired),
        ),
        Case::new(format!("each client loaded, of {FEW}"), small, &hs256, many(FEW)),
        Case::new(format!("each client loaded, of {rows}"), large, &hs256, many(rows)),
    ];
    print(&format!("{}, HS256, async", small.name), &cases, plan);
}

fn print(what: &str, cases: &[Case], plan: Plan) {
    let figures = measure(cases, plan, Rate::OfSlowest(0.6));
    let rate = figures[0].rate;
    let intro = format!(
        "{what}, one worker, {plan}. Latencies at {rate:.0} requests per second. In brackets: multiples of the floor."
    );
    table::print(&intro, &figures);
}
