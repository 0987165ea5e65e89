//! `mintage client import`: brings clients over from another server, with the secrets that they have.
//!
//! A file is read whole and judged whole: an entry is accepted, skipped because it is not a client of Mintage's kind,
//! or rejected. Then all that is accepted is written in one transaction, or nothing. Nothing that is printed holds a secret,
//! a hash or any other text of the file but client ids.

mod csv_file;
mod entry;
mod hydra;
mod json;
mod keycloak;
mod report;
mod source;

use std::collections::HashSet;
use std::io::IsTerminal;
use std::path::PathBuf;

use super::{Context, Failure};
use crate::db::transactions::{self, Imported};
use crate::db::{self, Conn, DbError, clients, migrations};
use crate::oauth::client::{Client, ClientId};
use entry::{Candidate, ImportReport};
use report::Report;
use source::Format;

/// Clients from one line of progress to the next.
const PROGRESS_INTERVAL: usize = 10_000;

#[derive(clap::Args)]
pub struct Arguments {
    /// File to import: Ory Hydra JSON, a Keycloak realm export or CSV; - for standard input
    file: PathBuf,
    /// Format of the file [default: detected]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Print the report without importing anything
    #[arg(long)]
    dry_run: bool,
    /// Import the accepted clients even if others are rejected
    #[arg(long)]
    skip_refused: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let now = context.clock.now();
    let source = source::read(&arguments.file)?;
    let format = match arguments.format {
        Some(format) => format,
        None => source.guess()?,
    };
    let entries = source.entries(format)?;
    let mut verdicts = entry::judge(entries, now);
    verdicts.reject_taken(&taken(context, &verdicts, arguments.dry_run)?);
    let mut written = false;
    if !arguments.dry_run && verdicts.may_be_written(arguments.skip_refused) {
        let imported = write(context, &mut verdicts, arguments.skip_refused)?;
        // Somebody else made a client of this name since it was looked for.
        verdicts.reject_taken(&imported.taken);
        written = imported.done;
    }
    let report = Report::new(format, arguments.dry_run, written, &verdicts);
    report.print(arguments.json);
    match written || verdicts.may_be_written(arguments.skip_refused) {
        true => Ok(()),
        false => Err(Failure::Failed(format!(
            "nothing imported: {} of {} clients rejected: correct them, or leave them out with --skip-refused",
            verdicts.rejected.len(),
            verdicts.len()
        ))),
    }
}

/// The ids of the accepted that the database has already.
fn taken(context: &Context, verdicts: &ImportReport, dry_run: bool) -> Result<HashSet<String>, Failure> {
    let ids: Vec<&ClientId> = verdicts.accepted.iter().map(|candidate| &candidate.client.id).collect();
    let look = |conn: &mut Conn| clients::taken(conn, &ids);
    if !dry_run {
        return context.with_database(look);
    }
    // A dry run makes no database and brings no schema up to date.
    let config = context.config()?;
    if !db::may_exist(&config.database.url) {
        return Ok(HashSet::new());
    }
    Ok(crate::cli::open(&config).run_here(|conn| {
        migrations::ensure_current(conn, false)?;
        look(conn)
    })?)
}

/// Hashes what came in the clear, and writes all that is accepted.
fn write(context: &Context, verdicts: &mut ImportReport, skip_refused: bool) -> Result<Imported, Failure> {
    let total = verdicts.accepted.len();
    for (before, candidate) in verdicts.accepted.iter_mut().enumerate() {
        candidate.hash_secrets();
        tell_progress("hashed", before, before + 1, total);
    }
    let all: Vec<Client> = verdicts.accepted.iter().map(Candidate::hashed).collect();
    let (author, now) = (context.author(), context.clock.now());
    let imported = context.with_database(|conn| {
        let mut done = 0;
        let progress = |written| {
            tell_progress("written", done, done + written, total);
            done += written;
        };
        match transactions::import_clients(conn, &author, &all, now, skip_refused, progress) {
            Err(DbError::Conflict) => Ok(None),
            imported => imported.map(Some),
        }
    })?;
    imported.ok_or_else(|| {
        Failure::Failed("nothing imported: one of these clients was created in the meantime: try again".into())
    })
}

/// Prints a line of progress, if one is due and a person can see it.
fn tell_progress(step: &str, before: usize, done: usize, total: usize) {
    if is_due(before, done) && std::io::stderr().is_terminal() {
        eprintln!("{step} {done} of {total} clients");
    }
}

fn is_due(before: usize, done: usize) -> bool {
    before / PROGRESS_INTERVAL < done / PROGRESS_INTERVAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_every_ten_thousand_clients() {
        let due = |step: usize, total: usize| -> Vec<usize> {
            let ends = (1..=total.div_ceil(step)).map(|n| (n * step).min(total));
            ends.filter(|&end| is_due(end.saturating_sub(step), end)).collect()
        };
        assert_eq!(due(1, 30_500), [10_000, 20_000, 30_000]);
        assert_eq!(due(300, 30_500), [10_200, 20_100, 30_000]);
    }

    #[test]
    fn small_imports_have_no_progress() {
        assert!((0..9_999).all(|done| !is_due(done, done + 1)));
    }
}
