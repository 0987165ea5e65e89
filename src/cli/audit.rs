//! `mintage audit`: who changed what, when and from where, as JSON lines.

use super::{Context, Failure, print_json};
use crate::db::audit;

#[derive(clap::Args)]
pub struct Arguments {
    /// Print only events after the one with this `id`
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
}

/// Lines read at a time.
const PAGE: i64 = 500;

/// Prints the trail, the oldest line first: one JSON object a line, for whatever collects logs.
pub fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let mut after = arguments.after;
    context.with_database(|conn| {
        loop {
            let page = audit::since(conn, after, PAGE)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.id;
            page.iter().for_each(print_json);
        }
    })
}
