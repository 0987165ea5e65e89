//! `mintage audit`: prints the audit log (actor, action, time and source of each change) as JSON
//! lines.

use super::{Context, Failure, print_json};
use crate::db::audit;

#[derive(clap::Args)]
pub struct Arguments {
    /// Print only events after the one with this `id`
    #[arg(long, value_name = "ID", default_value_t = 0, allow_negative_numbers = true, value_parser = event_id)]
    after: i64,
}

fn event_id(text: &str) -> Result<i64, &'static str> {
    let id = text.parse().ok().filter(|id| *id >= 0);
    id.ok_or("expected a whole number, 0 or more")
}

/// Events read per query.
const PAGE_SIZE: i64 = 500;

/// Prints the audit events, oldest first, one JSON object per line, for any log collector.
pub fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let mut after = arguments.after;
    context.with_database(|conn| {
        loop {
            let page = audit::since(conn, after, PAGE_SIZE)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.id;
            page.iter().for_each(print_json);
        }
    })
}
