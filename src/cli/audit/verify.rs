//! `mintage audit verify`: verifies the chain of hashes over the audit log, and compares the log
//! with a copy.
//!
//! The chain shows a change before its end. Only the copy shows lines that are missing at the end,
//! and a chain that was written again from some line on.

use std::fmt::{self, Display};
use std::path::PathBuf;

use serde_json::json;

use super::copy::{CopiedLine, Copy};
use super::event_id;
use crate::api::audit::Action;
use crate::cli::{Context, Failure, print, print_json};
use crate::db::audit::{self, ChainLine, PAGE_SIZE};
use crate::db::audit_chain::{Break, LineHash, Verification};
use crate::db::{Db, DbError};

#[derive(clap::Args)]
pub struct Arguments {
    /// Compare with a copy that `mintage audit` printed earlier, oldest line first
    #[arg(long, value_name = "FILE")]
    copy: Option<PathBuf>,
    /// Accept lines without a hash up to the one with this `id`: version 0.1 wrote them while the
    /// instances were upgraded
    #[arg(long, value_name = "ID", default_value_t = 0, allow_negative_numbers = true, value_parser = event_id::parse)]
    accept_unhashed_until: i64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let mut copy = arguments.copy.as_deref().map(Copy::open).transpose()?;
    let database = context.database_to_read()?;
    let mut reader = Reader {
        database: &database,
        last_id: 0,
    };
    let mut page = reader.page()?;
    let beginning = match (&mut copy, page.first()) {
        (Some(copy), Some(first)) => last_before(copy, first.id())?,
        _ => None,
    };
    let mut chain = Verification::new(beginning, arguments.accept_unhashed_until);
    let mut compared = 0;
    loop {
        for line in page {
            let id = line.id();
            let chained = chain.next(id, &line.content(), line.stored_hash());
            let document = line.into_document();
            // First, because the copy tells which line was changed or removed.
            if let Some(copied) = copy.as_mut().map(|copy| line_of(copy, id)).transpose()?.flatten() {
                compared += 1;
                if !copied.is(&document) {
                    return Err(failed(format!("audit line {id} was changed: the copy has another one")));
                }
            }
            chained.map_err(failed)?;
            if document.action == Action::AuditBegin.name() && document.hash.is_none() {
                return Err(failed(format!("audit line {id} has lost its hash: {COMPARE}")));
            }
        }
        let missing = copy.as_ref().and_then(Copy::peek).map(|line| line.id);
        // Read after the copy, which may have been written while this command ran.
        page = reader.page()?;
        match (page.is_empty(), missing) {
            (false, _) => {}
            (true, None) => break,
            (true, Some(missing)) => {
                return Err(failed(format!(
                    "the end of the audit log is missing after line {}: the copy has line {missing}",
                    reader.last_id
                )));
            }
        }
    }
    chain.finish().map_err(failed)?;
    if copy.as_ref().is_some_and(Copy::is_empty) && reader.last_id > 0 {
        return Err(failed("the copy is empty"));
    }
    report(
        &chain,
        beginning.map(|(id, _)| id),
        copy.map(|_| compared),
        arguments.json,
    );
    Ok(())
}

fn failed(cause: impl Display) -> Failure {
    Failure::Failed(cause.to_string())
}

/// What to do about a break.
const COMPARE: &str = "compare with your copy: mintage audit verify --copy FILE";

impl Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeginningMissing { first } => write!(
                f,
                "the audit lines before {first} were removed, or line {first} was changed: \
                 give the copy that has them: mintage audit verify --copy FILE"
            ),
            Self::Differs { previous, id } => write!(
                f,
                "audit line {id} does not follow from line {previous}: \
                 a line after {previous} and up to {id} was changed, added or removed; {COMPARE}"
            ),
            Self::Unhashed(lines) => {
                let (first, last) = (lines.start(), lines.end());
                write!(
                    f,
                    "audit lines {first} to {last} have no hash: an instance of version 0.1 wrote them during the \
                     upgrade, or they were added by hand; if the former, repeat with --accept-unhashed-until {last}"
                )
            }
        }
    }
}

/// The audit log, page by page.
struct Reader<'a> {
    database: &'a Db,
    last_id: i64,
}

impl Reader<'_> {
    fn page(&mut self) -> Result<Vec<ChainLine>, DbError> {
        let after = self.last_id;
        let page = self.database.run_here(|conn| audit::lines(conn, after, PAGE_SIZE))?;
        self.last_id = page.last().map_or(after, ChainLine::id);
        Ok(page)
    }
}

/// The last line of the copy before the first line of the table, and its hash, if there is such a
/// line: the beginning of the table was moved to an archive.
fn last_before(copy: &mut Copy, first: i64) -> Result<Option<(i64, LineHash)>, Failure> {
    let mut last = None;
    while copy.peek().is_some_and(|line| line.id < first) {
        last = copy.take()?;
    }
    let Some(last) = last else {
        return Ok(None);
    };
    let without_hash = "the beginning of the audit log was removed up to a line that has no hash in the copy";
    let hash = last
        .hash()
        .ok_or_else(|| failed(format!("{without_hash}: line {}", last.id)))?;
    Ok(Some((last.id, hash)))
}

/// The line of the copy with this number, if it has one.
fn line_of(copy: &mut Copy, id: i64) -> Result<Option<CopiedLine>, Failure> {
    match copy.peek().map(|line| line.id) {
        Some(copied) if copied < id => Err(failed(format!("audit line {copied} was removed: the copy has it"))),
        Some(copied) if copied == id => copy.take(),
        _ => Ok(None),
    }
}

fn report(chain: &Verification, archived_until: Option<i64>, compared: Option<u64>, json: bool) {
    let ((lines, unhashed), (last_id, last_hash)) = (chain.lines(), chain.last());
    if json {
        return print_json(&json!({
            "lines": lines,
            "unhashed": unhashed,
            "last_id": last_id,
            "last_hash": last_hash.to_string(),
            "archived_until": archived_until,
            "compared": compared,
        }));
    }
    let mut text = format!("{lines} audit lines verified");
    if unhashed > 0 {
        text += &format!(", {unhashed} of them without a hash of their own");
    }
    if let Some(compared) = compared {
        text += &format!(", {compared} of them compared with the copy");
    }
    if let Some(id) = archived_until {
        text += &format!("; the lines up to {id} are only in the copy");
    }
    if lines > 0 {
        text += &format!("; last line {last_id}, hash {last_hash}");
    }
    print(&text);
}
