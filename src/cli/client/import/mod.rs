//! `mintage client import`: imports clients of another server, with their secrets.
//!
//! A file is read whole and judged whole: an entry is accepted, passed over because it is not a client of Mintage's kind,
//! or refused. Then all that is accepted is written in one transaction, or nothing. Nothing that is printed holds a secret,
//! a hash or any other text of the file but client ids.

mod csv_file;
mod entry;
mod hydra;
mod json;
mod keycloak;
mod progress;
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
use progress::Progress;
use report::Report;
use source::Format;

#[derive(clap::Args)]
pub struct Arguments {
    /// Ory Hydra's clients as JSON, a realm export of Keycloak, or CSV; - for standard input
    file: PathBuf,
    /// What the file is [default: guessed from what is in it]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Say what would be imported and what not, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Import what can be, though something else is refused
    #[arg(long)]
    skip_refused: bool,
    /// As JSON
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
    let mut verdicts = entry::validate(entries, now);
    verdicts.refuse_taken(&taken(context, &verdicts, arguments.dry_run)?);
    let mut written = false;
    if !arguments.dry_run && verdicts.may_be_written(arguments.skip_refused) {
        let imported = write(context, &mut verdicts, arguments.skip_refused)?;
        // Another process created a client with one of these ids since the check.
        verdicts.refuse_taken(&imported.taken);
        written = imported.done;
    }
    let report = Report::new(format, arguments.dry_run, written, &verdicts);
    report.print(arguments.json);
    match written || verdicts.may_be_written(arguments.skip_refused) {
        true => Ok(()),
        false => Err(Failure::Failed(format!(
            "nothing is imported, {} of {} clients are refused: mend them, or leave them out with --skip-refused",
            verdicts.refused.len(),
            verdicts.len()
        ))),
    }
}

/// The ids of accepted clients that already exist in the database.
fn taken(context: &Context, verdicts: &ImportReport, dry_run: bool) -> Result<HashSet<String>, Failure> {
    let ids: Vec<&ClientId> = verdicts.accepted.iter().map(|candidate| &candidate.client.id).collect();
    let look = |conn: &mut Conn| clients::taken(conn, &ids);
    if !dry_run {
        return context.with_database(look);
    }
    // A dry run neither creates a database nor migrates a schema.
    let config = context.config()?;
    if !db::may_exist(&config.database.url) {
        return Ok(HashSet::new());
    }
    Ok(crate::cli::open(&config).run_here(|conn| {
        migrations::ensure_current(conn, false)?;
        look(conn)
    })?)
}

/// Hashes the plain-text secrets and writes all accepted clients.
fn write(context: &Context, verdicts: &mut ImportReport, skip_refused: bool) -> Result<Imported, Failure> {
    let count = verdicts.accepted.len();
    let bar = std::io::stderr();
    let terminal = bar.is_terminal();
    let mut progress = Progress::new(bar, terminal, context.clock.clone(), 2 * count);
    for candidate in &mut verdicts.accepted {
        candidate.hash_secrets();
        progress.advance(1);
    }
    let all: Vec<Client> = verdicts.accepted.iter().map(Candidate::hashed).collect();
    let (author, now) = (context.principal(), context.clock.now());
    let imported = context.with_database(|conn| {
        let advance = |written| progress.advance(written);
        match transactions::import_clients(conn, &author, &all, now, skip_refused, advance) {
            Err(DbError::Conflict) => Ok(None),
            imported => imported.map(Some),
        }
    })?;
    imported.ok_or_else(|| {
        Failure::Failed("nothing is imported, another made one of these clients meanwhile: try it again".into())
    })
}
