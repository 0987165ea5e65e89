//! The cost of several instances: one, two and three on one PostgreSQL, on the same cores.

use std::path::Path;

use loadtest::traffic::Traffic;

use super::database::{Backend, Database};
use super::measure::{Case, Plan, Rate, Target, measure};
use super::table;

/// Prints one table per algorithm.
pub fn run(binary: &Path, plan: Plan) {
    let Some(database) = &Database::new(binary, Backend::Postgres) else {
        return;
    };
    // All cores for each instance, and pools that together fit a PostgreSQL with 80 connections.
    let settings = &[
        ("MINTAGE_SERVER__WORKERS", "0"),
        ("MINTAGE_DATABASE__POOL__MAX_SIZE", "10"),
    ];
    for alg in ["ES256", "HS256"] {
        let client = database.client(alg);
        let cases = [1, 2, 3].map(|instances| Case {
            name: format!("{alg}, instances: {instances}"),
            target: Target::Mintage {
                database,
                settings,
                instances,
            },
            traffic: Traffic::of(&client),
        });
        let figures = measure(&cases, plan, Rate::OfSlowest(0.5));
        let intro = format!(
            "PostgreSQL, one worker per core in each instance, {plan} in total. Latencies at {:.0} requests per second. In brackets: \
             multiples of one instance.",
            figures[0].rate
        );
        table::print(&intro, &figures);
    }
}
