//! Before and after: batches, cache and pool, each as in a straightforward server and as it is now,
//! alone and together. Each row is made of settings; no code in the program exists for this
//! comparison.
//!
//! One part as now with the others as before shows its value alone; one part as before with the
//! others as now shows what would be lost without it.

use std::path::Path;

use loadtest::traffic::Traffic;

use super::database::{Backend, Database, Settings};
use super::measure::{Case, Plan, Rate, measure};
use super::table;

type Setting = (&'static str, &'static str);

const SYNC: Setting = ("MINTAGE_WRITER__MODE", "sync");
const NO_CACHE: Setting = ("MINTAGE_CACHE__ENABLED", "false");
const MIN_IDLE: Setting = ("MINTAGE_DATABASE__POOL__MIN_IDLE", "1");
const ONE: Setting = pool("1");

const fn pool(size: &'static str) -> Setting {
    ("MINTAGE_DATABASE__POOL__MAX_SIZE", size)
}

/// The rows. The pool's default is 25 connections.
const ROWS: [(&str, Settings); 12] = [
    (
        "before: `writer.mode = \"sync\"`, no cache, pool of 1",
        &[SYNC, NO_CACHE, ONE, MIN_IDLE],
    ),
    ("before, but records in batches", &[NO_CACHE, ONE, MIN_IDLE]),
    ("before, but clients cached", &[SYNC, ONE, MIN_IDLE]),
    ("before, but pool of 25", &[SYNC, NO_CACHE]),
    ("now", &[]),
    ("now, but `writer.mode = \"sync\"`", &[SYNC]),
    ("now, but `cache.enabled = false`", &[NO_CACHE]),
    ("now, but pool of 1", &[ONE, MIN_IDLE]),
    ("no cache, pool of 2", &[NO_CACHE, pool("2"), MIN_IDLE]),
    ("no cache, pool of 5", &[NO_CACHE, pool("5"), MIN_IDLE]),
    ("no cache, pool of 10", &[NO_CACHE, pool("10"), MIN_IDLE]),
    ("no cache, pool of 50", &[NO_CACHE, pool("50")]),
];

/// Prints one table for each database.
pub fn run(binary: &Path, plan: Plan, backends: &[Backend]) {
    for backend in backends {
        let Some(database) = Database::new(binary, *backend) else {
            continue;
        };
        let client = database.client("HS256");
        let mut cases = vec![Case::floor(1)];
        cases.extend(ROWS.map(|(name, settings)| Case::new(name, &database, settings, Traffic::of(&client))));
        let figures = measure(&cases, plan, Rate::OfSlowest(0.6));
        let intro = format!(
            "{}, HS256, one worker, {plan}. Latencies at {:.0} requests per second. In brackets: multiples of the floor.",
            database.name, figures[0].rate
        );
        table::print(&intro, &figures);
    }
}
