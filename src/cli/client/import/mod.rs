//! `mintage client import`: imports clients of another server, with their secrets.
//!
//! The whole file is read and validated first: each entry is accepted, skipped (a client that
//! Mintage does not support) or rejected. Then all accepted clients are written in one transaction,
//! or none. With `--update`, a client that exists is changed to what the file says. The output
//! contains no secret, no hash and no other text of the file except client ids and the names of what
//! is left out.

mod csv_file;
mod entry;
mod hydra;
mod hydra_members;
mod json;
mod keycloak;
mod keycloak_mappers;
mod report;
mod source;
mod update;

use std::collections::{HashMap, HashSet};
use std::io::IsTerminal;
use std::path::PathBuf;

use super::{Context, Failure};
use crate::api::audit::Action;
use crate::cli::counted;
use crate::db::declarations::{self, Declared};
use crate::db::transactions::{self, Imported};
use crate::db::{self, Conn, DbError, clients, migrations};
use crate::oauth::client::{Client, ClientId};
use crate::time::UnixMillis;
use entry::{Candidate, ImportReport};
use report::{Mode, Report};
use source::{Format, Source};
use update::Change;

/// Clients from one line of progress to the next.
const PROGRESS_INTERVAL: usize = 10_000;

#[derive(clap::Args)]
pub struct Arguments {
    /// File to import: Ory Hydra JSON, a Keycloak realm export or CSV; - for standard input
    file: PathBuf,
    /// Format of the file [default: detected]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Update clients that exist to what the file says, instead of rejecting them
    #[arg(long)]
    update: bool,
    /// Print the report without importing anything
    #[arg(long)]
    dry_run: bool,
    /// Import the accepted clients even if others are rejected
    #[arg(long)]
    skip_refused: bool,
    /// Create the database if there is none
    #[arg(long, conflicts_with = "dry_run")]
    create: bool,
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
    let mut report = entry::validate(entries, now);
    match arguments.update {
        true => {
            let existing = existing(context, &report, arguments)?;
            update::compare(&mut report, existing, now);
        }
        false => report.reject_taken(&taken(context, &report, arguments)?),
    }
    let mut written = false;
    if !arguments.dry_run && report.may_be_written(arguments.skip_refused) {
        hash_secrets(&mut report, now);
        written = match arguments.update {
            true => write_changes(context, &report)?,
            false => {
                let imported = write(context, &report, arguments.skip_refused)?;
                // Another process has created a client with this id since the lookup.
                report.reject_taken(&imported.taken);
                imported.done
            }
        };
    }
    let mode = Mode {
        update: arguments.update,
        dry_run: arguments.dry_run,
    };
    let output = Report::new(format, mode, written, &report);
    output.print(arguments.json);
    match written || report.may_be_written(arguments.skip_refused) {
        true => Ok(()),
        false => Err(Failure::Failed(format!(
            "nothing imported: {} of {} rejected: correct them, or leave them out with --skip-refused",
            report.rejected.len(),
            counted(report.len(), "client")
        ))),
    }
}

/// The result of `mintage client import --dry-run` on an empty database.
#[doc(hidden)]
pub struct Inspected {
    /// The number of clients in the file.
    pub entries: usize,
    /// The number of clients that can be written.
    pub accepted: usize,
    /// The number of clients that Mintage does not support.
    pub skipped: usize,
    /// The number of clients that cannot be imported.
    pub rejected: usize,
    /// The report as text.
    pub text: String,
    /// The report as JSON.
    pub json: String,
}

/// Reads a file that contains `bytes`, without a database. For the fuzz targets.
///
/// # Errors
/// As the command, for a file that it cannot read.
#[doc(hidden)]
pub fn inspect(format: &str, bytes: &[u8], now: UnixMillis) -> Result<Inspected, Failure> {
    let format = <Format as clap::ValueEnum>::from_str(format, false).expect("the name of a format");
    let source = Source::of(bytes);
    // The detected format may be another one; detection must not panic.
    let _ = source.guess();
    let entries = source.entries(format)?;
    let count = entries.len();
    let report = entry::validate(entries, now);
    let mode = Mode {
        dry_run: true,
        ..Mode::default()
    };
    let document = Report::new(format, mode, false, &report);
    Ok(Inspected {
        entries: count,
        accepted: report.accepted.len(),
        skipped: report.skipped.len(),
        rejected: report.rejected.len(),
        text: document.text(),
        json: serde_json::to_string(&document).expect("a report consists of strings and numbers"),
    })
}

/// The ids of accepted clients that already exist in the database.
fn taken(context: &Context, report: &ImportReport, arguments: &Arguments) -> Result<HashSet<String>, Failure> {
    let ids: Vec<&ClientId> = report.accepted.iter().map(|candidate| &candidate.client.id).collect();
    look_up(context, report, arguments, |conn| clients::taken(conn, &ids))
}

/// The accepted clients that already exist in the database.
fn existing(
    context: &Context,
    report: &ImportReport,
    arguments: &Arguments,
) -> Result<HashMap<ClientId, Client>, Failure> {
    let ids: Vec<String> = report
        .accepted
        .iter()
        .map(|candidate| candidate.client.id.to_string())
        .collect();
    look_up(context, report, arguments, |conn| {
        let mut existing = HashMap::new();
        for part in ids.chunks(clients::BATCH) {
            let found = clients::with_ids(conn, part)?;
            existing.extend(found.into_iter().map(|client| (client.id.clone(), client)));
        }
        Ok(existing)
    })
}

fn look_up<T: Default>(
    context: &Context,
    report: &ImportReport,
    arguments: &Arguments,
    work: impl FnOnce(&mut Conn) -> Result<T, DbError>,
) -> Result<T, Failure> {
    if !arguments.dry_run && report.may_be_written(arguments.skip_refused) {
        return context.with_new_database(arguments.create, work);
    }
    // What writes nothing neither creates a database nor migrates a schema.
    let config = context.config()?;
    if !db::may_exist(&config.database.url) {
        return Ok(T::default());
    }
    Ok(crate::cli::open(&config)?.run_here(|conn| {
        migrations::ensure_current(conn, false)?;
        work(conn)
    })?)
}

/// Hashes the secrets that are to be written.
fn hash_secrets(report: &mut ImportReport, now: UnixMillis) {
    let total = report.accepted.len();
    for (before, candidate) in report.accepted.iter_mut().enumerate() {
        candidate.hash_secrets(now);
        tell_progress("hashed", before, before + 1, total);
    }
}

/// Writes what an update changes. Returns `false` if that is nothing.
fn write_changes(context: &Context, report: &ImportReport) -> Result<bool, Failure> {
    let changed = report.accepted.iter().filter(|one| one.change() != Change::Unchanged);
    let changed: Vec<Declared> = changed.map(Candidate::declared).collect();
    if changed.is_empty() {
        return Ok(false);
    }
    let (author, now) = (context.principal(), context.clock.now());
    let mut done = 0;
    let progress = |written| {
        tell_progress("written", done, done + written, changed.len());
        done += written;
    };
    context.with_database(|conn| {
        match declarations::write(conn, &author, now, Action::ClientImport, &changed, progress) {
            Err(DbError::Conflict) => Ok(Err(Failure::Failed(
                "nothing imported: one of these clients was created, changed or deleted in the meantime: try again"
                    .into(),
            ))),
            written => written.map(|()| Ok(true)),
        }
    })?
}

/// Writes all accepted clients.
fn write(context: &Context, report: &ImportReport, skip_refused: bool) -> Result<Imported, Failure> {
    let total = report.accepted.len();
    let all: Vec<Client> = report.accepted.iter().map(Candidate::hashed).collect();
    let (author, now) = (context.principal(), context.clock.now());
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
