//! Every signature algorithm on each database, by number of workers.

use std::path::Path;

use loadtest::traffic::Traffic;

use super::database::{Backend, Database};
use super::measure::{Case, Plan, Rate, measure};
use super::table;

const ALGS: [&str; 4] = ["HS256", "EdDSA", "ES256", "RS256"];

/// Prints one table for each number of workers.
pub fn run(binary: &Path, plan: Plan, backends: &[Backend], workers: &[usize]) {
    let databases = backends.iter().filter_map(|backend| Database::new(binary, *backend));
    let databases: Vec<Database> = databases.collect();
    for workers in workers {
        let count = workers.to_string();
        let settings = [("MINTAGE_SERVER__WORKERS", count.as_str())];
        let mut cases = vec![Case::floor(*workers)];
        for database in &databases {
            for alg in ALGS {
                let traffic = Traffic::of(&database.client(alg));
                cases.push(Case::new(
                    format!("{} {alg}", database.name),
                    database,
                    &settings,
                    traffic,
                ));
            }
        }
        let figures = measure(&cases, plan, Rate::OfOwn(0.5));
        let intro = format!(
            "Workers: {workers}; {plan}. Latencies at half of the case's own tokens/s. In brackets: multiples of the floor."
        );
        table::print(&intro, &figures);
    }
}
