//! Prints the audit events, oldest first, one JSON object per line, for any log collector.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use super::event_id;
use crate::cli::{Context, Failure};
use crate::db::audit::{self, PAGE_SIZE};

/// The time between two looks for new events with `--follow`.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub struct Arguments {
    /// Print only events after the one with this `id`
    #[arg(long, value_name = "ID", allow_negative_numbers = true, value_parser = event_id::parse)]
    after: Option<i64>,
    /// Wait for new events and print them, until the reader of the output ends
    #[arg(long)]
    follow: bool,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let (database, mut after) = (context.database_to_read()?, arguments.after);
    loop {
        let page = database.run_here(|conn| audit::since(conn, after, PAGE_SIZE))?;
        let mut text = String::new();
        for event in &page {
            text.push_str(&serde_json::to_string(event).expect("an audit event consists of strings and numbers"));
            text.push('\n');
            after = Some(event.id);
        }
        let mut stdout = std::io::stdout();
        // A line that is not written must not look printed: the next call continues after it.
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe && !arguments.follow => return Ok(()),
            Err(error) => return Err(Failure::Failed(format!("cannot print the audit log: {error}"))),
            Ok(()) => {}
        }
        match (page.is_empty(), arguments.follow) {
            (true, false) => return Ok(()),
            (true, true) => std::thread::sleep(POLL_INTERVAL),
            (false, _) => {}
        }
    }
}
